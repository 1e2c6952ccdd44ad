import { zstdDecompressSync } from "node:zlib";
import { MetaMasterError, messageOf } from "../../base/errors.js";
import { errnoOf } from "../../base/node-file-errors.js";
import { readUint32 } from "./byte-reader.js";

/** A zstd block gives at most this much, and is never longer than it. */
const BLOCK_BYTES_MAX = 128 * 1024;
const FRAME_HEADER_BYTES_MAX = 18;
const MAGIC = 0xfd2fb528;

/** So many bytes of a frame always hold its first block whole. */
const FIRST_BLOCK_BYTES_MAX = FRAME_HEADER_BYTES_MAX + 3 + BLOCK_BYTES_MAX;
/** Of longer frames, and of those that give more, only the first block is looked at. */
export const WHOLE_FRAME_BYTES_MAX = 4 * 1024 * 1024;
const WHOLE_RECORD_BYTES_MAX = 16 * 1024 * 1024;

export interface RecordStart {
  readonly bytes: Uint8Array;
  /** `bytes` are all of the record. */
  readonly whole: boolean;
}

/**
 * The content of a compressed record as far as it is worth its memory, at least the first block's; undefined if it is no frame or a damaged one.
 * `frame`: all of its bytes, or its first WHOLE_FRAME_BYTES_MAX.
 */
export function startOfRecord(frame: Uint8Array, complete: boolean): RecordStart | undefined {
  const first = firstBlockOfFrame(frame.subarray(0, FIRST_BLOCK_BYTES_MAX));
  if (first === undefined || first.whole || !complete) return first;
  try {
    return { bytes: zstdDecompressSync(frame, { maxOutputLength: WHOLE_RECORD_BYTES_MAX }), whole: true };
  } catch (error) {
    return errnoOf(error) === "ERR_BUFFER_TOO_LARGE" ? first : undefined;
  }
}

const maxOutput = { maxOutputLength: BLOCK_BYTES_MAX };

/**
 * The content of a zstd frame's first block (RFC 8878, 3.1.1), from the frame's first FIRST_BLOCK_BYTES_MAX bytes; undefined if they are no frame.
 * A compressed WAL's logical record is one frame; its batch header is in that block, so that a record of any size costs 128 KiB at most.
 */
function firstBlockOfFrame(frame: Uint8Array): RecordStart | undefined {
  if (!isFrame(frame)) return undefined;
  const descriptor = frame[4]!;
  const single = (descriptor >>> 5) & 1;
  if ((descriptor & 0b1011) !== 0) return undefined; // a dictionary, or the reserved bit
  const contentSizeBytes = [single, 2, 4, 8][descriptor >>> 6]!;
  const block = 5 + (1 - single) + contentSizeBytes;
  if (frame.length < block + 3) return undefined;
  const header = frame[block]! | (frame[block + 1]! << 8) | (frame[block + 2]! << 16);
  const size = header >>> 3;
  if (size > BLOCK_BYTES_MAX) return undefined;
  const body = frame.subarray(block + 3, block + 3 + size);
  const bytes = contentOfBlock(header, size, body);
  return bytes === undefined ? undefined : { bytes, whole: (header & 1) === 1 };
}

function contentOfBlock(header: number, size: number, body: Uint8Array): Uint8Array | undefined {
  switch ((header >>> 1) & 3) {
    case 0:
      return body.length === size ? body : undefined;
    case 1:
      return body.length === 0 && size > 0 ? undefined : new Uint8Array(size).fill(body[0] ?? 0);
    case 2:
      return body.length === size ? decompressBlock(body) : undefined;
    default:
      return undefined;
  }
}

/** A frame of its own around one compressed block: window 128 KiB, no checksum, no content size, last block. */
function decompressBlock(body: Uint8Array): Uint8Array | undefined {
  const header = (body.length << 3) | (2 << 1) | 1;
  const start = [0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3, header & 0xff, (header >>> 8) & 0xff, header >>> 16];
  try {
    return zstdDecompressSync(Buffer.concat([Uint8Array.from(start), body]), maxOutput);
  } catch {
    return undefined; // the caller says where: a block that can't be read is corrupt
  }
}

export function isFrame(bytes: Uint8Array): boolean {
  return bytes.length >= 6 && readUint32(bytes, 0) === MAGIC;
}

/** A compressed WAL record whole. Throws `WalRecordCorrupt` for a bad frame or one of more than `bytesMax`. */
export function decompressRecord(frame: Uint8Array, bytesMax: number): Uint8Array {
  try {
    return zstdDecompressSync(frame, { maxOutputLength: bytesMax });
  } catch (error) {
    throw new MetaMasterError(
      "WalRecordCorrupt",
      "corrupt",
      `a compressed WAL record can't be read: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}
