import type { Disk } from "../disk.js";
import { Violation } from "../violation.js";
import { names, numberOf } from "./files.js";
import { readRecordFile } from "./record-file.js";
import { decodeTable, type Row } from "./table-file.js";
import { decodeEdit, type TableMark, type VersionEdit } from "./version-edit.js";
import { decodeBatch, type FamilyRow } from "./write-batch.js";

interface RecoveredFamily {
  readonly name: string;
  logNumber: number;
  readonly tables: Map<number, TableMark & { readonly rows: readonly Row[] }>;
  /** Of the WALs, newer than `logNumber`. */
  readonly memtable: FamilyRow[];
}

export interface Recovered {
  readonly families: Map<number, RecoveredFamily>;
  readonly manifestNumber: number;
  nextFile: number;
  lastSequence: number;
  maxFamily: number;
  /** WALs that were replayed, oldest first. */
  readonly wals: readonly number[];
  /** The newest WAL ended in half a record. */
  tornTail: boolean;
}

interface Marks {
  readonly families: Map<number, { readonly name: string; logNumber: number; readonly tables: Map<number, TableMark> }>;
  nextFile: number;
  lastSequence: number;
  maxFamily: number;
  minLogToKeep: number;
}

export interface RecoveryPlace {
  readonly disk: Disk;
  readonly path: string;
  readonly walPath: string;
  /** For the reports: member, epoch and database. */
  readonly who: string;
}

function broken(place: RecoveryPlace, what: string): Violation {
  return new Violation("ImageOpens", `${place.who}: RocksDB would refuse ${place.path}: ${what}`);
}

/** What a RocksDB finds in a directory with point-in-time recovery; throws where it would refuse to open. */
export function recover(place: RecoveryPlace): Recovered {
  const { disk, path } = place;
  const current = Buffer.from(disk.file(`${path}/CURRENT`).data.view()).toString("latin1");
  const name = /^(MANIFEST-\d+)\n$/.exec(current)?.[1];
  if (name === undefined) throw broken(place, `CURRENT is ${JSON.stringify(current)}`);
  if (!disk.exists(`${path}/${name}`)) throw broken(place, `CURRENT names ${name}, which is not there`);
  const marks = replayManifest(readRecordFile(disk.file(`${path}/${name}`).data.view()).payloads);
  const families = new Map<number, RecoveredFamily>();
  for (const [id, family] of marks.families) {
    const tables = new Map(
      [...family.tables].map(([number, mark]) => [number, { ...mark, rows: rowsOf(place, mark) }]),
    );
    families.set(id, { name: family.name, logNumber: family.logNumber, tables, memtable: [] });
  }
  const recovered: Recovered = {
    families,
    manifestNumber: numberOf(name) ?? 0,
    nextFile: marks.nextFile,
    lastSequence: marks.lastSequence,
    maxFamily: marks.maxFamily,
    wals: walsOf(place, marks),
    tornTail: false,
  };
  replayWals(place, recovered);
  for (const { name: each } of [...disk.list(path), ...disk.list(place.walPath)]) {
    recovered.nextFile = Math.max(recovered.nextFile, (numberOf(each) ?? 0) + 1);
  }
  return recovered;
}

function replayManifest(payloads: readonly Uint8Array[]): Marks {
  const marks: Marks = { families: new Map(), nextFile: 2, lastSequence: 0, maxFamily: 0, minLogToKeep: 0 };
  let group: VersionEdit[] = [];
  for (const payload of payloads) {
    const edit = decodeEdit(payload);
    group.push(edit);
    if ((edit.remaining ?? 0) > 0) continue;
    for (const each of group) applyEdit(marks, each);
    group = [];
  }
  return marks;
}

function applyEdit(marks: Marks, edit: VersionEdit): void {
  const id = edit.family ?? 0;
  if (edit.addFamily !== undefined || (id === 0 && !marks.families.has(0))) {
    marks.families.set(id, { name: edit.addFamily ?? "default", logNumber: 0, tables: new Map() });
  }
  const family = marks.families.get(id);
  if (family !== undefined) {
    if (edit.logNumber !== undefined) family.logNumber = Math.max(family.logNumber, edit.logNumber);
    for (const { number } of edit.deleted ?? []) family.tables.delete(number);
    for (const mark of edit.added ?? []) family.tables.set(mark.number, mark);
  }
  if (edit.dropFamily === true) marks.families.delete(id);
  marks.nextFile = Math.max(marks.nextFile, edit.nextFile ?? 0);
  marks.lastSequence = Math.max(marks.lastSequence, edit.lastSequence ?? 0);
  marks.maxFamily = Math.max(marks.maxFamily, edit.maxFamily ?? 0);
  marks.minLogToKeep = Math.max(marks.minLogToKeep, edit.minLogToKeep ?? 0);
}

function rowsOf(place: RecoveryPlace, mark: TableMark): readonly Row[] {
  const path = `${place.path}/${names.table(mark.number)}`;
  if (!place.disk.exists(path)) throw broken(place, `table ${path} is missing`);
  const bytes = place.disk.file(path).data.view();
  if (bytes.length !== mark.size) throw broken(place, `table ${path} has ${bytes.length} bytes, not ${mark.size}`);
  const rows = decodeTable(bytes);
  if (rows === undefined) throw broken(place, `table ${path} is damaged`);
  return rows;
}

function walsOf({ disk, walPath }: RecoveryPlace, marks: Marks): number[] {
  const oldest = Math.max(
    marks.minLogToKeep,
    Math.min(...[...marks.families.values()].map(({ logNumber }) => logNumber)),
  );
  return disk
    .list(walPath)
    .filter(({ name }) => name.endsWith(".log"))
    .map(({ name }) => numberOf(name) ?? -1)
    .filter((number) => number >= oldest)
    .toSorted((a, b) => a - b);
}

/** Stops at the first record that is not whole, as point-in-time recovery does, unless a newer WAL goes on with the expected sequence. */
function replayWals(place: RecoveryPlace, recovered: Recovered): void {
  let expected: number | undefined;
  let stopped = false;
  for (const number of recovered.wals) {
    const file = readRecordFile(place.disk.file(`${place.walPath}/${names.wal(number)}`).data.view(), number);
    for (const payload of file.payloads) {
      const { sequence, rows } = decodeBatch(payload);
      if (stopped && sequence !== expected) return;
      stopped = false;
      if (expected !== undefined && sequence < expected) {
        throw new Violation(
          "SequenceReused",
          `${place.who}: ${names.wal(number)} goes back to sequence ${sequence} after ${expected - 1}`,
        );
      }
      for (const row of rows) {
        const family = recovered.families.get(row.family);
        if (family !== undefined && number >= family.logNumber) family.memtable.push(row);
      }
      expected = sequence + rows.length;
      recovered.lastSequence = Math.max(recovered.lastSequence, expected - 1);
    }
    stopped = !file.clean;
    recovered.tornTail = !file.clean;
  }
}
