import type { Clock } from "../base/clock.js";
import { MetaMasterError, isKind } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket } from "../bucket/bucket.js";
import { ENTRY_OBJECT_BYTES_MAX, decodeEntryHeader } from "../formats/entry-codec.js";
import { logKey, type Digest, type EntryHeader } from "../formats/entry.js";

export interface PutSettings {
  /** Deadline of one try, milliseconds, besides the time its bytes take. */
  readonly tryMs: number;
  /** A try slower than this is given up and made again, bytes a second. */
  readonly minBytesPerSecond: number;
  /** The pause after the n-th failed try is uniform in [0, min(pauseMaxMs, pauseFirstMs * 2^n)]. */
  readonly pauseFirstMs: number;
  readonly pauseMaxMs: number;
  /** The longest pause after an answer that only a person can change (credentials, a deleted bucket); half of it at least. */
  readonly pauseInvalidMs: number;
}

export const putDefaults: PutSettings = {
  tryMs: 5_000,
  minBytesPerSecond: 256 * 1024,
  pauseFirstMs: 20,
  pauseMaxMs: 2_000,
  pauseInvalidMs: 10_000,
};

/** Why an entry is not durable yet. It is tried again until it is, or until nobody waits for it. */
export interface PutTrouble {
  readonly slot: number;
  readonly error: MetaMasterError;
  /** Failed tries of this entry so far. */
  readonly tries: number;
  readonly pauseMs: number;
}

export interface PutComponents {
  /** Makes one attempt a call: what is tried again, and how often, is decided here. */
  readonly bucket: Bucket;
  readonly clock: Clock;
  readonly random: Random;
  /** Told of every failed try, and with `undefined` that there is none (any more). Must not throw. */
  readonly onTrouble: (trouble: PutTrouble | undefined) => void;
}

/** Bytes whose place is fixed: once tried, no other bytes may ever be tried in that slot. */
export interface SlotBytes {
  readonly slot: number;
  readonly bytes: Uint8Array;
  /** sha256 of `bytes`. */
  readonly chain: Digest;
}

export type PutOutcome =
  /** `quiet`: the first try created it, so its body was read to the end. Otherwise a try may still be sending. */
  | { readonly outcome: "durable"; readonly quiet: boolean }
  /** Something else is in the slot; `header` if it is a whole entry. */
  | { readonly outcome: "taken"; readonly header: EntryHeader | undefined };

/** These can't be cured by waiting: the call or the bucket's handle is wrong. */
const HOPELESS: ReadonlySet<string> = new Set(["BucketClosed", "BucketKeyInvalid", "BucketCallInvalid"]);

/**
 * Tries the identical bytes until they are known to be in the slot or something else is. Rejects only when `signal` aborts (the put may
 * still take effect) and for errors that are defects.
 */
export async function putIntoSlot(
  entry: SlotBytes,
  components: PutComponents,
  settings: PutSettings,
  signal: AbortSignal,
): Promise<PutOutcome> {
  const { bucket, clock, random, onTrouble } = components;
  const { slot, bytes } = entry;
  const deadlineMs = settings.tryMs + Math.ceil((bytes.length * 1000) / settings.minBytesPerSecond);
  for (let tries = 0; ;) {
    signal.throwIfAborted();
    try {
      const outcome = await tryOnce(bucket, entry, deadlineMs, signal);
      onTrouble(undefined);
      return outcome.outcome === "durable" ? { ...outcome, quiet: outcome.quiet && tries === 0 } : outcome;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof MetaMasterError) || HOPELESS.has(error.code)) throw error;
      tries++;
      const pauseMs = pauseAfter(error, tries, random, settings);
      onTrouble({ slot, error, tries, pauseMs });
      await clock.sleep(pauseMs, signal);
    }
  }
}

function pauseAfter(error: MetaMasterError, tries: number, random: Random, settings: PutSettings): number {
  if (!isKind(error, "transient")) return settings.pauseInvalidMs * (0.5 + random.float() / 2);
  return random.float() * Math.min(settings.pauseMaxMs, settings.pauseFirstMs * 2 ** Math.min(tries, 30));
}

async function tryOnce(
  bucket: Bucket,
  { slot, bytes, chain }: SlotBytes,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<PutOutcome> {
  const key = logKey(slot);
  const outcome = await bucket.putIfAbsent(key, bytes, { deadlineMs, signal, sha256: chain });
  if (outcome === "created") return { outcome: "durable", quiet: true };
  const found = await whatIsIn(bucket, slot, deadlineMs, signal);
  if (found === undefined) throw vanished(key, bucket.url);
  if (Buffer.compare(found.bytes, bytes) === 0) return { outcome: "durable", quiet: false };
  return { outcome: "taken", header: found.header };
}

function vanished(key: string, url: string): MetaMasterError {
  return new MetaMasterError(
    "SlotVanished",
    "transient",
    `${key} in ${url} was there at one look and gone at the next.`,
    {
      details: { key },
      hint: "It is tried again. If it lasts: the store is not consistent, or something deletes objects below log/.",
    },
  );
}

interface Found {
  readonly bytes: Uint8Array;
  readonly header: EntryHeader | undefined;
}

/** Read twice if it doesn't verify: one flipped bit on the way must not make our own entry look foreign. */
export async function whatIsIn(
  bucket: Bucket,
  slot: number,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<Found | undefined> {
  const key = logKey(slot);
  for (let look = 1; ; look++) {
    try {
      const bytes = await bucket.get(key, { maxBytes: ENTRY_OBJECT_BYTES_MAX, deadlineMs, signal });
      if (bytes === undefined) return undefined;
      const header = headerOf(bytes, key);
      if (header !== undefined || look === 2) return { bytes, header };
    } catch (error) {
      // Larger than any entry: whatever it is, it isn't ours.
      if (isKind(error, "corrupt")) return { bytes: new Uint8Array(0), header: undefined };
      throw error;
    }
  }
}

function headerOf(bytes: Uint8Array, key: string): EntryHeader | undefined {
  try {
    return decodeEntryHeader(bytes, key);
  } catch {
    return undefined;
  }
}
