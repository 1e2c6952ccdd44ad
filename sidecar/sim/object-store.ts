import type { ByteSource, ListPage } from "../src/bucket/bucket.js";
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

/** The one store that all members share: strongly consistent, as S3 and GCS are. Everything that changes it is reported. */
export class ObjectStore {
  readonly url = "memory://simulation";
  readonly #objects = new MemoryBucket(this.url);
  readonly #damaged = new Set<string>();
  readonly #onChange: (change: StoreChange) => void;

  constructor(onChange: (change: StoreChange) => void) {
    this.#onChange = onChange;
  }

  /** What is stored, in the order of the keys; not copied. */
  entries(): [string, Uint8Array][] {
    return this.#objects.entries();
  }

  as(who: string): StoreView {
    const objects = this.#objects;
    const changed = (what: StoreChange["what"], key: string, bytes: Uint8Array): void =>
      this.#onChange({ who, what, key, bytes });
    return {
      putIfAbsent: async (key, bytes) => {
        const outcome = await objects.putIfAbsent(key, bytes, {});
        if (outcome === "created") changed("created", key, bytes);
        return outcome;
      },
      put: async (key, source) => {
        const existed = (await objects.head(key, {})) !== undefined;
        await objects.put(key, source, {});
        changed(existed ? "replaced" : "created", key, await source.read(0, source.size));
      },
      get: async (key, { maxBytes, range, flipAt }) => {
        const bytes = await objects.get(key, { maxBytes, range });
        const once = `${who} ${key}`;
        const damage = flipAt !== undefined && bytes !== undefined && bytes.length > 0 && !this.#damaged.has(once);
        if (!damage) return bytes;
        this.#damaged.add(once);
        const bit = Math.floor(flipAt * bytes.length * 8);
        bytes[bit >>> 3] = (bytes[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        return bytes;
      },
      head: (key) => objects.head(key, {}),
      list: (prefix, call) => objects.list(prefix, call),
      delete: async (key) => {
        const existed = (await objects.head(key, {})) !== undefined;
        await objects.delete(key, {});
        if (existed) changed("deleted", key, new Uint8Array(0));
      },
    };
  }
}
