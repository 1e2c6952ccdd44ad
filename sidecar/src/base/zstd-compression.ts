import {
  constants,
  zstdCompress,
  zstdCompressSync,
  zstdDecompress,
  zstdDecompressSync,
  type ZstdOptions,
} from "node:zlib";
import type { Compression } from "./compression.js";
import { ZstdFrames } from "./zstd-frames.js";
import { MetaMasterError, messageOf } from "./errors.js";
import { errnoOf } from "./node-file-errors.js";

/**
 * Below this many input bytes the main thread does it itself: measured (Node 24, 2 cores), a thread's round trip costs 0.25 ms, and
 * 16 KiB take 0.09 ms to compress and 0.05 ms to decompress.
 */
const SYNC_BYTES_MAX = 16 * 1024;

/**
 * Each chunk of output is one round trip to the thread pool, and all are put together by a copy: the default of 16 KiB would cost 512 of them for the body
 * of an entry (measured on a restore: 18,000 round trips for 217 MB of log). One chunk holds it whole; memory that is not written to costs nothing.
 */
const CHUNK_BYTES_MAX = 9 * 1024 * 1024;

/** A frame may not make us allocate a larger window than 2^27 bytes (zstd's own default limit). */
const WINDOW_LOG_MAX = 27;

/** zstd's own worst case (ZSTD_COMPRESSBOUND) is below it; a little more, so that the chunk is never quite full. */
function compressedBytesMax(bytes: number): number {
  return Math.min(CHUNK_BYTES_MAX, bytes + (bytes >>> 7) + 1024);
}

interface Settings {
  /** zstd's level, 1..19. */
  readonly level: number;
}

/** node:zlib's zstd; large inputs in its thread pool. */
export class ZstdCompression implements Compression {
  readonly #options: ZstdOptions;
  readonly #frames: ZstdFrames;

  constructor(settings: Settings = { level: 1 }) {
    this.#options = {
      params: { [constants.ZSTD_c_compressionLevel]: settings.level, [constants.ZSTD_c_checksumFlag]: 1 },
    };
    this.#frames = new ZstdFrames(this.#options);
  }

  async compress(bytes: Uint8Array): Promise<Uint8Array> {
    if (bytes.length <= SYNC_BYTES_MAX) return zstdCompressSync(bytes, this.#options);
    return new Promise((resolve, reject) => {
      zstdCompress(bytes, { ...this.#options, chunkSize: compressedBytesMax(bytes.length) }, (error, result) =>
        error === null ? resolve(result) : reject(error),
      );
    });
  }

  async compressInto(bytes: Uint8Array, target: Uint8Array): Promise<number> {
    if (bytes.length > SYNC_BYTES_MAX) return await this.#frames.compress(bytes, target);
    const frame = zstdCompressSync(bytes, this.#options);
    target.set(frame);
    return frame.length;
  }

  async decompress(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
    let result: Decompressed;
    try {
      result = await decompressWithInfo(bytes, maxBytes);
    } catch (error) {
      throw corrupt(explain(error, maxBytes), bytes.length, error);
    }
    if (result.buffer.length > maxBytes) throw corrupt(`it gives more than ${maxBytes} bytes`, bytes.length);
    // node:zlib stops after the first frame and says nothing of what follows.
    const read = result.engine.bytesWritten;
    if (read !== bytes.length) throw corrupt(`${bytes.length - read} bytes follow the frame`, bytes.length);
    return result.buffer;
  }
}

/** What `info: true` makes node:zlib return; its types don't know it. */
interface Decompressed {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

function isDecompressed(result: object): result is Decompressed {
  return "buffer" in result && Buffer.isBuffer(result.buffer) && "engine" in result;
}

async function decompressWithInfo(bytes: Uint8Array, maxBytes: number): Promise<Decompressed> {
  const withInfo = {
    // zlib refuses a limit of 0.
    maxOutputLength: Math.max(1, maxBytes),
    params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
    info: true,
  };
  // zlib refuses chunks below 64.
  const chunkSize = Math.max(64, Math.min(CHUNK_BYTES_MAX, maxBytes + 1));
  const result: object =
    bytes.length <= SYNC_BYTES_MAX
      ? zstdDecompressSync(bytes, withInfo)
      : await new Promise((resolve, reject) => {
          zstdDecompress(bytes, { ...withInfo, chunkSize }, (error, output) =>
            error === null ? resolve(output) : reject(error),
          );
        });
  if (!isDecompressed(result)) throw new TypeError("this Node does not report what its zstd consumed");
  return result;
}

function explain(error: unknown, maxBytes: number): string {
  return errnoOf(error) === "ERR_BUFFER_TOO_LARGE"
    ? `it gives more than ${maxBytes} bytes`
    : messageOf(error).toLowerCase();
}

function corrupt(why: string, size: number, cause?: unknown): MetaMasterError {
  return new MetaMasterError(
    "CompressionCorrupt",
    "corrupt",
    `A zstd frame of ${size} bytes can't be decompressed: ${why}.`,
    {
      cause,
      hint: "The bytes were damaged after they were written; nothing of them was used.",
      details: { size },
    },
  );
}
