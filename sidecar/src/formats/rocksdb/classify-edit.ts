import type { ManifestUnit } from "./manifest-cursor.js";
import type { ManifestState } from "./manifest-state.js";
import type { AddedTable, VersionEdit } from "./version-edit.js";

/**
 * May WAL that was written after this unit be shipped before it? `deferrable`: yes, the WAL up to the same cut holds the same data, so an image
 * with the old MANIFEST and that WAL recovers to the same state. `binding`: no, or not surely; the MANIFEST up to it, and its tables, go first.
 *
 * What makes an edit deferrable, from RocksDB's sources:
 * - A flush (db/flush_job.cc, `PickMemTable`) always sets the column family's log number, to that of the WAL its next memtable began with
 *   (`GetNextLogNumber`), deletes nothing and sets prev_log_number 0. Its rows are in the WALs before that number, unless they were written with
 *   disableWAL, and such rows leave a mark: they take sequence numbers that no WAL record has. So the table's whole range of
 *   sequences must be covered by WAL records. If the WAL is empty at the switch no new one is made (db/db_impl/db_impl_write.cc,
 *   SwitchMemtable, `creating_new_log`), the log number doesn't move, and the rows can't have been in it: binding.
 * - A compaction (db/compaction/compaction_job.cc, `InstallCompactionResults`) sets no log number, deletes its inputs and adds outputs with no
 *   sequence above theirs and an epoch number that is theirs (`SetEpochNumber` to the smallest of the inputs). A file that only changes level
 *   is deleted and added under its number.
 * - An ingestion (db/external_sst_file_ingestion_job.cc) sets no log number, and adds tables with a new epoch number and a sequence number that
 *   no WAL has, or 0. It may also delete what it replaces (`atomic_replace_range`): only the epoch and sequence tell it from a compaction.
 * - Deletions without an addition (DeleteFilesInRange, FIFO, a compaction with no output) drop data that WAL doesn't drop: binding, and free,
 *   because they need no table.
 */
export type Classification = { readonly kind: "deferrable" } | { readonly kind: "binding"; readonly reason: string };

export interface ClassifyContext {
  /** The MANIFEST before the unit. */
  readonly state: ManifestState;
  /** True if WAL records, shipped or in the same cut, account for every sequence number of the range (`SequenceCoverage`). */
  readonly walCovers: (first: bigint, last: bigint) => boolean;
}

const DEFERRABLE: Classification = { kind: "deferrable" };

export function classify(unit: ManifestUnit, context: ClassifyContext): Classification {
  for (const edit of unit.edits) {
    const reason = alwaysBinding(edit) ?? bindingFiles(edit, context);
    if (reason !== undefined) return { kind: "binding", reason };
  }
  return DEFERRABLE;
}

function alwaysBinding(edit: VersionEdit): string | undefined {
  if (edit.addedColumnFamily !== undefined) return `column family ${edit.addedColumnFamily} is added`;
  if (edit.droppedColumnFamily) return `column family ${edit.columnFamily} is dropped`;
  if (edit.comparator !== undefined) return "a comparator is set";
  if (edit.databaseId !== undefined) return "the database's id is set";
  if (edit.maxColumnFamily !== undefined) return "the largest column family number is set";
  if ((edit.previousLogNumber ?? 0) !== 0) return "a previous log number is set";
  if (edit.fullHistoryTimestampLow) return "the history's low timestamp is set";
  if (edit.persistTimestamps !== undefined) return "the persistence of timestamps is set";
  if (edit.subcompactionProgress) return "progress of a subcompaction";
  if (edit.ignoredTags.length > 0) return `unknown tags ${edit.ignoredTags.join(", ")}`;
  return undefined;
}

function bindingFiles(edit: VersionEdit, context: ClassifyContext): string | undefined {
  const family = context.state.columnFamilies.get(edit.columnFamily);
  if (family === undefined) return `an edit of the unknown column family ${edit.columnFamily}`;
  if (edit.addedTables.length === 0) {
    if (edit.deletedTables.length > 0) return "tables are deleted without any added";
    if (edit.addedBlobs.length > 0) return "blob files are added without a table";
    return undefined;
  }
  if (edit.deletedTables.length === 0) return bindingFlush(edit, family.logNumber, context);
  if (edit.logNumber !== undefined) return "tables are added and deleted, and the log number is set";
  const inputs: AddedTable[] = [];
  for (const { number } of edit.deletedTables) {
    const input = family.tables.get(number);
    if (input === undefined) return `table ${number} is deleted, which isn't live`;
    inputs.push(input);
  }
  const foreign = edit.addedTables.find((table) => !comesFrom(table, inputs));
  return foreign === undefined ? undefined : `table ${foreign.number} does not come from the tables it replaces`;
}

function bindingFlush(edit: VersionEdit, logNumber: number, context: ClassifyContext): string | undefined {
  if (edit.logNumber === undefined) return "tables are added without a log number: an ingestion or import";
  if (edit.logNumber <= logNumber) return "a flush that moves no log number: its rows are in no WAL";
  for (const table of edit.addedTables) {
    if (!context.walCovers(table.smallestSequence, table.largestSequence)) {
      return `table ${table.number} holds sequences ${table.smallestSequence} to ${table.largestSequence}, which are not all in WALs`;
    }
  }
  return undefined;
}

function comesFrom(output: AddedTable, inputs: readonly AddedTable[]): boolean {
  if (inputs.some((input) => input.number === output.number)) return true;
  if (!inputs.some((input) => output.largestSequence <= input.largestSequence)) return false;
  // Without epoch numbers (before 7.9) nothing but a compaction deletes and adds.
  return (
    output.epoch === undefined || inputs.some((input) => input.epoch === undefined || output.epoch! <= input.epoch)
  );
}
