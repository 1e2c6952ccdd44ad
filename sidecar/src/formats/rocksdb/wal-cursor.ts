import type { MetaMasterError } from "../../base/errors.js";
import { BATCH_HEADER_BYTES } from "./batch-layouts.js";
import { BatchScan, type BatchFault } from "./batch-scan.js";
import { ByteReader, readUint32 } from "./byte-reader.js";
import { recordType, type RecordState, type Refusal } from "./record-framing.js";
import { RecordReader, unknownType } from "./record-reader.js";
import { walProblem } from "./wal-problem.js";
import { WalRecords } from "./wal-records.js";
import { WHOLE_FRAME_BYTES_MAX, startOfRecord } from "./zstd-record.js";

/** kMaxSequenceNumber is 2^56 - 1 (db/dbformat.h). */
const SEQUENCE_HIGH_MAX = 0x00ffffff;
const COLUMN_FAMILIES_WITH_TIMESTAMPS_MAX = 100_000;

export type WalCompression = "none" | "zstd";
/** kZSTD of include/rocksdb/compression_type.h; the only one RocksDB writes here (db/db_impl/db_impl_open.cc refuses others). */
const compressionTypes: ReadonlyMap<number, WalCompression> = new Map([
  [0, "none"],
  [7, "zstd"],
]);

export interface WalCursorOptions {
  /** The WAL's number; recycled WALs carry its low 32 bits in every record. */
  readonly fileNumber: number;
  /** For messages. */
  readonly file: string;
}

export interface PredecessorWal {
  readonly number: bigint;
  readonly size: bigint;
  readonly lastSequence: bigint;
}

/** Everything needed to go on at `wholeEnd`; plain data, JSON-safe. */
export interface WalCursorSnapshot {
  readonly fileNumber: number;
  readonly file: string;
  readonly wholeEnd: number;
  readonly compression: WalCompression;
  readonly compressionRecordSeen: boolean;
  readonly recycled: boolean;
  readonly legacy: boolean;
  /** Column families whose timestamp sizes the WAL has named, with the sizes. */
  readonly timestampSizes: readonly (readonly [columnFamily: number, size: number])[];
  readonly batches: number;
  /** Decimal; of the last record's header. */
  readonly lastSequence: string | undefined;
}

/** What one feed completed. */
export interface WalFeed {
  readonly records: WalRecords;
  /**
   * The first record whose sequence is smaller than its predecessor's: never in one WAL that is in order, so the caller should take a
   * checkpoint before it trusts this file.
   */
  readonly wentBackAt: number | undefined;
}

/** Reads a WAL as it grows. The contract of offsets and states is RecordReader's. */
export class WalCursor {
  readonly fileNumber: number;
  readonly file: string;
  readonly #reader: RecordReader;
  readonly #timestampSizes = new Map<number, number>();
  readonly #batchHeader = new Uint8Array(BATCH_HEADER_BYTES);
  #headerBytes = 0;
  /** Payload bytes of the logical record so far. */
  #payloadBytes = 0;
  readonly #scan = new BatchScan();
  /** The beginning of a compressed record's frame, at most WHOLE_FRAME_BYTES_MAX. */
  #frame: Uint8Array[] = [];
  #frameBytes = 0;
  #compression: WalCompression = "none";
  #compressionRecordSeen = false;
  #predecessor: PredecessorWal | undefined;
  #batches = 0;
  #lastLow = 0;
  #lastHigh = 0;
  #records = new WalRecords();
  #wentBackAt: number | undefined;

  constructor(options: WalCursorOptions, from?: WalCursorSnapshot) {
    this.fileNumber = options.fileNumber;
    this.file = options.file;
    const start =
      from === undefined ? undefined : { offset: from.wholeEnd, recycled: from.recycled, legacy: from.legacy };
    this.#reader = new RecordReader(
      {
        data: (bytes, at, end, first, last, endOffset) => this.#data(bytes, at, end, first, last, endOffset),
        special: (type, bytes, at, end, offset) => this.#special(type, bytes, at, end, offset),
      },
      options.fileNumber,
      start,
    );
    if (from === undefined) return;
    this.#compression = from.compression;
    this.#compressionRecordSeen = from.compressionRecordSeen;
    this.#batches = from.batches;
    for (const [columnFamily, size] of from.timestampSizes) this.#timestampSizes.set(columnFamily, size);
    const last = BigInt(from.lastSequence ?? 0);
    this.#lastLow = Number(last & 0xffffffffn);
    this.#lastHigh = Number(last >> 32n);
  }

  /** A cursor that goes on at the snapshot's `wholeEnd`. */
  static resume(snapshot: WalCursorSnapshot): WalCursor {
    return new WalCursor(snapshot, snapshot);
  }

  /** File offset where the next feed's bytes must come from; goes back after zeros, bad or old records. */
  get nextOffset(): number {
    return this.#reader.nextOffset;
  }

  /** File offset after the last complete logical record: where a shipped prefix may end. */
  get wholeEnd(): number {
    return this.#reader.wholeEnd;
  }

  get state(): RecordState {
    return this.#reader.state;
  }

  /** Types 5-8 (or 11, 131) were seen: the file's inode may be overwritten under a new number. Copy, never link. */
  get recycled(): boolean {
    return this.#reader.recycled;
  }

  get compression(): WalCompression {
    return this.#compression;
  }

  /** Batches read since the file's start. */
  get batches(): number {
    return this.#batches;
  }

  /** Sequence in the header of the last whole record. */
  get lastSequence(): bigint | undefined {
    return this.#batches === 0 ? undefined : (BigInt(this.#lastHigh) << 32n) | BigInt(this.#lastLow);
  }

  /** What the WAL says of the one before it (since RocksDB 9.11, with track_and_verify_wals). */
  get predecessor(): PredecessorWal | undefined {
    return this.#predecessor;
  }

  feed(bytes: Uint8Array): WalFeed {
    this.#records = new WalRecords();
    this.#wentBackAt = undefined;
    this.#reader.feed(bytes);
    return { records: this.#records, wentBackAt: this.#wentBackAt };
  }

  /** The file's end was reached, and its bytes may be written over: what was unfinished there is read again (RecordReader.rewind). */
  rewind(): void {
    this.#reader.rewind();
  }

  snapshot(): WalCursorSnapshot {
    return {
      fileNumber: this.fileNumber,
      file: this.file,
      wholeEnd: this.wholeEnd,
      compression: this.#compression,
      compressionRecordSeen: this.#compressionRecordSeen,
      recycled: this.recycled,
      legacy: this.#reader.legacy,
      timestampSizes: [...this.#timestampSizes],
      batches: this.#batches,
      lastSequence: this.lastSequence?.toString(),
    };
  }

  /** The state as an error; undefined while it is an ordinary one. */
  problem(): MetaMasterError | undefined {
    return walProblem(this.file, this.state);
  }

  #data(
    bytes: Uint8Array,
    start: number,
    end: number,
    first: boolean,
    last: boolean,
    endOffset: number,
  ): Refusal | undefined {
    if (first) {
      this.#headerBytes = 0;
      this.#payloadBytes = 0;
      this.#frame = [];
      this.#frameBytes = 0;
    }
    this.#payloadBytes += end - start;
    if (this.#compression === "zstd") {
      const refusal = this.#keepFrame(bytes, start, end, last);
      if (refusal !== undefined) return refusal;
    } else {
      if (first) this.#scan.begin();
      this.#keepHeader(bytes, start, end);
      const fault = this.#scan.feed(bytes, start, end) ?? (last ? this.#scan.end() : undefined);
      if (fault !== undefined && this.#headerBytes === BATCH_HEADER_BYTES) return this.#refuse(fault);
    }
    return last ? this.#finish(endOffset) : undefined;
  }

  #keepHeader(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end && this.#headerBytes < BATCH_HEADER_BYTES; at++) {
      this.#batchHeader[this.#headerBytes++] = bytes[at]!;
    }
  }

  #keepFrame(bytes: Uint8Array, start: number, end: number, last: boolean): Refusal | undefined {
    const kept = bytes.subarray(start, Math.min(end, start + WHOLE_FRAME_BYTES_MAX - this.#frameBytes));
    this.#frameBytes += kept.length;
    // The reader lends its bytes: only what is used within this call may stay a view.
    this.#frame.push(last ? kept : kept.slice());
    if (!last) return undefined;
    const frame = this.#frame.length === 1 ? kept : Buffer.concat(this.#frame);
    this.#frame = [];
    const record = startOfRecord(frame, this.#frameBytes === this.#payloadBytes);
    if (record === undefined) return undefined;
    this.#keepHeader(record.bytes, 0, record.bytes.length);
    if (this.#headerBytes < BATCH_HEADER_BYTES) return undefined;
    this.#scan.begin();
    const fault =
      this.#scan.feed(record.bytes, 0, record.bytes.length) ?? (record.whole ? this.#scan.end() : undefined);
    return fault === undefined ? undefined : this.#refuse(fault);
  }

  #refuse(fault: BatchFault): Refusal {
    switch (fault) {
      case "blobReference":
        return { kind: "unsupported", feature: "blobReference", reason: "a batch refers to a blob file" };
      case "unknownTag":
        return {
          kind: "unsupported",
          feature: "batchTag",
          reason: `a batch holds an operation of the unknown tag ${this.#scan.unknownTag}`,
        };
      case "malformed":
      default:
        return { kind: "corrupt", reason: "a batch that ends inside an operation" };
    }
  }

  #finish(endOffset: number): Refusal | undefined {
    if (this.#headerBytes < BATCH_HEADER_BYTES) {
      const what =
        this.#compression === "zstd"
          ? "a compressed record without a readable batch header"
          : "a record too small for a batch";
      return { kind: "corrupt", reason: what };
    }
    const low = readUint32(this.#batchHeader, 0);
    const high = readUint32(this.#batchHeader, 4);
    const count = readUint32(this.#batchHeader, 8);
    if (high > SEQUENCE_HIGH_MAX) return { kind: "corrupt", reason: "a batch with a sequence number above 2^56" };
    const back = high < this.#lastHigh || (high === this.#lastHigh && low < this.#lastLow);
    if (back) this.#wentBackAt ??= this.#records.length;
    this.#lastLow = low;
    this.#lastHigh = high;
    this.#batches++;
    this.#records.push(endOffset, low, high, count, this.#payloadBytes);
    return undefined;
  }

  #special(type: number, bytes: Uint8Array, start: number, end: number, offset: number): Refusal | undefined {
    const body = new ByteReader(bytes, start, end);
    switch (type) {
      case recordType.setCompression:
        return this.#setCompression(body, offset);
      case recordType.timestampSizes:
      case recordType.recyclableTimestampSizes:
        return this.#setTimestampSizes(body);
      case recordType.predecessorWal:
      case recordType.recyclablePredecessorWal: {
        const [number, size, lastSequence] = [body.fixed64(), body.fixed64(), body.fixed64()];
        if (number === undefined || size === undefined || lastSequence === undefined) {
          return { kind: "corrupt", reason: "a predecessor record that is too short" };
        }
        this.#predecessor = { number, size, lastSequence };
        return undefined;
      }
      default:
        return unknownType(type);
    }
  }

  #setCompression(body: ByteReader, offset: number): Refusal | undefined {
    if (this.#compressionRecordSeen) return { kind: "corrupt", reason: "a second compression record" };
    if (offset !== 0) return { kind: "corrupt", reason: "a compression record that is not the first" };
    const type = body.fixed32();
    if (type === undefined) return { kind: "corrupt", reason: "a compression record that is too short" };
    const compression = compressionTypes.get(type);
    if (compression === undefined) return { kind: "unsupported", reason: `WAL compression of type ${type}` };
    this.#compression = compression;
    this.#compressionRecordSeen = true;
    return undefined;
  }

  #setTimestampSizes(body: ByteReader): Refusal | undefined {
    if (body.remaining % 6 !== 0) return { kind: "corrupt", reason: "a timestamp size record of a wrong length" };
    while (body.remaining > 0) {
      const columnFamily = body.fixed32()!;
      const size = body.byte()! | (body.byte()! << 8);
      if (size === 0 || this.#timestampSizes.has(columnFamily)) {
        return {
          kind: "corrupt",
          reason: `a timestamp size of ${size} for column family ${columnFamily}, or a second one`,
        };
      }
      this.#timestampSizes.set(columnFamily, size);
      if (this.#timestampSizes.size > COLUMN_FAMILIES_WITH_TIMESTAMPS_MAX) {
        return {
          kind: "unsupported",
          reason: `more than ${COLUMN_FAMILIES_WITH_TIMESTAMPS_MAX} column families with timestamps`,
        };
      }
    }
    return undefined;
  }
}
