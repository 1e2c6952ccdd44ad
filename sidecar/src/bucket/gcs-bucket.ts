import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage } from "./bucket.js";
import { readExactly } from "./byte-source.js";
import { withDeadline } from "../base/deadline.js";
import { download } from "./download.js";
import { bucketClosed, bucketError, bucketTimeout, type ErrorContext } from "./errors.js";
import { GcsFailure, type GcsApi } from "./gcs-api.js";
import { checkKeyPrefix, fullKey } from "./keys.js";
import { checkGet, listLimit } from "./limits.js";
import { tryAgain, type RetryComponents } from "./retry.js";
import { Semaphore } from "./semaphore.js";
import { failureOf, isUploadLost, storeError } from "./store-errors.js";
import { transferMs, type TransferSettings } from "./transfer.js";

export interface GcsBucketSettings extends TransferSettings {
  /** `gs://bucket/prefix` */
  readonly url: string;
  /** "" or ending in a slash. */
  readonly prefix: string;
  /** Larger objects go by a resumable upload in chunks of this size; a multiple of 256 KiB. */
  readonly partBytes: number;
  /** Chunks in flight (and in memory) at a time, over all puts together. */
  readonly parallelParts: number;
}

export interface GcsBucketComponents {
  readonly clock: Clock;
  readonly random: Random;
  /** Chunks are tried again within the one try of their object. */
  readonly onRetry: RetryComponents["onRetry"];
}

const chunkTriesMs = 60_000;
const abortUploadMs = 10_000;

/** A GCS store as a bucket. */
export class GcsBucket implements Bucket {
  readonly url: string;
  readonly #settings: GcsBucketSettings;
  readonly #components: GcsBucketComponents;
  readonly #api: GcsApi;
  readonly #chunks: Semaphore;
  readonly #cleanups = new Set<Promise<void>>();
  #closed = false;

  constructor(settings: GcsBucketSettings, components: GcsBucketComponents, api: GcsApi) {
    this.url = settings.url;
    this.#settings = settings;
    this.#components = components;
    this.#api = api;
    this.#chunks = new Semaphore(settings.parallelParts);
  }

  async putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
    const full = this.#full(key);
    const context: ErrorContext = { url: this.url, operation: "putIfAbsent", key };
    return this.#run(context, call, transferMs(this.#settings, body.length), async (signal) => {
      try {
        await this.#api.insert(full, body, true, signal);
        return "created";
      } catch (error) {
        if (statusOf(error) === 412) return "exists";
        throw error;
      }
    });
  }

  async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    const full = this.#full(key);
    const context: ErrorContext = { url: this.url, operation: "put", key };
    await this.#run(context, call, transferMs(this.#settings, source.size), async (signal) => {
      if (source.size > this.#settings.partBytes) return this.#putInChunks(context, full, source, signal);
      return this.#chunks.use(signal, async () =>
        this.#api.insert(full, await readExactly(source, 0, source.size), false, signal),
      );
    });
  }

  async get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    const full = this.#full(key);
    checkGet(call);
    const { range } = call;
    const context = { url: this.url, operation: "get" as const, key };
    const header = range === undefined ? undefined : `bytes=${range.offset}-${range.offset + range.length - 1}`;
    let beyondEnd = false;
    const components = { clock: this.#components.clock, transfer: this.#settings };
    const got = await download(components, context, call, async (signal) => {
      const answer = await this.#mapped(context, signal, async () => {
        try {
          return await this.#api.get(full, header, signal);
        } catch (error) {
          beyondEnd = statusOf(error) === 416;
          if (beyondEnd) return undefined;
          return this.#absent(error, signal);
        }
      });
      if (answer === undefined || header === undefined || answer.ranged) return answer;
      answer.body.destroy();
      throw bucketError("BucketRequestInvalid", "invalid", context, "the store ignores ranges.", {
        hint: "This store lacks a feature that MetaMaster needs; use another.",
      });
    });
    return beyondEnd ? new Uint8Array() : got;
  }

  async head(key: string, call: CallOptions): Promise<number | undefined> {
    const full = this.#full(key);
    const context: ErrorContext = { url: this.url, operation: "head", key };
    return this.#run(context, call, this.#settings.callMs, (signal) =>
      this.#api.size(full, signal).catch((error: unknown) => this.#absent(error, signal)),
    );
  }

  async list(prefix: string, call: ListOptions): Promise<ListPage> {
    this.#enter();
    checkKeyPrefix(prefix);
    const limit = listLimit(call);
    const own = this.#settings.prefix;
    // The store's offset is inclusive. "!" is the smallest character that may be in a key, so nothing lies between `a` and `a!`.
    const startOffset = call.startAfter === undefined ? undefined : `${own}${call.startAfter}!`;
    const context: ErrorContext = { url: this.url, operation: "list", key: prefix };
    return this.#run(context, call, this.#settings.callMs, async (signal) => {
      const { objects, more } = await this.#api.list(own + prefix, startOffset, limit, signal);
      return { objects: objects.map(({ key, size }) => ({ key: key.slice(own.length), size })), more };
    });
  }

  async delete(key: string, call: CallOptions): Promise<void> {
    const full = this.#full(key);
    const context: ErrorContext = { url: this.url, operation: "delete", key };
    await this.#run(context, call, this.#settings.callMs, (signal) =>
      this.#api.delete(full, signal).catch((error: unknown) => this.#absent(error, signal)),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#cleanups);
    this.#api.close();
  }

  #enter(): void {
    if (this.#closed) throw bucketClosed(this.url);
  }

  #full(key: string): string {
    this.#enter();
    return fullKey(this.#settings.prefix, key);
  }

  async #run<T>(
    context: ErrorContext,
    call: CallOptions,
    defaultMs: number,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const ms = call.deadlineMs ?? defaultMs;
    const limits = { signal: call.signal, ms, late: () => bucketTimeout(context, ms) };
    return withDeadline(this.#components.clock, limits, (signal) => this.#mapped(context, signal, () => work(signal)));
  }

  async #mapped<T>(context: ErrorContext, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof MetaMasterError) throw error;
      throw storeError(error instanceof GcsFailure ? error.failure : failureOf(error), context);
    }
  }

  /** Returns if `error` says that the object is not there, though the bucket is: a listing tells the two apart where the text doesn't. */
  async #absent(error: unknown, signal: AbortSignal): Promise<undefined> {
    if (!(error instanceof GcsFailure) || error.failure.status !== 404) throw error;
    if (/no such object/i.test(error.failure.message)) return undefined;
    await this.#api.list(this.#settings.prefix, undefined, 1, signal);
    return undefined;
  }

  async #putInChunks(context: ErrorContext, full: string, source: ByteSource, signal: AbortSignal): Promise<void> {
    const session = await this.#api.startUpload(full, source.size, signal);
    try {
      for (let offset = 0; offset < source.size;) {
        const start = offset;
        offset = await this.#chunks.use(signal, () => this.#sendChunk(context, session, source, start, signal));
        if (offset <= start)
          throw new GcsFailure({ status: 503, code: "NoProgress", message: "the store kept no byte" });
      }
    } catch (error) {
      this.#abandon(session);
      throw error;
    }
  }

  async #sendChunk(
    context: ErrorContext,
    session: URL,
    source: ByteSource,
    offset: number,
    signal: AbortSignal,
  ): Promise<number> {
    const chunk = await readExactly(source, offset, Math.min(this.#settings.partBytes, source.size - offset));
    const info = {
      operation: "put" as const,
      key: `${context.key ?? ""} (from byte ${offset})`,
      bytes: chunk.length,
      url: this.url,
    };
    const attemptMs = transferMs(this.#settings, chunk.length);
    const limits = { signal, attemptMs, totalMs: attemptMs + chunkTriesMs, hopeless: isUploadLost };
    let again = false;
    return tryAgain(info, limits, this.#components, (ms) =>
      this.#run(context, { signal, deadlineMs: ms }, ms, async (inner) => {
        // The answer may have been lost, not the chunk: ask before sending it twice.
        const has = again ? await this.#api.uploadedBytes(session, source.size, inner) : offset;
        again = true;
        if (has > offset) return has;
        return this.#api.sendChunk(session, chunk, offset, source.size, inner);
      }),
    );
  }

  /** Unfinished sessions end by themselves after a week; this is tidiness. */
  #abandon(session: URL): void {
    const { clock } = this.#components;
    const limits = { ms: abortUploadMs, late: () => new Error("too late") };
    const cleanup: Promise<void> = withDeadline(clock, limits, (signal) => this.#api.abortUpload(session, signal))
      .catch(() => undefined)
      .finally(() => this.#cleanups.delete(cleanup));
    this.#cleanups.add(cleanup);
  }
}

function statusOf(error: unknown): number | undefined {
  return error instanceof GcsFailure ? error.failure.status : undefined;
}
