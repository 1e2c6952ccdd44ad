import { MetaMasterError } from "../../base/errors.js";
import { blobFileName, tableFileName } from "./file-names.js";
import type { ManifestUnit } from "./manifest-cursor.js";
import type { AddedTable, VersionEdit } from "./version-edit.js";

export interface LiveTable extends AddedTable {
  readonly columnFamily: number;
}

interface LiveBlob {
  readonly blobs: bigint;
  garbage: bigint;
}

export interface ColumnFamilyState {
  readonly id: number;
  readonly name: string;
  readonly comparator: string | undefined;
  /** WALs with smaller numbers hold nothing that this column family still needs. */
  readonly logNumber: number;
  readonly tables: ReadonlyMap<number, LiveTable>;
}

interface MutableColumnFamily extends ColumnFamilyState {
  comparator: string | undefined;
  logNumber: number;
  readonly tables: Map<number, LiveTable>;
  readonly blobs: Map<number, LiveBlob>;
}

const COLUMN_FAMILIES_MAX = 1_000_000;

function newColumnFamily(id: number, name: string): MutableColumnFamily {
  return { id, name, comparator: undefined, logNumber: 0, tables: new Map(), blobs: new Map() };
}

/** What a MANIFEST says up to some edit: a fold over its units (db/version_edit_handler.cc, db/version_builder.cc). */
export class ManifestState {
  readonly #file: string;
  readonly #columnFamilies = new Map<number, MutableColumnFamily>([[0, newColumnFamily(0, "default")]]);
  #databaseId: string | undefined;
  #minLogNumberToKeep = 0;
  #previousLogNumber = 0;
  #nextFileNumber = 0;
  #lastSequence = 0n;

  constructor(file: string) {
    this.#file = file;
  }

  get databaseId(): string | undefined {
    return this.#databaseId;
  }

  get minLogNumberToKeep(): number {
    return this.#minLogNumberToKeep;
  }

  get previousLogNumber(): number {
    return this.#previousLogNumber;
  }

  get nextFileNumber(): number {
    return this.#nextFileNumber;
  }

  get lastSequence(): bigint {
    return this.#lastSequence;
  }

  get columnFamilies(): ReadonlyMap<number, ColumnFamilyState> {
    return this.#columnFamilies;
  }

  /**
   * The smallest number of a WAL that belongs to a whole copy: what RocksDB itself keeps (db/db_impl/db_impl_files.cc, FindObsoleteFiles:
   * `log_number = MinLogNumberToKeep()`), right with and without two-phase commit. MANIFESTs of RocksDB before 5.12 don't have it: then what the
   * column families need, which is too little only if such an old database uses two-phase commit.
   */
  walFloor(): number {
    return this.#minLogNumberToKeep > 0 ? this.#minLogNumberToKeep : this.#unflushedFloor();
  }

  /**
   * The smallest number of a WAL that recovery reads (db/db_impl/db_impl_open.cc): with two-phase commit all that are kept, without it none
   * that every column family has flushed.
   */
  replayFloor(twoPhaseCommit: boolean): number {
    return twoPhaseCommit ? this.walFloor() : Math.max(this.#minLogNumberToKeep, this.#unflushedFloor());
  }

  #unflushedFloor(): number {
    let floor = Number.POSITIVE_INFINITY;
    for (const family of this.#columnFamilies.values()) floor = Math.min(floor, family.logNumber);
    return Number.isFinite(floor) ? floor : 0;
  }

  *tables(): IterableIterator<LiveTable> {
    for (const family of this.#columnFamilies.values()) yield* family.tables.values();
  }

  /**
   * Blob files that a version holds (db/version_builder.cc, SaveBlobFilesTo): none older than the oldest that a table refers to, and none
   * that is all garbage and that no table names as its oldest.
   */
  *blobFiles(): IterableIterator<number> {
    for (const family of this.#columnFamilies.values()) {
      const linked = new Set<number>();
      for (const table of family.tables.values())
        if (table.oldestBlobFile !== undefined) linked.add(table.oldestBlobFile);
      let oldest = Number.POSITIVE_INFINITY;
      for (const number of linked) if (family.blobs.has(number)) oldest = Math.min(oldest, number);
      for (const [number, blob] of family.blobs) {
        if (number >= oldest && (linked.has(number) || blob.garbage < blob.blobs)) yield number;
      }
    }
  }

  /** Names of live table and blob files. Throws `FilesElsewhere` if one lies in another directory (db_paths, cf_paths). */
  liveFiles(): string[] {
    const names: string[] = [];
    for (const table of this.tables()) {
      if (table.pathId !== 0) {
        throw new MetaMasterError(
          "FilesElsewhere",
          "invalid",
          `${this.#file} has table ${table.number} in path ${table.pathId} of db_paths or cf_paths`,
          { hint: "Only databases whose tables are all in their own directory can be replicated." },
        );
      }
      names.push(tableFileName(table.number));
    }
    for (const number of this.blobFiles()) names.push(blobFileName(number));
    return names;
  }

  /** Applies a unit; throws `ManifestCorrupt` where RocksDB would refuse it. */
  apply(unit: ManifestUnit): void {
    for (const edit of unit.edits) this.#applyEdit(edit, unit.end);
  }

  #applyEdit(edit: VersionEdit, end: number): void {
    if (edit.addedColumnFamily !== undefined) this.#addColumnFamily(edit.columnFamily, edit.addedColumnFamily, end);
    const family = this.#columnFamilies.get(edit.columnFamily);
    if (family === undefined) this.#corrupt(`an edit of the unknown column family ${edit.columnFamily}`, end);
    if (edit.droppedColumnFamily) {
      if (family.id === 0) this.#corrupt("the default column family is dropped", end);
      this.#columnFamilies.delete(family.id);
    } else {
      this.#applyToColumnFamily(family, edit, end);
    }
    if (edit.databaseId !== undefined) this.#databaseId = edit.databaseId;
    if (edit.previousLogNumber !== undefined) this.#previousLogNumber = edit.previousLogNumber;
    this.#minLogNumberToKeep = Math.max(this.#minLogNumberToKeep, edit.minLogNumberToKeep ?? 0);
    if (edit.nextFileNumber !== undefined) this.#nextFileNumber = edit.nextFileNumber;
    if (edit.lastSequence !== undefined) this.#lastSequence = edit.lastSequence;
  }

  #addColumnFamily(id: number, name: string, end: number): void {
    if (this.#columnFamilies.has(id) && id !== 0) this.#corrupt(`column family ${id} is added twice`, end);
    if (this.#columnFamilies.size >= COLUMN_FAMILIES_MAX) this.#corrupt("too many column families", end);
    if (id !== 0) this.#columnFamilies.set(id, newColumnFamily(id, name));
  }

  #applyToColumnFamily(family: MutableColumnFamily, edit: VersionEdit, end: number): void {
    if (edit.comparator !== undefined) family.comparator = edit.comparator;
    if (edit.logNumber !== undefined) family.logNumber = Math.max(family.logNumber, edit.logNumber);
    for (const { number } of edit.deletedTables) family.tables.delete(number);
    for (const table of edit.addedTables) {
      if (family.tables.has(table.number)) this.#corrupt(`table ${table.number} is added twice`, end);
      family.tables.set(table.number, { ...table, columnFamily: family.id });
    }
    for (const { number, blobs } of edit.addedBlobs) {
      if (family.blobs.has(number)) this.#corrupt(`blob file ${number} is added twice`, end);
      family.blobs.set(number, { blobs, garbage: 0n });
    }
    for (const { number, blobs } of edit.blobGarbage) {
      const blob = family.blobs.get(number);
      if (blob === undefined) this.#corrupt(`garbage in the unknown blob file ${number}`, end);
      blob.garbage += blobs;
    }
  }

  #corrupt(what: string, end: number): never {
    throw new MetaMasterError("ManifestCorrupt", "corrupt", `${this.#file}, edit that ends at offset ${end}: ${what}`, {
      details: { file: this.#file, offset: end },
    });
  }
}
