import { MetaMasterError } from "../../base/errors.js";
import { ByteReader } from "./byte-reader.js";

type BatchRecordKind =
  | "put"
  | "delete"
  | "singleDelete"
  | "merge"
  | "deleteRange"
  | "blobIndex"
  | "putEntity"
  | "timedPut"
  | "logData"
  | "noop"
  | "beginPrepare"
  | "beginPersistedPrepare"
  | "beginUnprepare"
  | "endPrepare"
  | "commit"
  | "commitWithTimestamp"
  | "rollback";

interface Layout {
  readonly kind: BatchRecordKind;
  /** A column family id comes first. */
  readonly family: boolean;
  /** Varint-prefixed strings in the body. */
  readonly strings: number;
  /** Counted in the header, takes a sequence number. */
  readonly counted: boolean;
}

/** db/dbformat.h, enum ValueType, and db/write_batch.cc, ReadRecordFromWriteBatch. */
const layouts: ReadonlyMap<number, Layout> = new Map([
  ...keyed("delete", 0x00, 0x04, 1),
  ...keyed("put", 0x01, 0x05, 2),
  ...keyed("merge", 0x02, 0x06, 2),
  ...keyed("singleDelete", 0x07, 0x08, 1),
  ...keyed("deleteRange", 0x0f, 0x0e, 2),
  ...keyed("blobIndex", 0x11, 0x10, 2),
  ...keyed("putEntity", 0x16, 0x17, 2),
  ...keyed("timedPut", 0x18, 0x19, 2),
  marker("logData", 0x03, 1),
  marker("noop", 0x0d, 0),
  marker("beginPrepare", 0x09, 0),
  marker("beginPersistedPrepare", 0x12, 0),
  marker("beginUnprepare", 0x13, 0),
  marker("endPrepare", 0x0a, 1),
  marker("commit", 0x0b, 1),
  marker("rollback", 0x0c, 1),
  marker("commitWithTimestamp", 0x15, 2),
]);

function keyed(kind: BatchRecordKind, tag: number, familyTag: number, strings: number): [number, Layout][] {
  return [
    [tag, { kind, family: false, strings, counted: true }],
    [familyTag, { kind, family: true, strings, counted: true }],
  ];
}

function marker(kind: BatchRecordKind, tag: number, strings: number): [number, Layout] {
  return [tag, { kind, family: false, strings, counted: false }];
}

export interface BatchRecord {
  readonly kind: BatchRecordKind;
  readonly columnFamily: number;
  /** Key and value, begin and end, xid: views of the payload. */
  readonly strings: readonly Uint8Array[];
}

export interface BatchSummary {
  readonly sequence: bigint;
  /** Operations by the header; the records were counted and agree. */
  readonly count: number;
  /** How many sequence numbers the batch uses; undefined where only the master's memory knows (a commit of a prepared transaction). */
  readonly sequencesUsed: number | undefined;
  readonly kinds: ReadonlyMap<BatchRecordKind, number>;
  /** Counted operations by column family. */
  readonly columnFamilies: ReadonlyMap<number, number>;
}

/**
 * Walks a WAL record's (decompressed) payload: every byte must belong to a known record. Throws `WriteBatchCorrupt` or `WriteBatchUnsupported`.
 * `where` names file and offset.
 */
export function walkBatch(payload: Uint8Array, where: string, visit?: (record: BatchRecord) => void): BatchSummary {
  const input = new ByteReader(payload);
  const sequence = input.fixed64();
  const count = input.fixed32();
  if (sequence === undefined || count === undefined) throw corrupt(where, 0, "shorter than its header");
  const kinds = new Map<BatchRecordKind, number>();
  const columnFamilies = new Map<number, number>();
  let counted = 0;
  let prepared = 0;
  let preparing: BatchRecordKind | undefined;
  while (input.remaining > 0) {
    const at = input.position;
    const { layout, columnFamily, strings } = readRecord(input, where, visit !== undefined);
    add(kinds, layout.kind);
    if (layout.counted) {
      counted++;
      add(columnFamilies, columnFamily);
      // Write-committed only: the other policies write prepared data at once, each record with its number.
      if (preparing === "beginPrepare") prepared++;
    }
    if (layout.kind.startsWith("begin") || layout.kind === "endPrepare") {
      if ((preparing === undefined) === (layout.kind === "endPrepare"))
        throw corrupt(where, at, `a misplaced ${layout.kind}`);
      preparing = layout.kind === "endPrepare" ? undefined : layout.kind;
    }
    visit?.({ kind: layout.kind, columnFamily, strings });
  }
  if (counted !== count) throw corrupt(where, 8, `${counted} operations, and ${count} announced`);
  const commits = kinds.has("commit") || kinds.has("commitWithTimestamp");
  return { sequence, count, sequencesUsed: commits ? undefined : count - prepared, kinds, columnFamilies };
}

const NO_STRINGS: readonly Uint8Array[] = [];

function readRecord(
  input: ByteReader,
  where: string,
  keep: boolean,
): { layout: Layout; columnFamily: number; strings: readonly Uint8Array[] } {
  const at = input.position;
  const tag = input.byte() ?? 0;
  const layout = layouts.get(tag);
  if (layout === undefined) {
    throw new MetaMasterError(
      "WriteBatchUnsupported",
      "invalid",
      `${where}: unknown tag ${tag} at byte ${at} of a batch`,
      {
        hint: "This RocksDB writes an operation this version doesn't know: upgrade MetaMaster.",
      },
    );
  }
  const columnFamily = layout.family ? input.varint32() : 0;
  if (columnFamily === undefined) throw corrupt(where, at, `a ${layout.kind} that is cut short`);
  const strings: Uint8Array[] = [];
  for (let index = 0; index < layout.strings; index++) {
    const value = keep ? input.lengthPrefixed() : input.skipLengthPrefixed() || undefined;
    if (value === undefined) throw corrupt(where, at, `a ${layout.kind} that is cut short`);
    if (value !== true) strings.push(value);
  }
  return { layout, columnFamily, strings: keep ? strings : NO_STRINGS };
}

function add<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function corrupt(where: string, at: number, what: string): MetaMasterError {
  return new MetaMasterError("WriteBatchCorrupt", "corrupt", `${where}: a batch with ${what} at byte ${at}`);
}

/**
 * Blob direct write (RocksDB 11.2+, experimental) puts references to blob files in the WAL before the MANIFEST knows those files; so does the old
 * stacked BlobDB. Such a WAL can't be shipped: the values are in neither.
 */
export function refuseBlobReferences(summary: BatchSummary, where: string): void {
  if (!summary.kinds.has("blobIndex")) return;
  throw new MetaMasterError("BlobReferencesInWal", "invalid", `${where}: a batch refers to a blob file`, {
    hint: "Turn blob direct write off; blob files written by flushes and compactions are supported.",
  });
}
