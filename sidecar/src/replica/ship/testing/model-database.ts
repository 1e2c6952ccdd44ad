import type { FileSystem } from "../../../base/file-system.js";
import {
  formatCurrent,
  manifestFileName,
  optionsFileName,
  tableFileName,
  walFileName,
} from "../../../formats/rocksdb/file-names.js";
import { buildBatch } from "../../../formats/rocksdb/testing/batch-builder.js";
import { ByteWriter } from "../../../formats/rocksdb/testing/bytes.js";
import { RecordWriter } from "../../../formats/rocksdb/testing/record-writer.js";
import { WalWriter, type WalWriterOptions } from "../../../formats/rocksdb/testing/wal-writer.js";

interface Table {
  readonly number: number;
  readonly size: number;
  readonly rows: readonly bigint[];
}

export interface ModelOptions extends WalWriterOptions {
  /** Absolute; created. */
  readonly path: string;
  readonly walPath?: string;
  /** Deleted WALs are kept in archive/. */
  readonly archive?: boolean;
}

interface Edit {
  readonly logNumber?: number;
  readonly added?: readonly Table[];
  readonly deleted?: readonly number[];
  readonly addFamily?: string;
}

/**
 * A master's database, written byte for byte as RocksDB writes WAL, MANIFEST and CURRENT. Row N is the operation with sequence number N, so
 * that what an image holds can be told from its files: a table of this model is the list of its rows.
 */
export class ModelDatabase {
  readonly path: string;
  readonly walPath: string;
  readonly #fs: FileSystem;
  readonly #options: ModelOptions;
  #nextFile = 4;
  #sequence = 0n;
  #wal: WalWriter;
  #manifest: RecordWriter;
  #manifestNumber: number;
  /** In the memtable. */
  #unflushed: bigint[] = [];
  #tables: Table[] = [];
  #wals: number[] = [];
  #families = 0;
  /** Where a recycled WAL is written next. */
  #overwrite: number | undefined;

  private constructor(fs: FileSystem, options: ModelOptions) {
    this.#fs = fs;
    this.#options = options;
    this.path = options.path;
    this.walPath = options.walPath ?? options.path;
    this.#manifestNumber = this.#nextFile++;
    this.#manifest = new RecordWriter(this.#manifestNumber, false);
    this.#wal = this.#newWal();
  }

  static async create(fs: FileSystem, options: ModelOptions): Promise<ModelDatabase> {
    const database = new ModelDatabase(fs, options);
    for (const directory of new Set([database.path, database.walPath])) await fs.makeDirectory(directory);
    if (options.archive === true) await fs.makeDirectory(`${database.walPath}/archive`);
    await database.#append(`${database.path}/IDENTITY`, Buffer.from("model"));
    await database.#startManifest();
    await database.#append(`${database.walPath}/${walFileName(database.#wal.fileNumber)}`, new Uint8Array(0));
    return database;
  }

  /** The state of now, to go on from with a copy of the files in the same place: the next thing must be a `reopen`. */
  clone(): ModelDatabase {
    const copy = new ModelDatabase(this.#fs, this.#options);
    copy.#nextFile = this.#nextFile;
    copy.#sequence = this.#sequence;
    copy.#wal = this.#wal;
    copy.#manifestNumber = this.#manifestNumber;
    copy.#unflushed = [...this.#unflushed];
    copy.#tables = [...this.#tables];
    copy.#wals = [...this.#wals];
    return copy;
  }

  /** Rows 1 to `last` were written. */
  get last(): bigint {
    return this.#sequence;
  }

  get walNumber(): number {
    return this.#wal.fileNumber;
  }

  get walFile(): string {
    return `${this.walPath}/${walFileName(this.#wal.fileNumber)}`;
  }

  get manifestFile(): string {
    return `${this.path}/${manifestFileName(this.#manifestNumber)}`;
  }

  get tableFiles(): string[] {
    return this.#tables.map(({ number }) => `${this.path}/${tableFileName(number)}`);
  }

  /** One batch of `count` rows with values of `valueBytes`. */
  async put(count = 1, valueBytes = 10): Promise<void> {
    await this.#append(this.walFile, this.batch(count, valueBytes));
  }

  /** The bytes of a batch that the caller writes (in part). */
  batch(count = 1, valueBytes = 10): Uint8Array {
    const first = this.#sequence + 1n;
    const operations = this.#take(count).map((row) => ({
      type: "put" as const,
      key: `row-${row}`,
      value: "v".repeat(valueBytes),
    }));
    return this.#wal.append(buildBatch(first, operations));
  }

  /** A batch whose value is in a blob file that no MANIFEST knows. */
  async putBlobReference(): Promise<void> {
    const [row] = this.#take(1);
    const reference = { type: "blobIndex", key: `row-${row}`, value: "reference" } as const;
    await this.#append(this.walFile, this.#wal.append(buildBatch(row!, [reference])));
  }

  async appendRaw(bytes: Uint8Array): Promise<void> {
    await this.#append(this.walFile, bytes);
  }

  /** The last rows never were. */
  async forget(count: number): Promise<void> {
    this.#sequence -= BigInt(count);
    this.#unflushed = this.#unflushed.filter((row) => row <= this.#sequence);
    await Promise.resolve();
  }

  /** As `recycle_log_file_num` does: everything is flushed, and the inode of `old` becomes the next WAL, with its bytes still in it. */
  async recycle(old: string): Promise<void> {
    const table = await this.#writeTable(this.#unflushed);
    this.#unflushed = [];
    this.#tables.push(table);
    const number = this.#nextFile++;
    this.#wals = this.#wals.filter((each) => !old.endsWith(walFileName(each)));
    this.#wals.push(number);
    this.#wal = new WalWriter(number, this.#options);
    this.#overwrite = 0;
    await this.#fs.rename(old, this.walFile);
    await this.#edit({ logNumber: number, added: [table] });
    await this.deleteOldWals();
  }

  /** Written with disableWAL: they are nowhere until a flush. */
  putUnlogged(count = 1): void {
    this.#take(count);
  }

  /** A new WAL is begun; the old one stays until the flush. */
  async switchWal(): Promise<void> {
    this.#overwrite = undefined;
    this.#wal = this.#newWal();
    await this.#append(this.walFile, new Uint8Array(0));
  }

  /**
   * The memtable becomes a table, a new WAL is begun, older ones are deleted. `walFirst`: as RocksDB does it, so that the numbers of the WALs
   * adjoin.
   */
  async flush({ keepWals = false, switchWal = true, walFirst = false } = {}): Promise<void> {
    if (walFirst) await this.switchWal();
    const table = await this.#writeTable(this.#unflushed);
    this.#unflushed = [];
    if (switchWal && !walFirst) await this.switchWal();
    this.#tables.push(table);
    await this.#edit(switchWal ? { logNumber: this.#wal.fileNumber, added: [table] } : { added: [table] });
    if (switchWal) await this.#advanceFamilies();
    if (!keepWals) await this.deleteOldWals();
  }

  async deleteOldWals(): Promise<void> {
    for (const number of this.#wals.filter((each) => each < this.#wal.fileNumber)) {
      const name = walFileName(number);
      if (this.#options.archive === true) {
        await this.#fs.rename(`${this.walPath}/${name}`, `${this.walPath}/archive/${name}`);
      } else await this.#fs.unlink(`${this.walPath}/${name}`);
    }
    this.#wals = [this.#wal.fileNumber];
  }

  /** So many of the newest tables become one. */
  async compact(newest = this.#tables.length): Promise<void> {
    const old = this.#tables.slice(-newest);
    const merged = await this.#writeTable(old.flatMap(({ rows }) => rows));
    this.#tables = [...this.#tables.slice(0, -newest), merged];
    await this.#edit({ added: [merged], deleted: old.map(({ number }) => number) });
    for (const { number } of old) await this.#fs.unlink(`${this.path}/${tableFileName(number)}`);
  }

  /** Rows that no WAL has, in a table of their own. */
  async ingest(count = 1): Promise<void> {
    const rows = Array.from({ length: count }, () => ++this.#sequence);
    const table = await this.#writeTable(rows);
    this.#tables.push(table);
    await this.#edit({ added: [table] });
  }

  async addFamily(): Promise<void> {
    this.#families++;
    await this.#edit({ addFamily: `family-${this.#families}` }, this.#families);
  }

  /** The other column families are empty: they need no older WAL either. */
  async #advanceFamilies(): Promise<void> {
    for (let family = 1; family <= this.#families; family++)
      await this.#edit({ logNumber: this.#wal.fileNumber }, family);
  }

  async rollManifest(): Promise<void> {
    const old = this.manifestFile;
    this.#manifestNumber = this.#nextFile++;
    await this.#startManifest();
    await this.#fs.unlink(old);
  }

  /** The process died and was started again: what the WALs hold is flushed, MANIFEST and WAL are new. `lost`: so many last rows are lost. */
  async reopen(lost = 0, { keepWals = false } = {}): Promise<void> {
    this.#sequence -= BigInt(lost);
    this.#unflushed = this.#unflushed.filter((row) => row <= this.#sequence);
    const old = this.manifestFile;
    if (this.#unflushed.length > 0) this.#tables.push(await this.#writeTable(this.#unflushed));
    this.#unflushed = [];
    await this.switchWal();
    this.#manifestNumber = this.#nextFile++;
    await this.#startManifest();
    await this.#fs.unlink(old);
    if (!keepWals) await this.deleteOldWals();
  }

  #take(count: number): bigint[] {
    const rows = Array.from({ length: count }, () => ++this.#sequence);
    this.#unflushed.push(...rows);
    return rows;
  }

  #newWal(): WalWriter {
    const number = this.#nextFile++;
    this.#wals.push(number);
    return new WalWriter(number, this.#options);
  }

  async #writeTable(rows: readonly bigint[]): Promise<Table> {
    const number = this.#nextFile++;
    const bytes = Buffer.from(JSON.stringify({ number, rows: rows.map(String) }));
    await this.#append(`${this.path}/${tableFileName(number)}`, bytes);
    return { number, size: bytes.length, rows };
  }

  /** A MANIFEST that says everything, then CURRENT. */
  async #startManifest(): Promise<void> {
    this.#manifest = new RecordWriter(this.#manifestNumber, false);
    await this.#append(`${this.path}/${optionsFileName(this.#manifestNumber + 1)}`, Buffer.from("[Version]\n"));
    this.#nextFile++;
    for (let family = 1; family <= this.#families; family++)
      await this.#edit({ addFamily: `family-${family}` }, family);
    await this.#edit({ logNumber: this.#wal.fileNumber, added: this.#tables });
    await this.#fs.writeFileAtomic(`${this.path}/CURRENT`, formatCurrent(this.#manifestNumber));
  }

  async #edit(edit: Edit, family = 0): Promise<void> {
    const out = new ByteWriter();
    if (edit.addFamily !== undefined) {
      // As RocksDB does: a column family's first edit names its comparator.
      out.varint(1).prefixed("leveldb.BytewiseComparator").varint(2).varint(this.#wal.fileNumber);
      out.varint(200).varint(family).varint(201).prefixed(edit.addFamily).varint(203).varint(family);
    } else {
      if (this.#manifest.offset === 0) out.varint(1).prefixed("leveldb.BytewiseComparator");
      if (edit.logNumber !== undefined) out.varint(2).varint(edit.logNumber);
      if (family > 0) out.varint(200).varint(family);
      for (const number of edit.deleted ?? []) out.varint(6).varint(0).varint(number);
      for (const table of edit.added ?? []) newFile(out, table);
    }
    out.varint(3).varint(this.#nextFile).varint(4).varint(this.#sequence);
    await this.#append(this.manifestFile, this.#manifest.append(out.done()));
  }

  async #append(path: string, bytes: Uint8Array): Promise<void> {
    const file = await this.#fs.open(path, "readWrite");
    try {
      const overwrite = path === this.walFile ? this.#overwrite : undefined;
      if (overwrite !== undefined) this.#overwrite = overwrite + bytes.length;
      await file.write(bytes, overwrite ?? (await file.stat()).size);
    } finally {
      await file.close();
    }
  }
}

/** NewFile4 (tag 103) with no custom field. */
function newFile(out: ByteWriter, { number, size, rows }: Table): void {
  const first = rows[0] ?? 0n;
  const last = rows.at(-1) ?? 0n;
  out.varint(103).varint(0).varint(number).varint(size).prefixed(internalKey(first)).prefixed(internalKey(last));
  out.varint(first).varint(last).varint(1);
}

function internalKey(row: bigint): Uint8Array {
  return new ByteWriter()
    .raw(Buffer.from(`row-${row}`))
    .fixed64((row << 8n) | 1n)
    .done();
}
