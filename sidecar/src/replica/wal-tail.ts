import type { FileHandle } from "../base/file-system.js";
import { readUint32 } from "../formats/rocksdb/byte-reader.js";
import { BLOCK_BYTES, HEADER_BYTES, recordType, type RecordState } from "../formats/rocksdb/record-framing.js";
import { WalCursor } from "../formats/rocksdb/wal-cursor.js";

/** Enough for the records that describe the file and the first batch header in it. */
const HEAD_BYTES = 4096;
const STEP_BYTES = 1024 * 1024;

const beginnings: ReadonlySet<number> = new Set([
  recordType.full,
  recordType.first,
  recordType.recyclableFull,
  recordType.recyclableFirst,
]);

export interface WalTail {
  /** Offset after the last whole record. */
  readonly wholeEnd: number;
  readonly state: RecordState;
}

/**
 * Where the last whole record of a WAL ends, without reading all of it: from the last block that begins with the beginning of a record. A block always begins
 * with a fragment's header (db/log_format.h), and says by its type whether that fragment begins a record.
 */
export async function readWalTail(file: FileHandle, name: string, number: number, size: number): Promise<WalTail> {
  const head = new WalCursor({ fileNumber: number, file: name });
  head.feed(await read(file, 0, Math.min(HEAD_BYTES, size)));
  const start = await lastBeginning(file, size);
  const cursor =
    start === 0
      ? new WalCursor({ fileNumber: number, file: name })
      : WalCursor.resume({ ...head.snapshot(), wholeEnd: start, timestampSizes: [], lastSequence: undefined });
  for (let offset = cursor.nextOffset; offset < size;) {
    cursor.feed(await read(file, offset, Math.min(STEP_BYTES, size - offset)));
    if (cursor.nextOffset <= offset) break;
    offset = cursor.nextOffset;
  }
  return { wholeEnd: cursor.wholeEnd, state: cursor.state };
}

/** The last block's offset from which reading can begin; 0 is always one. */
async function lastBeginning(file: FileHandle, size: number): Promise<number> {
  for (let block = Math.floor(Math.max(0, size - 1) / BLOCK_BYTES); block > 0; block--) {
    const header = await read(file, block * BLOCK_BYTES, HEADER_BYTES);
    // Half a header, or zeros: what lies before it decides.
    if (header.length < HEADER_BYTES || (readUint32(header, 0) === 0 && header[6] === recordType.zero)) continue;
    if (header[6] !== undefined && beginnings.has(header[6])) return block * BLOCK_BYTES;
  }
  return 0;
}

async function read(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  return bytes.subarray(0, await file.read(bytes, offset));
}
