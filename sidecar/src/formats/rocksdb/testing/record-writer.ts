import { crc32c, maskCrc } from "../crc32c.js";
import { BLOCK_BYTES, HEADER_BYTES, RECYCLABLE_HEADER_BYTES, isRecyclableType, recordType } from "../record-framing.js";

/** One physical record, header and payload. */
function physicalRecord(type: number, payload: Uint8Array, logNumber: number): Uint8Array {
  const header = isRecyclableType(type) ? RECYCLABLE_HEADER_BYTES : HEADER_BYTES;
  const bytes = Buffer.alloc(header + payload.length);
  bytes.writeUInt16LE(payload.length, 4);
  bytes.writeUInt8(type, 6);
  if (header === RECYCLABLE_HEADER_BYTES) bytes.writeUInt32LE(logNumber % 2 ** 32, 7);
  bytes.set(payload, header);
  bytes.writeUInt32LE(maskCrc(crc32c(bytes, 6)), 0);
  return bytes;
}

/** Frames logical records as RocksDB's db/log_writer.cc does; gives the bytes to append to the file. */
export class RecordWriter {
  readonly #recyclable: boolean;
  readonly #logNumber: number;
  #offset: number;

  constructor(logNumber: number, recyclable: boolean, offset: number = 0) {
    this.#logNumber = logNumber;
    this.#recyclable = recyclable;
    this.#offset = offset;
  }

  /** The file's size so far. */
  get offset(): number {
    return this.#offset;
  }

  append(payload: Uint8Array): Uint8Array {
    const header = this.#recyclable ? RECYCLABLE_HEADER_BYTES : HEADER_BYTES;
    const pieces: Uint8Array[] = [];
    let at = 0;
    let first = true;
    do {
      this.#padTo(header, pieces);
      const room = BLOCK_BYTES - (this.#offset % BLOCK_BYTES) - header;
      const length = Math.min(room, payload.length - at);
      const last = at + length === payload.length;
      const plain = first ? (last ? recordType.full : recordType.first) : last ? recordType.last : recordType.middle;
      this.#emit(this.#recyclable ? plain + 4 : plain, payload.subarray(at, at + length), pieces);
      at += length;
      first = false;
    } while (at < payload.length);
    return Buffer.concat(pieces);
  }

  /** A record of one piece of a given type (9 and up, or whatever a test wants). */
  appendPhysical(type: number, payload: Uint8Array): Uint8Array {
    const pieces: Uint8Array[] = [];
    this.#padTo((isRecyclableType(type) ? RECYCLABLE_HEADER_BYTES : HEADER_BYTES) + payload.length, pieces);
    this.#emit(type, payload, pieces);
    return Buffer.concat(pieces);
  }

  #padTo(needed: number, pieces: Uint8Array[]): void {
    const left = BLOCK_BYTES - (this.#offset % BLOCK_BYTES);
    if (left >= needed) return;
    pieces.push(new Uint8Array(left));
    this.#offset += left;
  }

  #emit(type: number, payload: Uint8Array, pieces: Uint8Array[]): void {
    const record = physicalRecord(type, payload, this.#logNumber);
    pieces.push(record);
    this.#offset += record.length;
  }
}
