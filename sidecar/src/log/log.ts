import type { Digest, EntryKind, Operation, Position, ReadEntry, SequenceRange, WriterId } from "../formats/entry.js";

/** `cluster.json`, created once with put-if-absent. */
export interface ClusterIdentity {
  readonly formatVersion: number;
  readonly uid: string;
  readonly createdAt: string;
}

/** Reading the log. Every entry is verified whole (magic, version, limits, sha256, cluster uid, slot, chain) before it is returned. */
export interface LogReader {
  readonly cluster: ClusterIdentity;
  /**
   * The entry after `position`, or undefined if that slot is not written yet. A corrupt object is fetched once more, then throws
   * `EntryCorrupt`; another chain `ChainBroken` (corrupt); another cluster's `ForeignCluster` (invalid); a newer format
   * `FormatTooNew` (invalid). An empty slot is NOT proof of a gap: see `findGap`.
   */
  next(position: Position, signal: AbortSignal): Promise<ReadEntry | undefined>;
  /** An entry by slot, self-consistent, chain not compared. */
  read(slot: number, signal: AbortSignal): Promise<ReadEntry | undefined>;
  /**
   * After `next` found nothing: does the log go on behind that slot? undefined: no, the slot is the end. `trimmed`: a snapshot at or behind it
   * exists, restore from there. Throws `LogGap` (corrupt) if entries follow and no snapshot covers the hole.
   */
  findGap(slot: number, signal: AbortSignal): Promise<"trimmed" | undefined>;
}

export interface Draft {
  readonly kind: EntryKind;
  readonly operations: readonly Operation[];
  readonly sequences: readonly SequenceRange[];
  readonly more: boolean;
}

export interface Appended {
  readonly position: Position;
  /** Monotonic milliseconds just before the first try of its put was sent: the moment from which a lease may be counted. */
  readonly sentMs: number;
  readonly size: number;
}

/**
 * The primary's pen for ONE epoch. Entries are put in slot order, one put in flight, the next one encoded meanwhile. Ambiguous answers are
 * retried for ever with identical bytes (capped backoff with jitter), until `signal` aborts. Once something foreign is found in a slot every
 * call rejects with `Fenced` (kind fenced).
 */
export interface LogWriter {
  readonly epoch: number;
  readonly writer: WriterId;
  /** The last durable entry. */
  readonly position: Position;
  /** Monotonic ms at which the put of the last durable entry was first sent. */
  readonly lastSentMs: number;
  /** Undefined, or why this writer can never write again. */
  readonly fenced: Error | undefined;
  /** Why the entry that is being put is not durable yet. */
  readonly trouble: Error | undefined;
  append(draft: Draft, signal: AbortSignal): Promise<Appended>;
  /** An idle primary's look at the next slot: throws `Fenced` if anything is there. */
  checkFence(signal: AbortSignal): Promise<void>;
}

/** Puts a claim in the slot after `end`. `lost`: the slot is taken by another's entry: follow on and try again. */
export type Claim = (
  end: Position,
  epoch: number,
  signal: AbortSignal,
) => Promise<
  { readonly outcome: "won"; readonly writer: LogWriter; readonly chain: Digest } | { readonly outcome: "lost" }
>;
