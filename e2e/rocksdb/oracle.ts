import { execFile } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { classify } from "../../sidecar/src/formats/rocksdb/classify-edit.js";
import { parseCurrent, parseFileName } from "../../sidecar/src/formats/rocksdb/file-names.js";
import { ManifestCursor } from "../../sidecar/src/formats/rocksdb/manifest-cursor.js";
import { ManifestState } from "../../sidecar/src/formats/rocksdb/manifest-state.js";
import { recycledPadding } from "../../sidecar/src/formats/rocksdb/record-framing.js";
import { RecordReader } from "../../sidecar/src/formats/rocksdb/record-reader.js";
import { SequenceCoverage } from "../../sidecar/src/formats/rocksdb/sequence-coverage.js";
import { WalCursor, type WalFeed } from "../../sidecar/src/formats/rocksdb/wal-cursor.js";
import { walkBatch } from "../../sidecar/src/formats/rocksdb/write-batch.js";
import { decompressRecord } from "../../sidecar/src/formats/rocksdb/zstd-record.js";

const run = promisify(execFile);
const LIMITS = { maxBuffer: 512 * 1024 * 1024, timeout: 60_000, killSignal: "SIGKILL" } as const;

/** A logical record: "sequence,count,payload bytes,offset". */
export type RecordLine = string;

/** What `ldb dump_wal` says. */
export async function ldbWal(ldb: string, file: string): Promise<RecordLine[]> {
  const { stdout } = await run(ldb, ["dump_wal", `--walfile=${file}`, "--header"], LIMITS);
  const lines = stdout.split("\n").filter((line) => /^\d+,\d+,\d+,\d+,/.test(line));
  return lines.map((line) => line.split(",", 4).join(","));
}

export interface OurWal {
  readonly lines: RecordLine[];
  readonly cursor: WalCursor;
}

/** The same by our cursor, fed in pieces; payload sizes by the write-batch walker, which must accept every payload. */
export async function ourWal(file: string, pieceBytes: number): Promise<OurWal> {
  const bytes = await readFile(file);
  const cursor = new WalCursor({ fileNumber: walNumber(file), file });
  const sizes = payloadSizes(bytes, walNumber(file), file);
  const lines: RecordLine[] = [];
  let previousEnd = 0;
  while (cursor.nextOffset < bytes.length) {
    const from = cursor.nextOffset;
    const wasAtStart = cursor.wholeEnd === 0;
    const { records } = cursor.feed(bytes.subarray(from, from + pieceBytes));
    // The compression record (7 + 4 bytes) comes before the first batch.
    if (wasAtStart && cursor.wholeEnd > 0 && cursor.compression !== "none") previousEnd = 11;
    for (let index = 0; index < records.length; index++) {
      // ldb's offset of a record that follows a block's padding is the padding's.
      lines.push(`${records.sequence(index)},${records.count(index)},${sizes[lines.length]},${previousEnd}`);
      previousEnd = afterPadding(records.end(index), cursor.recycled);
    }
    if (cursor.nextOffset <= from) break;
  }
  return { lines, cursor };
}

/** ... unless it is one that a whole legacy header would fit in, as only recycled WALs have them. */
function afterPadding(end: number, recycled: boolean): number {
  return recycled ? end + recycledPadding(end) : end;
}

function payloadSizes(bytes: Uint8Array, number: number, file: string): number[] {
  const sizes: number[] = [];
  let pieces: Uint8Array[] = [];
  let compressed = false;
  const reader = new RecordReader(
    {
      data: (chunk, start, end, first, last) => {
        if (first) pieces = [];
        pieces.push(chunk.slice(start, end));
        if (!last) return undefined;
        const stored = Buffer.concat(pieces);
        const payload = compressed ? decompressRecord(stored, 64 * 1024 * 1024) : stored;
        walkBatch(payload, file);
        sizes.push(payload.length);
        return undefined;
      },
      special: (type) => {
        compressed ||= type === 9;
        return undefined;
      },
    },
    number,
  );
  reader.feed(bytes);
  return sizes;
}

function walNumber(file: string): number {
  const parsed = parseFileName(basename(file));
  if (parsed?.type !== "wal") throw new Error(`${file} is no WAL`);
  return parsed.number;
}

/** What a MANIFEST holds, as text that both sides can make. */
export interface ManifestFacts {
  readonly columnFamilies: string[];
  readonly tables: string[];
  readonly blobs: string[];
  readonly counters: string;
}

export async function ldbManifest(ldb: string, manifest: string): Promise<ManifestFacts> {
  const { stdout } = await run(ldb, ["manifest_dump", `--path=${manifest}`], LIMITS);
  const facts: ManifestFacts = { columnFamilies: [], tables: [], blobs: [], counters: "" };
  let family = "";
  let counters = "";
  for (const line of stdout.split("\n")) {
    const head = /^-+ Column family "(.*)" +\(ID (\d+)\)/.exec(line);
    if (head !== null) family = `${head[2]} ${head[1]}`;
    const log = /^log number: (\d+)/.exec(line);
    if (log !== null) facts.columnFamilies.push(`${family} log ${log[1]}`);
    const table = /^ (\d+):(\d+)\[(\d+) \.\. (\d+)\]/.exec(line);
    if (table !== null) facts.tables.push(`${family} ${table.slice(1).join(" ")}`);
    const blob = /^blob_file_number: (\d+)/.exec(line);
    if (blob !== null) facts.blobs.push(blob[1] ?? "");
    const last =
      /^next_file_number (\d+) last_sequence (\d+) +prev_log_number (\d+).* min_log_number_to_keep (\d+)/.exec(line);
    if (last !== null) counters = last.slice(1).join(" ");
  }
  return sorted({ ...facts, counters });
}

export async function ourManifest(manifest: string, pieceBytes: number): Promise<ManifestFacts> {
  const bytes = await readFile(manifest);
  const cursor = new ManifestCursor(manifest);
  const state = new ManifestState(manifest);
  while (cursor.nextOffset < bytes.length) {
    const from = cursor.nextOffset;
    for (const unit of cursor.feed(bytes.subarray(from, from + pieceBytes))) state.apply(unit);
    const problem = cursor.problem();
    if (problem !== undefined) throw problem;
    if (cursor.nextOffset <= from) break;
  }
  const families = [...state.columnFamilies.values()];
  const name = (id: number): string => `${id} ${state.columnFamilies.get(id)?.name}`;
  // ldb adds one to the next file number it prints (db/version_set.cc, DumpManifest: NewFileNumber), as recovery does.
  return sorted({
    columnFamilies: families.map(({ id, logNumber }) => `${name(id)} log ${logNumber}`),
    tables: [...state.tables()].map(
      (table) =>
        `${name(table.columnFamily)} ${table.number} ${table.size} ${table.smallestSequence} ${table.largestSequence}`,
    ),
    blobs: [...state.blobFiles()].map(String),
    counters: `${state.nextFileNumber + 1} ${state.lastSequence} ${state.previousLogNumber} ${state.minLogNumberToKeep}`,
  });
}

/**
 * The edits with tables or families of a database whose WALs were all kept, classified as a primary would that has read them all. The edits that open
 * and recover it (before the first that names a WAL's successor) come with a checkpoint and are left out.
 */
export async function classifyAll(directory: string): Promise<{ deferrable: number; reasons: string[] }> {
  const { manifest, wals } = await databaseFiles(directory);
  const coverage = new SequenceCoverage();
  for (const wal of wals) {
    const { records } = new WalCursor({ fileNumber: walNumber(wal), file: wal }).feed(await readFile(wal));
    for (let index = 0; index < records.length; index++) {
      if (records.count(index) > 0) coverage.add(records.sequence(index), records.lastSequence(index));
    }
  }
  const state = new ManifestState(manifest);
  const reasons: string[] = [];
  let deferrable = 0;
  let opened = false;
  for (const unit of new ManifestCursor(manifest).feed(await readFile(manifest))) {
    opened ||= unit.edits.some(
      (edit) => edit.addedTables.length > 0 || edit.addedColumnFamily?.startsWith("x") === true,
    );
    if (opened) {
      const result = classify(unit, { state, walCovers: (first, last) => coverage.covers(first, last) });
      if (result.kind === "binding") reasons.push(result.reason);
      else deferrable++;
    }
    state.apply(unit);
  }
  return { deferrable, reasons };
}

function sorted(facts: ManifestFacts): ManifestFacts {
  return {
    ...facts,
    columnFamilies: facts.columnFamilies.toSorted(),
    tables: facts.tables.toSorted(),
    blobs: facts.blobs.toSorted(),
  };
}

/** The current MANIFEST's path, and those of all WALs, archived ones too. */
export async function databaseFiles(
  directory: string,
  walDirectory: string = directory,
): Promise<{ manifest: string; wals: string[] }> {
  const current = parseCurrent(await readFile(join(directory, "CURRENT")), join(directory, "CURRENT"));
  const names = await readdir(walDirectory, { recursive: true });
  const wals = names.filter((name) => parseFileName(name)?.type === "wal").map((name) => join(walDirectory, name));
  return { manifest: join(directory, current.name), wals: wals.toSorted() };
}

/** Follows every WAL of a directory that is being written, as a shipper would. */
export class LiveTail {
  readonly #directory: string;
  readonly #readPiece: (file: string, offset: number) => Promise<Uint8Array>;
  readonly cursors = new Map<string, WalCursor>();
  readonly onFeed: (file: string, feed: WalFeed) => void;

  constructor(
    directory: string,
    readPiece: (file: string, offset: number) => Promise<Uint8Array>,
    onFeed: (file: string, feed: WalFeed) => void,
  ) {
    this.#directory = directory;
    this.#readPiece = readPiece;
    this.onFeed = onFeed;
  }

  /** Reads every WAL to its end once. */
  async look(): Promise<void> {
    const names = await readdir(this.#directory, { recursive: true }).catch(() => []);
    const wals = names.filter((name) => parseFileName(name)?.type === "wal").map((name) => basename(name));
    for (const name of wals.toSorted()) {
      let cursor = this.cursors.get(name);
      if (cursor === undefined)
        this.cursors.set(name, (cursor = new WalCursor({ fileNumber: walNumber(name), file: name })));
    }
    for (const [name, cursor] of this.cursors) await this.#follow(name, cursor);
  }

  async #follow(name: string, cursor: WalCursor): Promise<void> {
    for (;;) {
      const from = cursor.nextOffset;
      const piece = await this.#readPiece(name, from);
      if (piece.length === 0) return;
      this.onFeed(name, cursor.feed(piece));
      if (cursor.nextOffset <= from) return;
    }
  }
}
