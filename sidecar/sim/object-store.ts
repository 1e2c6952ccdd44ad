import type { ByteSource, ListPage } from "../src/bucket/bucket.js";
import { fullKey, normalizePrefix } from "../src/bucket/keys.js";
import { MemoryBucket } from "../src/bucket/testing/memory-bucket.js";

export interface StoreChange {
  readonly who: string;
  readonly what: "created" | "replaced" | "deleted";
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** The store's own view of a request: it takes effect at the call. */
export interface StoreView {
  putIfAbsent(key: string, bytes: Uint8Array): Promise<"created" | "exists">;
  put(key: string, source: ByteSource): Promise<void>;
  get(
    key: string,
    call: {
      readonly maxBytes: number;
      readonly range?: { readonly offset: number; readonly length: number } | undefined;
      /** In [0, 1): damage the answer there, unless this process got a damaged answer about this object before. */
      readonly flipAt?: number;
    },
  ): Promise<Uint8Array | undefined>;
  head(key: string): Promise<number | undefined>;
  list(
    prefix: string,
    call: { readonly startAfter?: string | undefined; readonly limit?: number | undefined },
  ): Promise<ListPage>;
  delete(key: string): Promise<void>;
}

/** The bucket of a provider: what lies below every prefix. */
export class Depot {
  readonly url = "memory://simulation";
  readonly objects = new MemoryBucket(this.url);
}

/**
 * One prefix of the store that all members share: strongly consistent, as S3 and GCS are. Everything that changes it is reported. Keys are put together by the product's own rules; what a process
 * sees of the store it sees through one of these.
 */
export class ObjectStore {
  readonly url: string;
  readonly #prefix: string;
  readonly #objects: MemoryBucket;
  readonly #damaged = new Set<string>();
  readonly #onChange: (change: StoreChange) => void;

  constructor(onChange: (change: StoreChange) => void, depot = new Depot(), prefix = "") {
    this.#onChange = onChange;
    this.#objects = depot.objects;
    this.#prefix = normalizePrefix(prefix);
    this.url = prefix === "" ? depot.url : `${depot.url}/${prefix}`;
  }

  /** What is stored, in the order of the keys; not copied. */
  entries(): [string, Uint8Array][] {
    const own = this.#prefix;
    const all = this.#objects.entries();
    return own === ""
      ? all
      : all.filter(([key]) => key.startsWith(own)).map(([key, bytes]) => [key.slice(own.length), bytes]);
  }

  as(who: string): StoreView {
    const objects = this.#objects;
    const own = this.#prefix;
    const full = (key: string): string => fullKey(own, key);
    const changed = (what: StoreChange["what"], key: string, bytes: Uint8Array): void =>
      this.#onChange({ who, what, key, bytes });
    return {
      putIfAbsent: async (key, bytes) => {
        const outcome = await objects.putIfAbsent(full(key), bytes, {});
        if (outcome === "created") changed("created", key, bytes);
        return outcome;
      },
      put: async (key, source) => {
        const existed = (await objects.head(full(key), {})) !== undefined;
        await objects.put(full(key), source, {});
        changed(existed ? "replaced" : "created", key, await source.read(0, source.size));
      },
      get: async (key, { maxBytes, range, flipAt }) => {
        const bytes = await objects.get(full(key), { maxBytes, range });
        const once = `${who} ${key}`;
        const damage = flipAt !== undefined && bytes !== undefined && bytes.length > 0 && !this.#damaged.has(once);
        if (!damage) return bytes;
        this.#damaged.add(once);
        const bit = Math.floor(flipAt * bytes.length * 8);
        bytes[bit >>> 3] = (bytes[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        return bytes;
      },
      head: (key) => objects.head(full(key), {}),
      list: async (prefix, { startAfter, limit }) => {
        const from = startAfter === undefined ? {} : { startAfter: own + startAfter };
        const page = await objects.list(own + prefix, { ...from, limit });
        if (own === "") return page;
        return { ...page, objects: page.objects.map((each) => ({ ...each, key: each.key.slice(own.length) })) };
      },
      delete: async (key) => {
        const existed = (await objects.head(full(key), {})) !== undefined;
        await objects.delete(full(key), {});
        if (existed) changed("deleted", key, new Uint8Array(0));
      },
    };
  }
}
