/**
 * An entry of the log: what one object `log/<slot>` says. Wire format in docs/reference/formats.md; codec in entry-codec.ts.
 * File names inside an image (`ImagePath`) are `<database>/<name>` for a database's directory, `<database>@wal/<name>` for a
 * separate WAL directory, `@companions/<path relative to the data directory>` for companions. '/'-separated, never '..', '.' or empty segments.
 */
export type ImagePath = string;

/** Hex of 32 bytes. */
export type Digest = string;

export interface Position {
  /** Slot of the last entry of this history; -1 with an empty chain before the first. */
  readonly slot: number;
  /** sha256 of that entry's bytes; "" at slot -1. */
  readonly chain: Digest;
}

export interface WriterId {
  /** The member's configured name. */
  readonly member: string;
  /** Made anew at each start of the process: 16 random bytes, hex. */
  readonly nonce: string;
}

export type EntryKind =
  /** Begins an epoch: from here on `writer` writes. Carries no operations. Never deleted. */
  | "claim"
  /** WAL bytes, and MANIFEST bytes up to the last binding edit of the same cut. */
  | "wal"
  /** MANIFEST growth, table references and removals of a checkpoint (and the WAL bytes of its cut). */
  | "checkpoint"
  /** Renews the writer's leadership, nothing else. */
  | "heartbeat"
  /** A planned end is coming: followers look often for a while. */
  | "handover"
  /** The writer has stopped its master and shipped everything; whoever is named (or anybody) may claim at once. */
  | "release"
  /** Names slots and objects that will be deleted after a grace period. */
  | "trim";

export interface EntryHeader {
  readonly version: 1;
  /** uid of `cluster.json`. */
  readonly cluster: string;
  readonly slot: number;
  readonly epoch: number;
  readonly kind: EntryKind;
  /** Chain digest of slot - 1; "" in slot 0. */
  readonly previous: Digest;
  readonly writer: WriterId;
  readonly wallTimeMs: number;
  /**
   * True if the operations of this entry belong together with those of the next slot. Such entries take effect together with the first
   * following one of the same epoch that has `more: false`, or, if a claim comes first, never. A group consists of `wal` and `checkpoint`
   * entries only: heartbeat, handover, release and trim entries between them (they always say `more: false`) neither join nor close it.
   */
  readonly more: boolean;
  /** Sequence numbers of the WAL records carried, per database, decimal strings (uint64). */
  readonly sequences: readonly SequenceRange[];
}

export interface SequenceRange {
  readonly database: string;
  readonly first: string;
  readonly last: string;
}

export type Operation =
  /** Grows a WAL or MANIFEST: `offset` is its size so far (0 creates it). */
  | { readonly type: "append"; readonly file: ImagePath; readonly offset: number; readonly bytes: Uint8Array }
  /** A small file whole (CURRENT, OPTIONS, IDENTITY, small companions), replaced atomically. At most SMALL_FILE_BYTES_MAX. */
  | { readonly type: "write"; readonly file: ImagePath; readonly permissions: number; readonly bytes: Uint8Array }
  /** An immutable file whose bytes are the object `key` (tables, blobs, large companions, a link to any of them). */
  | {
      readonly type: "table";
      readonly file: ImagePath;
      readonly permissions: number;
      readonly size: number;
      readonly sha256: Digest;
      readonly key: string;
    }
  /** A directory that must exist even if empty (companions). */
  | { readonly type: "directory"; readonly file: ImagePath; readonly permissions: number }
  /** The file (or empty directory) is gone. */
  | { readonly type: "remove"; readonly file: ImagePath }
  /**
   * kind handover/release: the member that should take over, "" for anybody. `untilMs`: for how many ms after reading it followers look often, and
   * for how long those not meant leave the claim to the one who is.
   */
  | { readonly type: "handover"; readonly to: string; readonly untilMs: number }
  /**
   * kind trim. Slots in [fromSlot, throughSlot] except claims, and the objects `keys` (below tables/ and snapshots/ only), are doomed. `throughSlot` is
   * fromSlot - 1 if no slot is. `trim` entries in slots up to `executedThrough` (-1: none) are carried out.
   */
  | {
      readonly type: "trim";
      readonly fromSlot: number;
      readonly throughSlot: number;
      readonly keys: readonly string[];
      readonly executedThrough: number;
    };

export interface Entry {
  readonly header: EntryHeader;
  readonly operations: readonly Operation[];
}

/** An entry as read from the bucket and verified, with its own digest. */
export interface ReadEntry extends Entry {
  readonly position: Position;
  /** Bytes of the object. */
  readonly size: number;
}

export const MIB = 1024 * 1024;
/** Uncompressed body, default and upper bound of what a writer puts in an entry (a bound for readers too). */
export const ENTRY_BODY_BYTES_MAX = 8 * MIB;
export const SMALL_FILE_BYTES_MAX = 256 * 1024;
export const IMAGE_PATH_BYTES_MAX = 1024;

/** Keys of the bucket. */
export const CLUSTER_KEY = "cluster.json";
export const LOG_PREFIX = "log/";
export const SNAPSHOT_PREFIX = "snapshots/";
export const TABLE_PREFIX = "tables/";
export const STANDBY_PREFIX = "standbys/";

export function logKey(slot: number): string {
  return `${LOG_PREFIX}${slotText(slot)}`;
}

export function snapshotKey(slot: number): string {
  return `${SNAPSHOT_PREFIX}${slotText(slot)}.json`;
}

/** Of the answers to the handover in `slot`. */
export function standbyFolder(slot: number): string {
  return `${STANDBY_PREFIX}${slotText(slot)}/`;
}

/** Byte order is the order of numbers. */
function slotText(slot: number): string {
  return String(slot).padStart(20, "0");
}
