import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage } from "../bucket.js";
import { readExactly } from "../byte-source.js";
import { bucketClosed, keysNest, objectTooLarge } from "../errors.js";
import { checkKey, checkKeyPrefix } from "../keys.js";
import { checkGet, listLimit } from "../limits.js";

interface StoredObject {
  readonly key: string;
  bytes: Uint8Array;
}

/**
 * A correct store in memory: every call takes effect at once, in the order of the calls, with no timer and no randomness.
 * Bytes are copied in and out (`new Uint8Array`: `slice` of a Buffer copies nothing). Keys that nest are refused, as by stores on a file
 * system. Deadlines are not looked at: nothing here can be late.
 */
export class MemoryBucket implements Bucket {
  readonly url: string;
  /** In byte order of the keys; they are ASCII, so the order of UTF-16 units is the order of bytes. */
  readonly #objects: StoredObject[] = [];
  #closed = false;

  constructor(url = "memory://test") {
    this.url = url;
  }

  async putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
    this.#enter(call);
    checkKey(key);
    if (this.#find(key) !== undefined) return "exists";
    this.#set(key, new Uint8Array(body));
    return "created";
  }

  async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    this.#enter(call);
    checkKey(key);
    const bytes = await readExactly(source, 0, source.size);
    this.#enter(call);
    this.#set(key, new Uint8Array(bytes));
  }

  async get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    this.#enter(call);
    checkKey(key);
    checkGet(call);
    const bytes = this.#find(key)?.bytes;
    if (bytes === undefined) return undefined;
    const { range, maxBytes } = call;
    const part = range === undefined ? bytes : bytes.subarray(range.offset, range.offset + range.length);
    if (part.length > maxBytes) throw objectTooLarge(this.url, key, part.length, maxBytes);
    return new Uint8Array(part);
  }

  async head(key: string, call: CallOptions): Promise<number | undefined> {
    this.#enter(call);
    checkKey(key);
    return this.#find(key)?.bytes.length;
  }

  async list(prefix: string, call: ListOptions): Promise<ListPage> {
    this.#enter(call);
    checkKeyPrefix(prefix);
    const limit = listLimit(call);
    const { startAfter } = call;
    const objects: { key: string; size: number }[] = [];
    const after = startAfter !== undefined && startAfter >= prefix ? `${startAfter}\0` : prefix;
    for (let index = this.#firstAtOrAfter(after); index < this.#objects.length; index++) {
      const object = this.#objects[index];
      if (object === undefined || !object.key.startsWith(prefix)) break;
      if (objects.length === limit) return { objects, more: true };
      objects.push({ key: object.key, size: object.bytes.length });
    }
    return { objects, more: false };
  }

  async delete(key: string, call: CallOptions): Promise<void> {
    this.#enter(call);
    checkKey(key);
    if (this.#find(key) !== undefined) this.#objects.splice(this.#firstAtOrAfter(key), 1);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  /** For tests: what is stored now, in byte order of the keys; not copied. */
  entries(): [string, Uint8Array][] {
    return this.#objects.map(({ key, bytes }) => [key, bytes]);
  }

  /** For tests: puts or damages an object behind everybody's back. */
  poke(key: string, bytes: Uint8Array): void {
    const object = this.#find(key);
    if (object === undefined) this.#objects.splice(this.#firstAtOrAfter(key), 0, { key, bytes });
    else object.bytes = bytes;
  }

  #enter(call: CallOptions): void {
    call.signal?.throwIfAborted();
    if (this.#closed) throw bucketClosed(this.url);
  }

  #set(key: string, bytes: Uint8Array): void {
    for (let slash = key.indexOf("/"); slash !== -1; slash = key.indexOf("/", slash + 1)) {
      if (this.#find(key.slice(0, slash)) !== undefined) throw keysNest(this.url, key);
    }
    const inside = this.#objects[this.#firstAtOrAfter(`${key}/`)];
    if (inside?.key.startsWith(`${key}/`) === true) throw keysNest(this.url, key);
    this.poke(key, bytes);
  }

  #find(key: string): StoredObject | undefined {
    const object = this.#objects[this.#firstAtOrAfter(key)];
    return object?.key === key ? object : undefined;
  }

  #firstAtOrAfter(key: string): number {
    let low = 0;
    let high = this.#objects.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const object = this.#objects[middle];
      if (object !== undefined && object.key < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
