/** The framing that WAL and MANIFEST share (db/log_format.h). */
export const BLOCK_BYTES = 32_768;
/** Masked CRC32C (4), payload length u16, type u8. */
export const HEADER_BYTES = 7;
/** The same and the low 32 bits of the log number; the CRC covers type, log number and payload. */
export const RECYCLABLE_HEADER_BYTES = 11;

/** Bytes of zeros at `offset` that end a block of a recycled WAL although a legacy header would fit there; 0 where there are none. */
export function recycledPadding(offset: number): number {
  const left = BLOCK_BYTES - (offset % BLOCK_BYTES);
  return left >= HEADER_BYTES && left < RECYCLABLE_HEADER_BYTES ? left : 0;
}

export const recordType = {
  /** Never written; what preallocated, unwritten space looks like. */
  zero: 0,
  full: 1,
  first: 2,
  middle: 3,
  last: 4,
  recyclableFull: 5,
  recyclableFirst: 6,
  recyclableMiddle: 7,
  recyclableLast: 8,
  setCompression: 9,
  timestampSizes: 10,
  recyclableTimestampSizes: 11,
  predecessorWal: 130,
  recyclablePredecessorWal: 131,
} as const;

/** Unknown types with this bit may be skipped (since RocksDB 9.11). */
export const IGNORABLE_TYPE_BIT = 0x80;

/** From 10 on the lowest bit says it (db/log_format.h); a header of 11 bytes then. */
export function isRecyclableType(type: number): boolean {
  return (
    (type >= recordType.recyclableFull && type <= recordType.recyclableLast) ||
    (type >= recordType.timestampSizes && (type & 1) === 1)
  );
}

export function isDataType(type: number): boolean {
  return type >= recordType.full && type <= recordType.recyclableLast;
}

export function headerBytes(type: number): number {
  return isRecyclableType(type) ? RECYCLABLE_HEADER_BYTES : HEADER_BYTES;
}

/** Where reading stands after a feed. All but `corrupt` and `unsupported` are ordinary for a file that is still written. */
export type RecordState =
  /** At the end of a logical record. */
  | { readonly kind: "clean" }
  /** "Not yet": a record is unfinished, or what follows (zeros, half-written bytes) is no record and no valid one comes after it. */
  | { readonly kind: "torn"; readonly offset: number; readonly cause: TornCause; readonly reason: string }
  /** "Not yet" in a recycled WAL: what follows is the file's former content. */
  | { readonly kind: "recycled"; readonly offset: number; readonly reason: string }
  /**
   * Damage with valid records behind it, or records that contradict each other. A read that races with the writer of a recycled file can look
   * like it too: unless `final`, read again from `nextOffset` before believing it.
   */
  | { readonly kind: "corrupt"; readonly offset: number; readonly reason: string; readonly final: boolean }
  /** Well-formed, but a feature this reader doesn't know. */
  | {
      readonly kind: "unsupported";
      readonly offset: number;
      readonly reason: string;
      readonly feature: Feature | undefined;
    };

/** partial: bytes are missing at the end; the others: bytes are there that are no record. */
export type TornCause = "partial" | "zeros" | "length" | "checksum" | "type";

/** Unsupported features that have a name (and an error code) of their own. */
export type Feature = "blobReference" | "batchTag";

/** Why a sink refuses a record whose checksum is right. */
export interface Refusal {
  readonly kind: "corrupt" | "unsupported";
  readonly reason: string;
  readonly feature?: Feature;
}
