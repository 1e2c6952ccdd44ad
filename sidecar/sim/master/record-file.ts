import { zstdDecompressSync } from "node:zlib";
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
const type = { setCompression: 9, last: 4, recyclableFirst: 5, recyclableLast: 8 } as const;

/** `number`: the WAL's; records of a recycled file that carry another are its past. */
export function readRecordFile(bytes: Uint8Array, number = 0): RecordFile {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const payloads: Uint8Array[] = [];
  const ends: number[] = [];
  let parts: Uint8Array[] = [];
  let compressed = false;
  let recycled = false;
  let wholeEnd = 0;
  for (let at = 0; ;) {
    const record = recordAt(view, at);
    if (record === undefined) break;
    recycled ||= record.logNumber !== undefined;
    if (record.logNumber !== undefined && record.logNumber !== number) break;
    at = record.end;
    if (record.type === type.setCompression) {
      compressed = true;
      // A WAL with nothing but this one is not torn.
      wholeEnd = at;
      continue;
    }
    // Full, first, middle, last: 1 to 4.
    const part = record.logNumber === undefined ? record.type : record.type - type.last;
    if (part <= 2) parts = [];
    parts.push(record.payload);
    if (part !== 1 && part !== type.last) continue;
    const whole = Buffer.concat(parts);
    payloads.push(compressed ? zstdDecompressSync(whole) : whole);
    ends.push(at);
    wholeEnd = at;
    parts = [];
  }
  // What follows in a recycled file is what it held before, whatever it looks like.
  const clean = recycled || view.subarray(wholeEnd).every((byte) => byte === 0);
  return { payloads, ends, wholeEnd, clean };
}

interface PhysicalRecord {
  readonly type: number;
  readonly logNumber: number | undefined;
  readonly payload: Uint8Array;
  readonly end: number;
}

/** Undefined: nothing whole is there. */
function recordAt(view: Buffer, from: number): PhysicalRecord | undefined {
  const left = blockBytes - (from % blockBytes);
  const at = left < 7 ? from + left : from;
  if (at + 7 > view.length) return undefined;
  const length = view.readUInt16LE(at + 4);
  const kind = view.readUInt8(at + 6);
  const isRecyclable = kind >= type.recyclableFirst && kind <= type.recyclableLast;
  const header = isRecyclable ? 11 : 7;
  // The end of a block that is too short for this header is padding.
  if (left >= 7 && left < header) return recordAt(view, from + left);
  const end = at + header + length;
  if (kind < 1 || kind > type.setCompression || end > view.length) return undefined;
  if (maskCrc(crc32c(view, at + 6, end)) !== view.readUInt32LE(at)) return undefined;
  const logNumber = isRecyclable ? view.readUInt32LE(at + 7) : undefined;
  return { type: kind, logNumber, payload: view.subarray(at + header, end), end };
}
