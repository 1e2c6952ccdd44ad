import { crc32c, maskCrc } from "../../src/formats/rocksdb/crc32c.js";

/**
 * Reads a WAL or MANIFEST as RocksDB's recovery does, whole and simply. On purpose not the product's reader: what that one gets wrong would
 * otherwise be wrong on both sides.
 */
export interface RecordFile {
  readonly payloads: readonly Uint8Array[];
  /** Where each of them ends. */
  readonly ends: readonly number[];
  /** Behind the last whole record. */
  readonly wholeEnd: number;
  /** Nothing but whole records (and zeros after them). */
  readonly clean: boolean;
}

const blockBytes = 32_768;
const headerBytes = 7;

export function readRecordFile(bytes: Uint8Array): RecordFile {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const payloads: Uint8Array[] = [];
  const ends: number[] = [];
  let parts: Uint8Array[] = [];
  let wholeEnd = 0;
  let at = 0;
  for (;;) {
    const leftInBlock = blockBytes - (at % blockBytes);
    if (leftInBlock < headerBytes) {
      at += leftInBlock;
      continue;
    }
    if (at + headerBytes > view.length) break;
    const length = view.readUInt16LE(at + 4);
    const type = view.readUInt8(at + 6);
    const end = at + headerBytes + length;
    if (type === 0 && length === 0) break;
    if (type < 1 || type > 4 || end > view.length) break;
    if (maskCrc(crc32c(view, at + 6, end)) !== view.readUInt32LE(at)) break;
    if (type === 1 || type === 2) parts = [];
    parts.push(view.subarray(at + headerBytes, end));
    at = end;
    if (type === 1 || type === 4) {
      payloads.push(parts.length === 1 ? (parts[0] ?? new Uint8Array(0)) : Buffer.concat(parts));
      parts = [];
      ends.push(at);
      wholeEnd = at;
    }
  }
  return { payloads, ends, wholeEnd, clean: view.subarray(wholeEnd).every((byte) => byte === 0) };
}
