import type { Compression } from "../base/compression.js";
import { MetaMasterError, hasCode, isKind } from "../base/errors.js";
import { release } from "../base/release.js";
import type { Bucket } from "../bucket/bucket.js";
import { ENTRY_OBJECT_BYTES_MAX, decodeEntry } from "../formats/entry-codec.js";
import { clusterDeleted } from "../formats/end-entry.js";
import { CLUSTER_KEY, LOG_PREFIX, MIB, logKey, type Position, type ReadEntry } from "../formats/entry.js";
import { SNAPSHOT_PREFIX, snapshotKey } from "../formats/entry.js";
import { readCluster } from "./cluster-identity.js";
import type { ClusterIdentity, LogReader } from "./log.js";

export interface LogReaderSettings {
  /** Entries fetched ahead at most while catching up. */
  readonly readAhead: number;
  /** Fetched ahead at most, bytes, reckoned by the last entry's size. */
  readonly readAheadBytes: number;
}

const logReaderDefaults: LogReaderSettings = { readAhead: 8, readAheadBytes: 32 * MIB };

export interface LogReaderComponents {
  readonly cluster: ClusterIdentity;
  readonly bucket: Bucket;
  readonly compression: Compression;
  /** Told of an object that was damaged at the first look; it is fetched once more. */
  readonly onCorrupt?: ((error: MetaMasterError) => void) | undefined;
}

/** The log as the bucket holds it. One fetch a call and slot: transient errors are the caller's to try again. */
export class BucketLogReader implements LogReader {
  readonly cluster: ClusterIdentity;
  readonly #settings: LogReaderSettings;
  readonly #parts: LogReaderComponents;
  /** What is being fetched ahead, by slot. An absence or a failure seen there says nothing: it is looked at again. */
  readonly #ahead = new Map<number, Promise<Uint8Array | undefined>>();
  #lastFound = -2;
  #foundInARow = 0;

  constructor(components: LogReaderComponents, settings: LogReaderSettings = logReaderDefaults) {
    this.cluster = components.cluster;
    this.#settings = settings;
    this.#parts = components;
  }

  async next(position: Position, signal: AbortSignal): Promise<ReadEntry | undefined> {
    const slot = position.slot + 1;
    const entry = await this.#read(slot, await this.#take(slot), signal);
    if (entry === undefined) {
      this.#foundInARow = 0;
      return undefined;
    }
    if (entry.header.previous !== position.chain) throw chainBroken(entry, position);
    this.#foundInARow = slot === this.#lastFound + 1 ? this.#foundInARow + 1 : 1;
    this.#lastFound = slot;
    this.#fetchAhead(entry, signal);
    return entry;
  }

  async read(slot: number, signal: AbortSignal): Promise<ReadEntry | undefined> {
    return await this.#read(slot, undefined, signal);
  }

  async findGap(slot: number, signal: AbortSignal): Promise<"trimmed" | undefined> {
    const { bucket } = this.#parts;
    const { objects } = await bucket.list(LOG_PREFIX, { startAfter: logKey(slot), limit: 1, signal });
    const behind = objects[0]?.key;
    // Written since `next` looked: no gap.
    if (behind === undefined || (await bucket.head(logKey(slot), { signal })) !== undefined) return undefined;
    const identity = await this.#expectNoEnd(behind, signal);
    const startAfter = snapshotKey(slot - 1);
    const snapshots = await bucket.list(SNAPSHOT_PREFIX, { ...(slot > 0 ? { startAfter } : {}), limit: 1, signal });
    if (snapshots.objects.length > 0) return "trimmed";
    if (identity === undefined) throw clusterDeleted(`${CLUSTER_KEY} in ${bucket.url} is gone`);
    throw new MetaMasterError(
      "LogGap",
      "corrupt",
      `${logKey(slot)} is missing in ${bucket.url}, but the log goes on with ${behind} and no snapshot covers the hole.`,
      {
        details: { slot, behind },
        hint: "Bring the object back from the bucket's versions; who deleted it? Only MetaMaster may delete below log/.",
      },
    );
  }

  /** A purge leaves holes on purpose: it says so behind them, and in the cluster's identity. What lies there may also be left of another cluster, which a purge removed while that still wrote. */
  async #expectNoEnd(behind: string, signal: AbortSignal): Promise<ClusterIdentity | undefined> {
    const { bucket } = this.#parts;
    const identity = await readCluster(bucket, signal);
    try {
      await this.read(slotOfLogKey(behind, bucket.url), signal);
    } catch (error) {
      if (hasCode(error, "ClusterDeleted") || hasCode(error, "ForeignCluster") || isKind(error, "transient"))
        throw error;
      signal.throwIfAborted();
    }
    return identity;
  }

  /** The bytes if they were fetched ahead; fetches for slots that nobody will ask for next are forgotten. */
  async #take(slot: number): Promise<Uint8Array | undefined> {
    const ahead = this.#ahead.get(slot);
    for (const known of this.#ahead.keys())
      if (known <= slot || slot !== this.#lastFound + 1) this.#ahead.delete(known);
    return await ahead;
  }

  #fetchAhead(last: ReadEntry, signal: AbortSignal): void {
    const { readAhead, readAheadBytes } = this.#settings;
    // One entry in a row is the ordinary life of a follower at the end: nothing is fetched in vain.
    const count = Math.min(readAhead, this.#foundInARow - 1, Math.floor(readAheadBytes / last.size));
    for (let slot = last.position.slot + 1; slot <= last.position.slot + count; slot++) {
      if (this.#ahead.has(slot)) continue;
      this.#ahead.set(
        slot,
        this.#fetch(slot, signal).catch(() => undefined),
      );
    }
  }

  async #fetch(slot: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return await this.#parts.bucket.get(logKey(slot), { maxBytes: ENTRY_OBJECT_BYTES_MAX, signal });
  }

  async #read(slot: number, ahead: Uint8Array | undefined, signal: AbortSignal): Promise<ReadEntry | undefined> {
    signal.throwIfAborted();
    try {
      return await this.#decode(slot, ahead ?? (await this.#fetch(slot, signal)));
    } catch (error) {
      if (!isKind(error, "corrupt")) throw error;
      this.#parts.onCorrupt?.(error);
      return await this.#decode(slot, await this.#fetch(slot, signal));
    }
  }

  async #decode(slot: number, bytes: Uint8Array | undefined): Promise<ReadEntry | undefined> {
    if (bytes === undefined) return undefined;
    const key = logKey(slot);
    const size = bytes.length;
    const { header, operations, chain } = await decodeEntry(bytes, key, this.#parts.compression);
    release(bytes);
    if (header.cluster !== this.cluster.uid) throw foreign(key, header.cluster, this.cluster.uid);
    if (header.slot !== slot) {
      throw new MetaMasterError("EntryCorrupt", "corrupt", `${key} holds the entry of slot ${header.slot}.`, {
        details: { key, slot: header.slot },
        hint: "Objects below log/ were copied or renamed; bring the right ones back from the bucket's versions.",
      });
    }
    return { header, operations, position: { slot, chain }, size };
  }
}

function foreign(key: string, found: string, expected: string): MetaMasterError {
  return new MetaMasterError(
    "ForeignCluster",
    "invalid",
    `${key} belongs to the cluster ${found}, this member to ${expected}.`,
    {
      details: { key, found, expected },
      hint: "Two clusters write below one prefix, or objects were copied between prefixes: give each its own. Left by a cluster that was deleted here while somebody wrote: stop that one, then remove the object.",
    },
  );
}

function chainBroken(entry: ReadEntry, position: Position): MetaMasterError {
  const { slot } = entry.position;
  return new MetaMasterError(
    "ChainBroken",
    "corrupt",
    `The entry in slot ${slot} follows another history than the one known up to slot ${position.slot}.`,
    {
      details: { slot, previous: entry.header.previous, expected: position.chain },
      hint: "What this member followed is not what the bucket holds now; its data is compared and restored from the bucket.",
    },
  );
}

/** The last slot in the bucket behind `fromSlot` (which need not exist), by listing; `fromSlot` if there is none. */
export async function findLastSlot(bucket: Bucket, fromSlot: number, signal: AbortSignal): Promise<number> {
  let last = fromSlot;
  for (;;) {
    const startAfter = last < 0 ? {} : { startAfter: logKey(last) };
    const { objects, more } = await bucket.list(LOG_PREFIX, { ...startAfter, signal });
    const key = objects.at(-1)?.key;
    if (key === undefined) return last;
    last = slotOfLogKey(key, bucket.url);
    if (!more) return last;
  }
}

/** Throws `LogKeyInvalid` (corrupt) for what is none. */
export function slotOfLogKey(key: string, url: string): number {
  const digits = key.slice(LOG_PREFIX.length);
  const slot = Number(digits);
  if (/^[0-9]{20}$/.test(digits) && Number.isSafeInteger(slot)) return slot;
  throw new MetaMasterError("LogKeyInvalid", "corrupt", `${key} in ${url} is no slot of a log.`, {
    details: { key },
    hint: "Something else wrote below log/: move it away, and give MetaMaster a prefix of its own.",
  });
}
