import { ByteWriter } from "./bytes.js";
import { RecordWriter } from "./record-writer.js";

/** An edit to write; everything may be left out. The shape follows VersionEdit. */
export interface EditSpec {
  readonly columnFamily?: number;
  readonly databaseId?: string;
  readonly comparator?: string;
  readonly logNumber?: number;
  readonly previousLogNumber?: number;
  readonly nextFileNumber?: number;
  readonly lastSequence?: bigint;
  readonly maxColumnFamily?: number;
  readonly minLogNumberToKeep?: number;
  readonly deletedTables?: readonly { readonly level: number; readonly number: number }[];
  readonly addedTables?: readonly TableSpec[];
  readonly addedBlobs?: readonly { readonly number: number; readonly blobs: number; readonly bytes: number }[];
  readonly blobGarbage?: readonly { readonly number: number; readonly blobs: number; readonly bytes: number }[];
  readonly addedColumnFamily?: string;
  readonly droppedColumnFamily?: boolean;
  readonly remainingInGroup?: number;
  /** Bytes put at the end as they are: any other tag. */
  readonly raw?: Uint8Array;
}

export interface TableSpec {
  readonly number: number;
  readonly level?: number;
  readonly size?: number;
  readonly smallestSequence: bigint;
  readonly largestSequence: bigint;
  readonly pathId?: number;
  readonly oldestBlobFile?: number;
  readonly epoch?: number;
}

/** "a" and 8 bytes of sequence and type. */
const internalKey = Uint8Array.from([0x61, 1, 0, 0, 0, 0, 0, 0, 0]);

function encodeTable(out: ByteWriter, table: TableSpec): void {
  out
    .varint(103)
    .varint(table.level ?? 0)
    .varint(table.number)
    .varint(table.size ?? 1000);
  out.prefixed(internalKey).prefixed(internalKey).varint(table.smallestSequence).varint(table.largestSequence);
  const field = (tag: number, value: number): void => {
    out.varint(tag).prefixed(new ByteWriter().varint(value).done());
  };
  if (table.oldestBlobFile !== undefined) field(4, table.oldestBlobFile);
  if (table.epoch !== undefined) field(13, table.epoch);
  if (table.pathId !== undefined) out.varint(65).prefixed(Uint8Array.of(table.pathId));
  out.varint(1);
}

export function encodeEdit(edit: EditSpec): Uint8Array {
  const out = new ByteWriter();
  const numbered = (tag: number, value: number | bigint | undefined): void => {
    if (value !== undefined) out.varint(tag).varint(value);
  };
  if (edit.databaseId !== undefined) out.varint(8193).prefixed(edit.databaseId);
  if (edit.comparator !== undefined) out.varint(1).prefixed(edit.comparator);
  numbered(2, edit.logNumber);
  numbered(9, edit.previousLogNumber);
  numbered(3, edit.nextFileNumber);
  numbered(203, edit.maxColumnFamily);
  numbered(10, edit.minLogNumberToKeep);
  numbered(4, edit.lastSequence);
  for (const { level, number } of edit.deletedTables ?? []) out.varint(6).varint(level).varint(number);
  for (const table of edit.addedTables ?? []) encodeTable(out, table);
  for (const blob of edit.addedBlobs ?? []) {
    out.varint(400).varint(blob.number).varint(blob.blobs).varint(blob.bytes).prefixed("").prefixed("").varint(0);
  }
  for (const blob of edit.blobGarbage ?? []) {
    out.varint(401).varint(blob.number).varint(blob.blobs).varint(blob.bytes).varint(0);
  }
  numbered(200, edit.columnFamily);
  if (edit.addedColumnFamily !== undefined) out.varint(201).prefixed(edit.addedColumnFamily);
  if (edit.droppedColumnFamily === true) out.varint(202);
  numbered(300, edit.remainingInGroup);
  return out.raw(edit.raw ?? new Uint8Array(0)).done();
}

/** Writes a MANIFEST the way RocksDB does, for tests and the simulator's model master. */
export class ManifestWriter {
  readonly #records = new RecordWriter(0, false);

  /** The file's size once everything given out so far is appended. */
  get offset(): number {
    return this.#records.offset;
  }

  /** The bytes to append to the file for one edit. */
  append(edit: EditSpec): Uint8Array {
    return this.#records.append(encodeEdit(edit));
  }
}
