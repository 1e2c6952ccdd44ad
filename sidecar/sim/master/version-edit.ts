import { Decoder, Encoder } from "./coding.js";

export interface TableMark {
  readonly number: number;
  readonly size: number;
  readonly level: number;
  readonly smallest: string;
  readonly largest: string;
  readonly firstSequence: number;
  readonly lastSequence: number;
}

/** What the model master writes into a MANIFEST: the part of RocksDB's VersionEdit (db/version_edit.cc) that carries all its features. */
export interface VersionEdit {
  readonly family?: number;
  readonly addFamily?: string;
  readonly dropFamily?: boolean;
  readonly maxFamily?: number;
  readonly logNumber?: number;
  readonly minLogToKeep?: number;
  readonly nextFile?: number;
  readonly lastSequence?: number;
  readonly deleted?: readonly Pick<TableMark, "level" | "number">[];
  readonly added?: readonly TableMark[];
  /** In an atomic group: how many edits of it follow. */
  readonly remaining?: number;
}

const tag = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  deletedFile: 6,
  minLogToKeep: 10,
  newFile4: 103,
  family: 200,
  addFamily: 201,
  dropFamily: 202,
  maxFamily: 203,
  atomicGroup: 300,
} as const;

/** The key with its sequence and type, as tables hold it (db/dbformat.h). */
function internalKey(key: string, sequence: number): Uint8Array {
  const trailer = new Encoder().fixed64(sequence * 256 + 1).done();
  return Buffer.concat([Buffer.from(key), trailer]);
}

export function encodeEdit(edit: VersionEdit): Uint8Array {
  const out = new Encoder();
  const number = (name: keyof typeof tag, value: number | undefined): void => {
    if (value !== undefined) out.varint(tag[name]).varint(value);
  };
  if (edit.addFamily !== undefined) out.varint(tag.comparator).text("leveldb.BytewiseComparator");
  number("logNumber", edit.logNumber);
  number("nextFile", edit.nextFile);
  number("maxFamily", edit.maxFamily);
  number("minLogToKeep", edit.minLogToKeep);
  number("lastSequence", edit.lastSequence);
  for (const each of edit.deleted ?? []) out.varint(tag.deletedFile).varint(each.level).varint(each.number);
  for (const each of edit.added ?? []) {
    out.varint(tag.newFile4).varint(each.level).varint(each.number).varint(each.size);
    out.text(internalKey(each.smallest, each.firstSequence)).text(internalKey(each.largest, each.lastSequence));
    out.varint(each.firstSequence).varint(each.lastSequence).varint(1);
  }
  if (edit.family !== undefined && edit.family !== 0) number("family", edit.family);
  if (edit.addFamily !== undefined && edit.family !== 0) out.varint(tag.addFamily).text(edit.addFamily);
  if (edit.dropFamily === true) out.varint(tag.dropFamily);
  number("atomicGroup", edit.remaining);
  return out.done();
}

export function decodeEdit(bytes: Uint8Array): VersionEdit {
  const input = new Decoder(bytes);
  const deleted: Pick<TableMark, "level" | "number">[] = [];
  const added: TableMark[] = [];
  let edit: VersionEdit = { family: 0 };
  while (input.more) {
    const next = input.varint();
    switch (next) {
      case tag.comparator:
        input.text();
        break;
      case tag.logNumber:
        edit = { ...edit, logNumber: input.varint() };
        break;
      case tag.nextFile:
        edit = { ...edit, nextFile: input.varint() };
        break;
      case tag.lastSequence:
        edit = { ...edit, lastSequence: input.varint() };
        break;
      case tag.minLogToKeep:
        edit = { ...edit, minLogToKeep: input.varint() };
        break;
      case tag.maxFamily:
        edit = { ...edit, maxFamily: input.varint() };
        break;
      case tag.family:
        edit = { ...edit, family: input.varint() };
        break;
      case tag.addFamily:
        edit = { ...edit, addFamily: input.text() };
        break;
      case tag.dropFamily:
        edit = { ...edit, dropFamily: true };
        break;
      case tag.atomicGroup:
        edit = { ...edit, remaining: input.varint() };
        break;
      case tag.deletedFile:
        deleted.push({ level: input.varint(), number: input.varint() });
        break;
      case tag.newFile4:
        added.push(decodeTable(input));
        break;
      default:
        throw new Error(`unknown tag ${next}`);
    }
  }
  return { ...edit, deleted, added };
}

function decodeTable(input: Decoder): TableMark {
  const level = input.varint();
  const number = input.varint();
  const size = input.varint();
  const smallest = input.text().slice(0, -8);
  const largest = input.text().slice(0, -8);
  const firstSequence = input.varint();
  const lastSequence = input.varint();
  for (let field = input.varint(); field !== 1; field = input.varint()) input.text();
  return { level, number, size, smallest, largest, firstSequence, lastSequence };
}
