import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage, PutOptions } from "./bucket.js";
import type { Operation } from "./errors.js";

export interface CallInfo {
  readonly operation: Operation;
  /** The key, or the prefix of a listing. */
  readonly key: string;
  /** At most so many bytes move, as far as the call tells. */
  readonly bytes: number;
}

/** Runs `work` with options of its choice, once or several times. */
export type Around = <T>(info: CallInfo, call: CallOptions, work: (options: CallOptions) => Promise<T>) => Promise<T>;

/** A bucket with something done around every call. */
export class WrappedBucket implements Bucket {
  readonly url: string;
  readonly #inner: Bucket;
  readonly #around: Around;

  constructor(inner: Bucket, around: Around) {
    this.url = inner.url;
    this.#inner = inner;
    this.#around = around;
  }

  putIfAbsent(key: string, body: Uint8Array, call: PutOptions): Promise<"created" | "exists"> {
    return this.#around({ operation: "putIfAbsent", key, bytes: body.length }, call, (options) =>
      this.#inner.putIfAbsent(key, body, { ...call, ...options }),
    );
  }

  put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    return this.#around({ operation: "put", key, bytes: source.size }, call, (options) =>
      this.#inner.put(key, source, { ...call, ...options }),
    );
  }

  get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    const bytes = Math.min(call.maxBytes, call.range?.length ?? call.maxBytes);
    return this.#around({ operation: "get", key, bytes }, call, (options) =>
      this.#inner.get(key, { ...call, ...options }),
    );
  }

  head(key: string, call: CallOptions): Promise<number | undefined> {
    return this.#around({ operation: "head", key, bytes: 0 }, call, (options) =>
      this.#inner.head(key, { ...call, ...options }),
    );
  }

  list(prefix: string, call: ListOptions): Promise<ListPage> {
    return this.#around({ operation: "list", key: prefix, bytes: 0 }, call, (options) =>
      this.#inner.list(prefix, { ...call, ...options }),
    );
  }

  delete(key: string, call: CallOptions): Promise<void> {
    return this.#around({ operation: "delete", key, bytes: 0 }, call, (options) =>
      this.#inner.delete(key, { ...call, ...options }),
    );
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
