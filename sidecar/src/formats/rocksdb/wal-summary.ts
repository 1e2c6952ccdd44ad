import { messageOf } from "../../base/errors.js";
import type { BatchRecordKind } from "./batch-layouts.js";
import { recordType, recycledPadding } from "./record-framing.js";
import { RecordReader, type RecordSink } from "./record-reader.js";
import { walkBatch } from "./write-batch.js";
import { decompressRecord, isFrame } from "./zstd-record.js";

const RECORD_BYTES_MAX = 64 * 1024 * 1024;
const COLUMN_FAMILIES_MAX = 1000;

type Kinds = Partial<Record<BatchRecordKind, number>>;

/** What a piece of a WAL does. */
export interface WalSummary {
  readonly batches: number;
  /** Operations that the batches' headers count. */
  readonly operations: number;
  readonly sequences: { readonly first: bigint; readonly last: bigint } | undefined;
  readonly compressed: boolean;
  /** Of all records, those that no header counts included. */
  readonly kinds: Kinds;
  /** Counted operations, ascending by id; at most COLUMN_FAMILIES_MAX. */
  readonly columnFamilies: readonly { readonly id: number; readonly operations: number; readonly kinds: Kinds }[];
  readonly otherColumnFamilies: number;
  /** Why not all of the piece is counted. */
  readonly incomplete: string | undefined;
}

export interface WalPiece {
  /** For messages. */
  readonly file: string;
  readonly number: number;
  /** Where the bytes begin in the file: at a record's end. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Walks every batch of a piece of a WAL. Never throws for what the bytes are: `incomplete` says where the walk ended, and why. */
export function summarizeWal({ file, number, offset, bytes }: WalPiece): WalSummary {
  const counter = new Counter(file);
  const reader = new RecordReader(counter, number, { offset, recycled: startsInPadding(offset, bytes), legacy: false });
  reader.feed(bytes);
  const { state } = reader;
  const stopped = state.kind === "clean" ? undefined : `${file}, offset ${state.offset}: ${state.reason}`;
  return counter.summary(counter.incomplete ?? stopped);
}

/** Only recycled WALs pad a block's end with zeros that a whole header would fit in. */
function startsInPadding(offset: number, bytes: Uint8Array): boolean {
  const left = recycledPadding(offset);
  return left > 0 && bytes.length >= left && bytes.subarray(0, left).every((byte) => byte === 0);
}

class Counter implements RecordSink {
  readonly #file: string;
  #pieces: Uint8Array[] = [];
  #batches = 0;
  #operations = 0;
  #first: bigint | undefined;
  #last = 0n;
  #compressed = false;
  readonly #kinds: Kinds = {};
  readonly #families = new Map<number, { operations: number; kinds: Kinds }>();
  #others = 0;
  incomplete: string | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  data(bytes: Uint8Array, start: number, end: number, first: boolean, last: boolean, endOffset: number): undefined {
    if (first) this.#pieces = [];
    this.#pieces.push(last ? bytes.subarray(start, end) : bytes.slice(start, end));
    if (!last) return;
    const stored = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [];
    const where = `${this.#file}, record that ends at ${endOffset}`;
    try {
      this.#batch(this.#payload(stored, where), where);
    } catch (error) {
      this.incomplete ??= `${where}: ${messageOf(error)}`;
    }
  }

  special(type: number): undefined {
    this.#compressed ||= type === recordType.setCompression;
  }

  summary(incomplete: string | undefined): WalSummary {
    const families = [...this.#families].toSorted(([left], [right]) => left - right);
    return {
      batches: this.#batches,
      operations: this.#operations,
      sequences: this.#first === undefined ? undefined : { first: this.#first, last: this.#last },
      compressed: this.#compressed,
      kinds: this.#kinds,
      columnFamilies: families.map(([id, family]) => ({ id, ...family })),
      otherColumnFamilies: this.#others,
      incomplete,
    };
  }

  /** That a WAL is compressed stands at its beginning only. Elsewhere a frame tells, unless a sequence number looks like one. */
  #payload(stored: Uint8Array, where: string): Uint8Array {
    if (!isFrame(stored)) return stored;
    try {
      const payload = decompressRecord(stored, RECORD_BYTES_MAX);
      this.#compressed = true;
      return payload;
    } catch (error) {
      if (this.#compressed || !isBatch(stored, where)) throw error;
      return stored;
    }
  }

  #batch(payload: Uint8Array, where: string): void {
    const summary = walkBatch(payload, where, ({ kind, columnFamily, counted }) => {
      this.#kinds[kind] = (this.#kinds[kind] ?? 0) + 1;
      if (counted) this.#family(columnFamily, kind);
    });
    const { sequence, count, sequencesUsed } = summary;
    this.#batches++;
    this.#operations += count;
    this.#first ??= sequence;
    const used = sequencesUsed ?? count;
    const last = used === 0 ? sequence : sequence + BigInt(used) - 1n;
    if (last > this.#last) this.#last = last;
  }

  #family(id: number, kind: BatchRecordKind): void {
    let family = this.#families.get(id);
    if (family === undefined) {
      if (this.#families.size >= COLUMN_FAMILIES_MAX) {
        this.#others++;
        return;
      }
      family = { operations: 0, kinds: {} };
      this.#families.set(id, family);
    }
    family.operations++;
    family.kinds[kind] = (family.kinds[kind] ?? 0) + 1;
  }
}

function isBatch(payload: Uint8Array, where: string): boolean {
  try {
    walkBatch(payload, where);
    return true;
  } catch {
    return false;
  }
}
