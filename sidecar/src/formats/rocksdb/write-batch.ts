import { MetaMasterError } from "../../base/errors.js";
import { batchLayouts, type BatchLayout, type BatchRecordKind } from "./batch-layouts.js";
import { ByteReader } from "./byte-reader.js";

export interface BatchRecord {
  readonly kind: BatchRecordKind;
  readonly columnFamily: number;
  /** By the header; markers and log data are not. */
  readonly counted: boolean;
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
    visit?.({ kind: layout.kind, columnFamily, counted: layout.counted, strings });
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
): { layout: BatchLayout; columnFamily: number; strings: readonly Uint8Array[] } {
  const at = input.position;
  const tag = input.byte() ?? 0;
  const layout = batchLayouts.get(tag);
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
