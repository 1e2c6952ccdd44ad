import { MetaMasterError } from "../src/base/errors.js";
import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage } from "../src/bucket/bucket.js";
import { bytesSource, readExactly } from "../src/bucket/byte-source.js";
import { callOver, type NetworkEnd } from "./network.js";
import type { ObjectStore, StoreView } from "./object-store.js";

export interface BucketParts extends NetworkEnd {
  readonly store: ObjectStore;
}

type Effect<T> = (store: StoreView) => T;

/** The store as one process sees it over a bad network. Effects belong to the store: they happen though the caller is gone, frozen or dead. */
export class SimulatedBucket implements Bucket {
  readonly url: string;
  readonly #parts: BucketParts;
  #closed = false;

  constructor(parts: BucketParts) {
    this.url = parts.store.url;
    this.#parts = parts;
  }

  putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
    // Read when it is sent, like any client's: a body that its caller has changed by then is another one.
    return this.#call(`putIfAbsent ${key}`, call, (store) => store.putIfAbsent(key, new Uint8Array(body)));
  }

  async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    call.signal?.throwIfAborted();
    const bytes = new Uint8Array(await readExactly(source, 0, source.size));
    await this.#call(`put ${key}`, call, (store) => store.put(key, bytesSource(bytes)));
  }

  get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    const { random, route } = this.#parts;
    const flips = random.chance(route.faults.flippedShare);
    const at = random.float();
    const { maxBytes, range } = call;
    return this.#call(`get ${key}`, call, (store) =>
      store.get(key, { maxBytes, range, ...(flips ? { flipAt: at } : {}) }),
    );
  }

  head(key: string, call: CallOptions): Promise<number | undefined> {
    return this.#call(`head ${key}`, call, (store) => store.head(key));
  }

  list(prefix: string, call: ListOptions): Promise<ListPage> {
    const { startAfter, limit } = call;
    return this.#call(`list ${prefix}`, call, (store) => store.list(prefix, { startAfter, limit }), true);
  }

  delete(key: string, call: CallOptions): Promise<void> {
    return this.#call(`delete ${key}`, call, (store) => store.delete(key));
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #call<T>(what: string, call: CallOptions, effect: Effect<Promise<T>>, slow = false): Promise<T> {
    const { incarnation, store } = this.#parts;
    if (this.#closed && incarnation.alive) {
      return Promise.reject(new MetaMasterError("BucketClosed", "invalid", `The bucket ${this.url} was closed.`));
    }
    const { signal, deadlineMs } = call;
    const view = store.as(incarnation.name);
    return callOver(this.#parts, { what, codes: "Bucket", signal, deadlineMs, slow, effect: () => effect(view) });
  }
}
