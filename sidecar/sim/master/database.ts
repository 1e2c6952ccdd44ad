import { dirname } from "node:path/posix";
import { RecordWriter } from "../../src/formats/rocksdb/testing/record-writer.js";
import { WalWriter } from "../../src/formats/rocksdb/testing/wal-writer.js";
import type { Disk, FileNode } from "../disk.js";
import type { SeededRandom } from "../random.js";
import { names, numberOf, writeInPieces, writeWhole, type Step } from "./files.js";
import { recover, type RecoveryPlace } from "./recovery.js";
import { encodeTable, type Row } from "./table-file.js";
import { encodeEdit, type TableMark, type VersionEdit } from "./version-edit.js";
import { encodeBatch, type FamilyRow } from "./write-batch.js";

export interface DatabaseSettings {
  readonly path: string;
  /** Equal to `path` unless separate. */
  readonly walPath: string;
  readonly walDisabled: boolean;
  /** `Recycled`: the inodes of old WALs are written over under new numbers (`recycle_log_file_num`). */
  readonly walStyle: "Plain" | "Recycled" | "Compressed";
  /** Past this a new MANIFEST is begun. */
  readonly manifestBytesMax: number;
  /** Recovered rows become tables at once (RocksDB's default), or stay in their WALs (`avoid_flush_during_recovery`). */
  readonly flushesOnOpen: boolean;
  readonly atomicFlush: boolean;
  /** Share of the writes that are seen half done for a moment. */
  readonly tornShare: number;
  /** Share of the WAL writes that are followed by a sync. */
  readonly syncShare: number;
}

interface Table extends TableMark {
  readonly rows: readonly Row[];
}

interface Family {
  readonly name: string;
  logNumber: number;
  tables: Map<number, Table>;
  memtable: FamilyRow[];
  /** Being flushed. */
  sealed: FamilyRow[];
}

/**
 * One RocksDB as far as its files go: WALs, MANIFESTs, CURRENT, tables, and in which order they change. What takes time is a generator; at every
 * `yield` time passes, others look at the disk, and the process may be killed.
 */
export class ModelDatabase {
  readonly settings: DatabaseSettings;
  readonly #disk: Disk;
  readonly #random: SeededRandom;
  readonly #who: string;
  #families = new Map<number, Family>();
  #nextFile = 2;
  #lastSequence = 0;
  #maxFamily = 0;
  #manifest: { number: number; file: FileNode; records: RecordWriter } | undefined;
  #wal: { number: number; file: FileNode; records: WalWriter } | undefined;
  /** Dead WALs that wait to become new ones. */
  #spare: string[] = [];
  #options = 0;
  /** An ingestion holds back all writes while it numbers its rows. */
  stalled = false;
  /** What the next `open` recovers becomes tables at once: no WAL is kept that was cut. */
  flushesNextOpen = false;
  /** A record is being written: no other WAL may begin and no other rows be numbered. */
  #writing = false;

  constructor(settings: DatabaseSettings, disk: Disk, random: SeededRandom, who: string) {
    this.settings = settings;
    this.#disk = disk;
    this.#random = random;
    this.#who = who;
  }

  get families(): readonly number[] {
    return [...this.#families.keys()];
  }

  get memtableRows(): number {
    let rows = 0;
    for (const { memtable } of this.#families.values()) rows += memtable.length;
    return rows;
  }

  /** No row may be put just now. */
  get busy(): boolean {
    return this.stalled || this.#writing;
  }

  /** Keys that are in no table yet. */
  *keysInMemory(): Generator<string, void, void> {
    for (const { memtable, sealed } of this.#families.values())
      for (const { key } of [...sealed, ...memtable]) yield key;
  }

  /** Newest value of every key. */
  contents(): Map<string, string> {
    const newest = new Map<string, Row>();
    const see = (row: Row): void => {
      const old = newest.get(row.key);
      if (old === undefined || old.sequence <= row.sequence) newest.set(row.key, row);
    };
    for (const { tables, memtable, sealed } of this.#families.values()) {
      for (const { rows } of tables.values()) rows.forEach(see);
      sealed.forEach(see);
      memtable.forEach(see);
    }
    return new Map([...newest].map(([key, { value }]) => [key, value]));
  }

  /** Recovers what is there, or creates it. `onRecovered`: called before anything on the disk is changed. */
  *open(onRecovered: (facts: { readonly tornTail: boolean }) => void): Step {
    const { path, walPath } = this.settings;
    this.#disk.makeDirectory(path);
    this.#disk.makeDirectory(walPath);
    if (!this.#disk.exists(`${path}/LOCK`)) this.#disk.create(`${path}/LOCK`);
    const log = this.#disk.exists(`${path}/LOG`) ? this.#disk.file(`${path}/LOG`) : this.#disk.create(`${path}/LOG`);
    this.#disk.append(log, Buffer.from("opened\n"));
    let torn = false;
    if (this.#disk.exists(`${path}/CURRENT`)) {
      const place: RecoveryPlace = { disk: this.#disk, path, walPath, who: this.#who };
      const { families, nextFile, lastSequence, maxFamily, tornTail } = recover(place);
      this.#families = new Map([...families].map(([id, family]) => [id, { ...family, sealed: [] }]));
      [this.#nextFile, this.#lastSequence, this.#maxFamily] = [nextFile, lastSequence, maxFamily];
      // No WAL may follow one that ends in half a record.
      torn = tornTail;
      onRecovered({ tornTail });
    } else {
      for (const { name } of [...this.#disk.list(path), ...this.#disk.list(walPath)]) {
        this.#nextFile = Math.max(this.#nextFile, (numberOf(name) ?? 0) + 1);
      }
      this.#families.set(0, { name: "default", logNumber: 0, tables: new Map(), memtable: [], sealed: [] });
      if (!this.#disk.exists(`${path}/IDENTITY`)) {
        writeWhole(this.#disk, `${path}/IDENTITY`, Buffer.from(this.#random.hex(16)));
      }
      onRecovered({ tornTail: false });
    }
    yield;
    yield* this.#openForWriting(
      this.settings.flushesOnOpen || this.settings.walDisabled || torn || this.flushesNextOpen,
    );
  }

  /** Everything put so far survives a power failure. */
  syncWal(): void {
    this.#wal?.file.data.sync();
    this.#disk.syncDirectory(this.settings.walPath);
  }

  *put(rows: readonly Pick<FamilyRow, "family" | "key" | "value">[]): Step {
    this.#writing = true;
    const numbered = rows.map((row, index) => ({ ...row, sequence: this.#lastSequence + 1 + index }));
    this.#lastSequence += rows.length;
    const wal = this.#wal;
    if (!this.settings.walDisabled && wal !== undefined) {
      const at = wal.records.offset;
      const bytes = wal.records.append(encodeBatch(numbered));
      yield* writeInPieces(this.#disk, wal.file, at, bytes, this.#split());
      if (this.#random.chance(this.settings.syncShare)) wal.file.data.sync();
    }
    for (const row of numbered) this.#families.get(row.family)?.memtable.push(row);
    this.#writing = false;
  }

  /** Memtables become tables and old WALs go. Some families keep theirs, and with them their WALs, unless the flush is atomic. */
  *flush(): Step {
    if (this.memtableRows === 0) return;
    while (this.#writing) yield;
    if (!this.settings.walDisabled || this.#random.chance(0.5)) this.#switchWal();
    const log = this.#wal?.number ?? 0;
    const chosen = [...this.#families].filter(
      ([, { memtable }]) => memtable.length > 0 && (this.settings.atomicFlush || this.#random.chance(0.8)),
    );
    for (const [, family] of chosen) [family.sealed, family.memtable] = [family.memtable, []];
    // A family with nothing in memory needs no WAL before the new one.
    for (const family of this.#families.values()) {
      if (family.memtable.length === 0 && family.sealed.length === 0) family.logNumber = log;
    }
    // So that no family's table is named while another's older rows may still be lost (db_impl_compaction_flush.cc, SyncClosedWALs).
    if (this.#families.size > 1) this.#disk.syncDirectory(this.settings.walPath);
    yield;
    const edits: VersionEdit[] = [];
    const done: [Family, Table][] = [];
    for (const [id, family] of chosen) {
      const table = yield* this.#writeTable(family.sealed, 0);
      done.push([family, table]);
      edits.push({
        family: id,
        logNumber: log,
        added: [table],
        nextFile: this.#nextFile,
        lastSequence: this.#lastSequence,
      });
    }
    for (const [family, table] of done) {
      family.tables.set(table.number, table);
      family.sealed = [];
      family.logNumber = log;
    }
    if (edits.length === 0) return;
    yield* this.#logEdits(
      edits.map((edit, index) => ({
        ...edit,
        // Not before all the tables are named that stand for what the old WALs hold.
        ...(index === edits.length - 1 ? { minLogToKeep: this.#oldestLog() } : {}),
        ...(this.settings.atomicFlush ? { remaining: edits.length - 1 - index } : {}),
      })),
    );
    yield;
    yield* this.#deleteObsolete();
  }

  /** All tables of one family become one; rows that `keep` doesn't want are gone. */
  *compact(keep: (key: string) => boolean): Step {
    const many = [...this.#families].filter(([, { tables }]) => tables.size > 1);
    if (many.length === 0) return;
    const [id, family] = this.#random.pick(many);
    const old = [...family.tables.values()];
    const newest = new Map<string, Row>();
    for (const { rows } of old) {
      for (const row of rows) {
        if (keep(row.key) && (newest.get(row.key)?.sequence ?? -1) < row.sequence) newest.set(row.key, row);
      }
    }
    yield;
    const table = newest.size === 0 ? undefined : yield* this.#writeTable([...newest.values()], 1);
    yield* this.#logEdits([
      { family: id, deleted: old, ...(table === undefined ? {} : { added: [table] }), nextFile: this.#nextFile },
    ]);
    for (const { number } of old) family.tables.delete(number);
    if (table !== undefined) family.tables.set(table.number, table);
    yield;
    yield* this.#deleteObsolete();
  }

  /** A file made elsewhere becomes a table: its rows get sequence numbers and no WAL record. `rowsOf` is asked while all writes wait. */
  *ingest(rowsOf: () => readonly Pick<FamilyRow, "key" | "value">[]): Step {
    this.stalled = true;
    while (this.#writing) yield;
    const [id, family] = this.#random.pick([...this.#families]);
    const sequence = ++this.#lastSequence;
    const rows = rowsOf().map((row) => ({ ...row, sequence }));
    const table = yield* this.#writeTable(rows, 6);
    // Rows are numbered without a hole also after a power failure: what was written before must not be lost alone.
    this.#wal?.file.data.sync();
    this.#disk.syncDirectory(this.settings.walPath);
    yield* this.#logEdits([{ family: id, added: [table], nextFile: this.#nextFile, lastSequence: sequence }]);
    family.tables.set(table.number, table);
    this.stalled = false;
  }

  *addFamily(name: string): Step {
    const id = ++this.#maxFamily;
    const logNumber = this.#wal?.number ?? 0;
    yield* this.#logEdits([{ family: id, addFamily: name, logNumber, maxFamily: this.#maxFamily }]);
    this.#families.set(id, { name, logNumber, tables: new Map(), memtable: [], sealed: [] });
    yield;
    this.#writeOptions();
  }

  /** `path` becomes a RocksDB checkpoint: links to the tables, and a MANIFEST that names just them. */
  *checkpoint(path: string): Step {
    const temporary = `${path}.tmp`;
    this.#disk.removeTree(temporary);
    this.#disk.makeDirectory(temporary);
    const edits = this.#snapshotEdits();
    for (const { tables } of this.#families.values()) {
      for (const number of tables.keys()) {
        this.#disk.link(`${this.settings.path}/${names.table(number)}`, `${temporary}/${names.table(number)}`);
      }
    }
    yield;
    const manifest = new RecordWriter(0, false);
    const bytes = Buffer.concat(edits.map((edit) => manifest.append(encodeEdit(edit))));
    writeWhole(this.#disk, `${temporary}/${names.manifest(1)}`, bytes);
    writeWhole(this.#disk, `${temporary}/CURRENT`, Buffer.from(`${names.manifest(1)}\n`));
    this.#disk.syncDirectory(temporary);
    yield;
    this.#disk.rename(temporary, path);
    const parent = dirname(path);
    this.#disk.syncDirectory(parent);
    this.#disk.syncDirectory(dirname(parent));
  }

  *#openForWriting(flushes: boolean): Step {
    const recovered = [...this.#families].filter(([, { memtable }]) => memtable.length > 0);
    const tables: [Family, Table][] = [];
    if (flushes) for (const [, family] of recovered) tables.push([family, yield* this.#writeTable(family.memtable, 0)]);
    const walNumber = this.#nextFile++;
    if (flushes) {
      for (const [family, table] of tables) {
        family.tables.set(table.number, table);
        family.memtable = [];
      }
      for (const family of this.#families.values()) family.logNumber = walNumber;
    }
    yield* this.#beginManifest([]);
    yield;
    this.#beginWal(walNumber);
    this.#writeOptions();
    yield;
    yield* this.#deleteObsolete();
  }

  #switchWal(): void {
    this.#beginWal(this.#nextFile++);
  }

  #beginWal(number: number): void {
    this.#wal?.file.data.sync();
    const { walPath, walStyle } = this.settings;
    const path = `${walPath}/${names.wal(number)}`;
    const spare = this.#spare.shift();
    if (spare !== undefined) this.#disk.rename(spare, path);
    const file = spare === undefined ? this.#disk.create(path) : this.#disk.file(path);
    const records = new WalWriter(number, {
      recyclable: walStyle === "Recycled",
      compressed: walStyle === "Compressed",
    });
    this.#wal = { number, file, records };
  }

  *#writeTable(rows: readonly Row[], level: number): Generator<void, Table, void> {
    const number = this.#nextFile++;
    const sorted = rows.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.sequence - b.sequence));
    const bytes = encodeTable(sorted);
    const file = this.#disk.create(`${this.settings.path}/${names.table(number)}`);
    yield* writeInPieces(this.#disk, file, 0, bytes, this.#split());
    file.data.sync();
    this.#disk.syncDirectory(this.settings.path);
    const sequences = rows.map(({ sequence }) => sequence);
    return {
      number,
      level,
      size: bytes.length,
      smallest: sorted[0]?.key ?? "",
      largest: sorted.at(-1)?.key ?? "",
      firstSequence: Math.min(...sequences),
      lastSequence: Math.max(...sequences),
      rows: sorted,
    };
  }

  *#logEdits(edits: readonly VersionEdit[]): Step {
    const manifest = this.#manifest;
    if (manifest === undefined || manifest.records.offset > this.settings.manifestBytesMax) {
      yield* this.#beginManifest(edits);
      return;
    }
    for (const edit of edits) {
      const at = manifest.records.offset;
      yield* writeInPieces(this.#disk, manifest.file, at, manifest.records.append(encodeEdit(edit)), this.#split());
    }
    manifest.file.data.sync();
  }

  /** A new MANIFEST with everything there is; the old one goes once CURRENT names the new one. */
  *#beginManifest(edits: readonly VersionEdit[]): Step {
    const { path } = this.settings;
    const number = this.#nextFile++;
    const old = this.#manifest;
    const file = this.#disk.create(`${path}/${names.manifest(number)}`);
    const records = new RecordWriter(0, false);
    // `edits` are in the families already, except those that become so after they are logged.
    const all = [...this.#snapshotEdits(), ...edits.map((edit) => withoutKnown(edit, this.#families))];
    yield* writeInPieces(
      this.#disk,
      file,
      0,
      Buffer.concat(all.map((edit) => records.append(encodeEdit(edit)))),
      this.#split(),
    );
    file.data.sync();
    this.#disk.syncDirectory(path);
    yield;
    const temporary = `${path}/${String(number).padStart(6, "0")}.dbtmp`;
    writeWhole(this.#disk, temporary, Buffer.from(`${names.manifest(number)}\n`));
    this.#disk.rename(temporary, `${path}/CURRENT`);
    this.#disk.syncDirectory(path);
    this.#manifest = { number, file, records };
    if (old === undefined) return;
    yield;
    this.#disk.unlink(`${path}/${names.manifest(old.number)}`);
  }

  #snapshotEdits(): VersionEdit[] {
    return [...this.#families].map(([id, { name, logNumber, tables }]) => ({
      family: id,
      addFamily: name,
      logNumber,
      added: [...tables.values()],
      nextFile: this.#nextFile,
      lastSequence: this.#lastSequence,
      maxFamily: this.#maxFamily,
    }));
  }

  #writeOptions(): void {
    const { path } = this.settings;
    const number = this.#nextFile++;
    writeWhole(
      this.#disk,
      `${path}/${names.options(number)}.dbtmp`,
      Buffer.from("[Version]\n  options_file_version=1.1\n"),
    );
    this.#disk.rename(`${path}/${names.options(number)}.dbtmp`, `${path}/${names.options(number)}`);
    if (this.#options !== 0) this.#disk.unlink(`${path}/${names.options(this.#options)}`);
    this.#options = number;
  }

  #oldestLog(): number {
    return Math.min(...[...this.#families.values()].map(({ logNumber }) => logNumber));
  }

  *#deleteObsolete(): Step {
    const { path, walPath } = this.settings;
    const live = new Set([...this.#families.values()].flatMap(({ tables }) => [...tables.keys()]));
    const oldest = this.#oldestLog();
    const dead = (name: string): boolean => {
      const number = numberOf(name);
      if (number === undefined) return false;
      if (name.endsWith(".sst")) return !live.has(number);
      if (name.endsWith(".log")) return number < oldest;
      if (name.startsWith("MANIFEST-")) return number !== this.#manifest?.number;
      return name.startsWith("OPTIONS-") && number !== this.#options && this.#options !== 0;
    };
    for (const directory of new Set([path, walPath])) {
      for (const { name } of this.#disk.list(directory)) {
        const file = `${directory}/${name}`;
        if (!dead(name) || this.#spare.includes(file)) continue;
        if (name.endsWith(".log") && this.settings.walStyle === "Recycled" && this.#spare.length < 2) {
          this.#spare.push(file);
          continue;
        }
        this.#disk.unlink(file);
        if (this.#random.chance(0.2)) yield;
      }
    }
  }

  #split(): number {
    return this.#random.chance(this.settings.tornShare) ? this.#random.float() : 0;
  }
}

/** An edit as it follows a snapshot of families that may hold its result already. */
function withoutKnown(edit: VersionEdit, families: ReadonlyMap<number, Family>): VersionEdit {
  const family = families.get(edit.family ?? 0);
  if (family === undefined) return edit;
  return { ...edit, added: (edit.added ?? []).filter(({ number }) => !family.tables.has(number)) };
}
