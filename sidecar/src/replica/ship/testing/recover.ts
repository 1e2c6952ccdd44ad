import { sha256Hex } from "../../../base/sha256.js";
import type { Bucket } from "../../../bucket/bucket.js";
import type { Operation, ReadEntry } from "../../../formats/entry.js";
import { GroupAssembler } from "../../../formats/image-fold.js";
import { parseCurrent, parseFileName, tableFileName } from "../../../formats/rocksdb/file-names.js";
import { RecordReader } from "../../../formats/rocksdb/record-reader.js";
import { WalCursor } from "../../../formats/rocksdb/wal-cursor.js";

export type Files = Map<string, Uint8Array>;

/** Every state that a follower's disk goes through: after each entry, or group, that takes effect. Operations are checked strictly. */
export async function replay(
  entries: readonly ReadEntry[],
  bucket: Bucket,
  onState: (files: Files) => void,
): Promise<Files> {
  const files: Files = new Map();
  const group = new GroupAssembler();
  for (const entry of entries) {
    const effective = group.push(entry);
    for (const { operations } of effective) for (const operation of operations) await apply(files, operation, bucket);
    if (effective.length > 0) onState(files);
  }
  return files;
}

async function apply(files: Files, operation: Operation, bucket: Bucket): Promise<void> {
  switch (operation.type) {
    case "append": {
      const known = files.get(operation.file) ?? new Uint8Array(0);
      if (known.length !== operation.offset)
        throw new Error(`append to ${operation.file} at ${operation.offset} of ${known.length}`);
      files.set(operation.file, Buffer.concat([known, operation.bytes]));
      return;
    }
    case "write":
      files.set(operation.file, operation.bytes);
      return;
    case "table": {
      const bytes = await bucket.get(operation.key, { maxBytes: 1e9 });
      if (bytes === undefined) throw new Error(`${operation.file}: there is no object ${operation.key}`);
      const sha256 = sha256Hex(bytes);
      if (sha256 !== operation.sha256 || bytes.length !== operation.size)
        throw new Error(`${operation.file}: wrong bytes`);
      files.set(operation.file, bytes);
      return;
    }
    case "remove":
      if (!files.delete(operation.file)) throw new Error(`remove of ${operation.file}, which is not there`);
      return;
    case "directory":
      files.set(operation.file, new Uint8Array(0));
      return;
    case "handover":
    case "trim":
  }
}

/** The rows that opening the image would give (RocksDB's recovery, as far as the model database needs it). Undefined: no database. */
export function rowsOf(files: Files, database: string): Set<bigint> | undefined {
  const current = files.get(`${database}/CURRENT`);
  if (current === undefined) return undefined;
  const manifest = files.get(`${database}/${parseCurrent(current).name}`);
  if (manifest === undefined) throw new Error(`${database}: CURRENT names a MANIFEST that is not there`);
  const { tables, minimumWal } = readManifest(manifest);
  const rows = new Set<bigint>();
  for (const { number, size } of tables.values()) {
    const bytes = files.get(`${database}/${tableFileName(number)}`);
    if (bytes?.length !== size) throw new Error(`${database}: table ${number} is missing or has a wrong size`);
    const content: unknown = JSON.parse(Buffer.from(bytes).toString());
    for (const row of (content as { rows: string[] }).rows) rows.add(BigInt(row));
  }
  for (const [path, bytes] of [...files].toSorted(([left], [right]) => (left < right ? -1 : 1))) {
    const folder = path.startsWith(`${database}/`) || path.startsWith(`${database}@wal/`);
    const parsed = folder ? parseFileName(path.slice(path.indexOf("/") + 1)) : undefined;
    if (parsed?.type !== "wal" || parsed.number < minimumWal) continue;
    const cursor = new WalCursor({ fileNumber: parsed.number, file: path });
    const { records } = cursor.feed(bytes);
    if (cursor.wholeEnd !== bytes.length) throw new Error(`${path} ends in half a record`);
    for (let index = 0; index < records.length; index++) {
      for (let row = records.sequence(index); row <= records.lastSequence(index); row++) {
        if (records.count(index) > 0) rows.add(row);
      }
    }
  }
  return rows;
}

/** Throws unless the rows are 1..n: later rows without an earlier one are a silent hole. Returns n. */
export function prefixLength(rows: Set<bigint>): bigint {
  const count = BigInt(rows.size);
  for (let row = 1n; row <= count; row++) {
    if (!rows.has(row)) throw new Error(`a hole: row ${row} is missing, but there are ${count} rows`);
  }
  return count;
}

interface LiveTables {
  readonly tables: Map<number, { readonly number: number; readonly size: number }>;
  readonly minimumWal: number;
}

/** Understands what ModelDatabase writes. */
function readManifest(bytes: Uint8Array): LiveTables {
  const tables = new Map<number, { number: number; size: number }>();
  let minimumWal = 0;
  const payloads: Uint8Array[] = [];
  let parts: Uint8Array[] = [];
  const reader = new RecordReader(
    {
      data: (chunk, start, end, first, last) => {
        if (first) parts = [];
        parts.push(chunk.slice(start, end));
        if (last) payloads.push(Buffer.concat(parts));
        return undefined;
      },
      special: () => undefined,
    },
    undefined,
  );
  reader.feed(bytes);
  if (reader.wholeEnd !== bytes.length) throw new Error("the MANIFEST ends in half an edit");
  for (const payload of payloads) {
    let at = 0;
    const varint = (): number => {
      let value = 0;
      for (let scale = 1; ; scale *= 128) {
        const byte = payload[at++] ?? 0;
        value += (byte & 0x7f) * scale;
        if (byte < 128) return value;
      }
    };
    const skip = (): void => {
      const length = varint();
      at += length;
    };
    let family = 0;
    let log: number | undefined;
    while (at < payload.length) {
      const tag = varint();
      if (tag === 1 || tag === 201) skip();
      else if (tag === 2) log = varint();
      else if (tag === 3 || tag === 4 || tag === 203) varint();
      else if (tag === 200) family = varint();
      else if (tag === 6) {
        varint();
        tables.delete(varint());
      } else if (tag === 103) {
        varint();
        const number = varint();
        const size = varint();
        skip();
        skip();
        varint();
        varint();
        varint();
        tables.set(number, { number, size });
      } else throw new Error(`tag ${tag}`);
    }
    // The model's families hold no rows and need no WAL.
    if (family === 0 && log !== undefined) minimumWal = log;
  }
  return { tables, minimumWal };
}
