/**
 * An object store as the product needs it. The only conditional operation relied upon is the creation of one small object.
 * Every call makes ONE attempt (the SDK's own retries are off), obeys `signal` and a deadline, and throws only MetaMasterError:
 * transient: `BucketTimeout`, `BucketUnavailable` (5xx, broken connection, throttling, 409), `BucketSlowBody`;
 * invalid: `BucketNotFound` (NoSuchBucket), `BucketAccessDenied` (401/403), `BucketRequestInvalid` (other 4xx),
 * `BucketKeyInvalid`, `BucketCallInvalid`, `BucketClosed`.
 * An aborted `signal` rejects with `signal.reason` as it is (as Clock.sleep does), at once; the effect of the call may still happen.
 * Keys are plain ASCII (see keys.ts), no key is a folder of another, segments have at most 220 bytes, relative to the configured prefix.
 */
export interface Bucket {
  /** For people and logs, e.g. `s3://bucket/prefix`; holds no secret. */
  readonly url: string;
  /**
   * Creates the object if there is none under the key. `exists`: something is there, perhaps our own earlier try: read and compare.
   * After a transient error the effect may or may not have happened (or may still happen).
   */
  putIfAbsent(key: string, body: Uint8Array, call: PutOptions): Promise<"created" | "exists">;
  /** Creates or replaces; in parts when large. Only for keys that name their content. */
  put(key: string, source: ByteSource, call: CallOptions): Promise<void>;
  /**
   * The whole object, or `range`; undefined if there is none. Throws `ObjectTooLarge` (corrupt) past `maxBytes`. A range that reaches past the
   * end gives what there is, down to no bytes at all. The bytes are the caller's own.
   */
  get(key: string, call: GetOptions): Promise<Uint8Array | undefined>;
  /** Size in bytes, or undefined. */
  head(key: string, call: CallOptions): Promise<number | undefined>;
  /** Keys that start with `prefix` and sort after `startAfter` (exclusive), in ascending byte order, one page of at most `limit`. */
  list(prefix: string, call: ListOptions): Promise<ListPage>;
  /** Idempotent: an absent key is no error. */
  delete(key: string, call: CallOptions): Promise<void>;
  close(): Promise<void>;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** For the whole call, milliseconds; the implementation's default if absent. */
  readonly deadlineMs?: number | undefined;
}

export interface PutOptions extends CallOptions {
  /** The body's sha256, 64 hexadecimal digits, where the caller has it anyway: saves a pass over the body where the store's protocol wants it. */
  readonly sha256?: string | undefined;
}

export interface GetOptions extends CallOptions {
  readonly maxBytes: number;
  readonly range?: { readonly offset: number; readonly length: number } | undefined;
}

export interface ListOptions extends CallOptions {
  readonly startAfter?: string | undefined;
  /** 1..1000. */
  readonly limit?: number | undefined;
}

export interface ListedObject {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
}

export interface ListPage {
  readonly objects: readonly ListedObject[];
  /** True if there may be more after the last key of this page. */
  readonly more: boolean;
}

/** Bytes of known length that can be read again from any offset (a table file, a buffer). */
export interface ByteSource {
  readonly size: number;
  /** Exactly `length` bytes from `offset`. */
  read(offset: number, length: number): Promise<Uint8Array>;
}
