import { MetaMasterError } from "../../base/errors.js";
import type { Random } from "../../base/random.js";
import { ZstdCompression } from "../../base/zstd-compression.js";
import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage } from "../../bucket/bucket.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import { JumpingClock } from "../../bucket/testing/test-clock.js";
import { encodeEntry } from "../../formats/entry-codec.js";
import { logKey, type Entry, type EntryHeader, type Operation, type Position } from "../../formats/entry.js";
import { makeClaim } from "../claim.js";
import { BucketLogReader } from "../log-reader.js";
import type { Claim, Draft, LogWriter } from "../log.js";
import { putDefaults, type PutTrouble } from "../slot-put.js";

/** mulberry32; the same numbers for the same seed. */
export class SmallRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  float(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => Math.floor(this.float() * 256));
  }

  between(low: number, high: number): number {
    return low + Math.floor(this.float() * (high - low + 1));
  }
}

export const compression = new ZstdCompression();
export const CLUSTER = "c1";
const NONCE = "0123456789abcdef0123456789abcdef";
export const never = new AbortController().signal;
export const START: Position = { slot: -1, chain: "" };

export type Fate = "right" | "failed" | "lost" | "denied";
type Call = "putIfAbsent" | "put" | "get" | "head" | "list" | "delete";

/** A way to a store: what happens to each call is decided by the test. Everything that is put under a slot is remembered. */
export class FaultyBucket implements Bucket {
  readonly url: string;
  readonly inner: Bucket;
  /** Asked at each call; `lost`: it takes effect and the answer is an error. */
  fate: (call: Call, key: string) => Fate = () => "right";
  /** Waited for before each call takes effect. */
  gate: (call: Call, key: string) => Promise<void> | undefined = () => undefined;
  readonly tried: { readonly key: string; readonly bytes: Uint8Array }[] = [];
  readonly calls: string[] = [];

  constructor(inner: Bucket) {
    this.inner = inner;
    this.url = inner.url;
  }

  putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
    const bytes = new Uint8Array(body);
    this.tried.push({ key, bytes });
    return this.#call("putIfAbsent", key, call, () => this.inner.putIfAbsent(key, bytes, {}));
  }

  put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    return this.#call("put", key, call, () => this.inner.put(key, source, {}));
  }

  get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    return this.#call("get", key, call, () => this.inner.get(key, { ...call, signal: undefined }));
  }

  head(key: string, call: CallOptions): Promise<number | undefined> {
    return this.#call("head", key, call, () => this.inner.head(key, {}));
  }

  list(prefix: string, call: ListOptions): Promise<ListPage> {
    return this.#call("list", prefix, call, () => this.inner.list(prefix, { ...call, signal: undefined }));
  }

  delete(key: string, call: CallOptions): Promise<void> {
    return this.#call("delete", key, call, () => this.inner.delete(key, {}));
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  async #call<T>(call: Call, key: string, { signal }: CallOptions, effect: () => Promise<T>): Promise<T> {
    this.calls.push(`${call} ${key}`);
    signal?.throwIfAborted();
    const fate = this.fate(call, key);
    const work = async (): Promise<T> => {
      await this.gate(call, key);
      if (fate === "failed") throw new MetaMasterError("BucketUnavailable", "transient", `${call} ${key} failed.`);
      if (fate === "denied") throw new MetaMasterError("BucketAccessDenied", "invalid", `${call} ${key} is denied.`);
      const result = await effect();
      if (fate === "lost") throw new MetaMasterError("BucketTimeout", "transient", `${call} ${key}: no answer.`);
      return result;
    };
    return await orAbort(work(), signal);
  }
}

/** As the contract says: an abort rejects at once, the effect may still happen. */
async function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  promise.catch(() => undefined);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

export interface Side {
  readonly bucket: FaultyBucket;
  readonly claim: Claim;
  readonly reader: BucketLogReader;
  readonly troubles: (PutTrouble | undefined)[];
}

/** One member's way to the shared store. */
export function side(store: MemoryBucket, clock: JumpingClock, member: string, seed = 1): Side {
  const bucket = new FaultyBucket(store);
  const troubles: (PutTrouble | undefined)[] = [];
  const cluster = { formatVersion: 1, uid: CLUSTER, createdAt: "2026-01-01T00:00:00.000Z" };
  const nonce = Buffer.from(member.padEnd(16, "-").slice(0, 16)).toString("hex");
  const random = new SmallRandom(seed);
  const onTrouble = (trouble: PutTrouble | undefined): unknown => trouble !== undefined && troubles.push(trouble);
  const claim = makeClaim(
    { cluster: CLUSTER, writer: { member, nonce } },
    { bucket, clock, random, compression, onTrouble },
    putDefaults,
  );
  return { bucket, claim, reader: new BucketLogReader({ cluster, bucket, compression }), troubles };
}

export function draft(kind: Draft["kind"], operations: readonly Operation[] = [], more = false): Draft {
  return { kind, operations, sequences: [], more };
}

/** A `wal` draft that is told apart by its bytes. */
export function wal(text: string, offset = 0): Draft {
  return draft("wal", [{ type: "append", file: "db/000001.log", offset, bytes: Buffer.from(text) }]);
}

export async function won(claim: Claim, end: Position, epoch: number): Promise<LogWriter> {
  const result = await claim(end, epoch, never);
  if (result.outcome !== "won") throw new Error("the claim was lost");
  return result.writer;
}

export function header(fields: Partial<EntryHeader> = {}): EntryHeader {
  return {
    version: 1,
    cluster: CLUSTER,
    slot: 0,
    epoch: 1,
    kind: "claim",
    previous: "",
    writer: { member: "m1", nonce: NONCE },
    wallTimeMs: 1_800_000_000_000,
    more: false,
    sequences: [],
    ...fields,
  };
}

/** Puts an entry behind everybody's back. */
export async function poke(store: MemoryBucket, entry: Entry): Promise<Position> {
  const { bytes, chain } = await encodeEntry(entry, compression);
  store.poke(logKey(entry.header.slot), bytes);
  return { slot: entry.header.slot, chain };
}

/** The whole history, verified. */
export async function history(reader: BucketLogReader, from: Position = START): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  for (let position = from; ;) {
    const entry = await reader.next(position, never);
    if (entry === undefined) return entries;
    entries.push(entry);
    position = entry.position;
  }
}

/** Lets everything that only waits for microtasks (and zlib's threads) happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
