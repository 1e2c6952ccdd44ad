import { constants, createZstdCompress, type ZstdCompress, type ZstdOptions } from "node:zlib";
import { release } from "./release.js";

/**
 * What zlib hands over at once: each is a round trip to the thread pool. Larger ones are mapped and unmapped by the C library every time
 * (measured on entries of 8 MB: 14.8 ms of processor time with 256 KiB, 16.4 with 1 MiB, 20.7 with a buffer that holds it whole).
 */
const CHUNK_BYTES = 256 * 1024;

interface Job {
  readonly target: Uint8Array;
  readonly reject: (error: unknown) => void;
  length: number;
}

/** zstd frames one after the other from one stream that is kept, straight into their callers' memory. */
export class ZstdFrames {
  readonly #options: ZstdOptions;
  #stream: ZstdCompress | undefined;
  #job: Job | undefined;
  /** Settles when the frames before are done. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: ZstdOptions) {
    this.#options = options;
  }

  /** One frame at the beginning of `target`; its length. Throws a RangeError if it doesn't fit. */
  compress(bytes: Uint8Array, target: Uint8Array): Promise<number> {
    const frame = this.#turn.then(() => this.#frame(bytes, target));
    this.#turn = frame.catch(() => undefined);
    return frame;
  }

  #frame(bytes: Uint8Array, target: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const job: Job = { target, reject, length: 0 };
    this.#job = job;
    const stream = (this.#stream ??= this.#open());
    stream.write(bytes);
    // Its types don't know that it is told of errors, like the callback of any write.
    stream.flush(constants.ZSTD_e_end, (error?: Error | null) => {
      if (error !== undefined && error !== null) return this.#fail(error);
      // What was not handed over yet.
      while (stream.read() !== null);
      if (this.#job === job) this.#job = undefined;
      resolve(job.length);
    });
    return promise;
  }

  #open(): ZstdCompress {
    const stream = createZstdCompress({ ...this.#options, chunkSize: CHUNK_BYTES });
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("error", (error) => this.#fail(error));
    return stream;
  }

  #take(chunk: Buffer): void {
    const job = this.#job;
    if (job === undefined) return;
    if (job.length + chunk.length > job.target.length) {
      this.#fail(new RangeError(`a frame of more than ${job.target.length} bytes`));
      return;
    }
    job.target.set(chunk, job.length);
    job.length += chunk.length;
    // The stream writes no more into a chunk that is full.
    if (chunk.byteOffset + chunk.length === chunk.buffer.byteLength) release(chunk);
  }

  /** What the stream holds of a frame that failed must not come before the next one. */
  #fail(error: unknown): void {
    const [job, stream] = [this.#job, this.#stream];
    this.#job = undefined;
    this.#stream = undefined;
    stream?.destroy();
    job?.reject(error);
  }
}
