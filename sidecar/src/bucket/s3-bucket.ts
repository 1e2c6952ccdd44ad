import type { Clock } from "../base/clock.js";
import { MetaMasterError, hasCode } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage, PutOptions } from "./bucket.js";
import { readExactly } from "./byte-source.js";
import { withDeadline } from "../base/deadline.js";
import { download } from "./download.js";
import { bucketClosed, bucketError, bucketTimeout, type ErrorContext } from "./errors.js";
import { checkKeyPrefix, fullKey } from "./keys.js";
import { checkGet, listLimit } from "./limits.js";
import { tryAgain, type RetryComponents } from "./retry.js";
import type { S3Api, S3Upload } from "./s3-api.js";
import { Semaphore } from "./semaphore.js";
import { failureOf, isUploadLost, storeError, type StoreFailure } from "./store-errors.js";
import { transferMs, type TransferSettings } from "./transfer.js";

export interface S3BucketSettings extends TransferSettings {
  /** `s3://bucket/prefix` */
  readonly url: string;
  /** "" or ending in a slash. */
  readonly prefix: string;
  /** Objects larger than this go in parts of this size; at least 5 MiB. */
  readonly partBytes: number;
  /** Parts in flight (and in memory) at a time, over all puts together. */
  readonly parallelParts: number;
}

export interface S3BucketComponents {
  readonly clock: Clock;
  readonly random: Random;
  /** Parts are tried again within the one try of their object: starting a table of 256 MiB anew for one of them would be absurd. */
  readonly onRetry: RetryComponents["onRetry"];
}

/** S3 takes 10,000. */
const partsMax = 9_000;
const partTriesMs = 60_000;
const abortUploadMs = 10_000;

/** An S3 store as a bucket; knows the protocol's rules, not the SDK. */
export class S3Bucket implements Bucket {
  readonly url: string;
  readonly #settings: S3BucketSettings;
  readonly #components: S3BucketComponents;
  readonly #api: S3Api;
  readonly #parts: Semaphore;
  /** Aborts of unfinished uploads, which go on after their put has failed. */
  readonly #cleanups = new Set<Promise<void>>();
  /** Once it has: missing credentials are trouble of the provider (instance metadata away), not of the configuration. */
  #everAnswered = false;
  #closed = false;

  constructor(settings: S3BucketSettings, components: S3BucketComponents, api: S3Api) {
    this.url = settings.url;
    this.#settings = settings;
    this.#components = components;
    this.#api = api;
    this.#parts = new Semaphore(settings.parallelParts);
  }

  async putIfAbsent(key: string, body: Uint8Array, call: PutOptions): Promise<"created" | "exists"> {
    const full = this.#full(key);
    const context: ErrorContext = { url: this.url, operation: "putIfAbsent", key };
    return this.#run(context, call, transferMs(this.#settings, body.length), async (signal) => {
      try {
        const { sha256 } = call;
        await this.#request(context, () => this.#api.putObject({ key: full, body, sha256, ifAbsent: true, signal }));
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
      if (source.size > this.#settings.partBytes) return this.#putInParts(context, full, source, signal);
      return this.#parts.use(signal, async () => {
        const body = await readExactly(source, 0, source.size);
        await this.#request(context, () => this.#api.putObject({ key: full, body, ifAbsent: false, signal }));
      });
    });
  }

  async get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    const full = this.#full(key);
    checkGet(call);
    const { range } = call;
    const context = { url: this.url, operation: "get" as const, key };
    const header = range === undefined ? undefined : `bytes=${range.offset}-${range.offset + range.length - 1}`;
    let beyondEnd = false;
    const got = await download(
      { clock: this.#components.clock, transfer: this.#settings },
      context,
      call,
      async (signal) => {
        try {
          const answer = await this.#request(context, () => this.#api.getObject({ key: full, range: header, signal }));
          if (header === undefined || answer.ranged) return answer;
          answer.body.destroy();
          throw bucketError("BucketRequestInvalid", "invalid", context, "the store ignores ranges.", {
            hint: "This store lacks a feature that MetaMaster needs; use another.",
          });
        } catch (error) {
          beyondEnd = statusOf(error) === 416;
          if (beyondEnd || isAbsent(error)) return undefined;
          throw error;
        }
      },
    );
    return beyondEnd ? new Uint8Array() : got;
  }

  async head(key: string, call: CallOptions): Promise<number | undefined> {
    const full = this.#full(key);
    const context: ErrorContext = { url: this.url, operation: "head", key };
    return this.#run(context, call, this.#settings.callMs, async (signal) => {
      try {
        return await this.#request(context, () => this.#api.headObject(full, signal));
      } catch (error) {
        if (statusOf(error) !== 404) throw error;
      }
      // The answer to a HEAD has no body, so it can't tell an absent key from an absent bucket. That of a GET can.
      return this.#sizeByGet(context, full, signal);
    });
  }

  async list(prefix: string, call: ListOptions): Promise<ListPage> {
    this.#enter();
    checkKeyPrefix(prefix);
    const own = this.#settings.prefix;
    const startAfter = call.startAfter === undefined ? undefined : own + call.startAfter;
    const limit = listLimit(call);
    const context: ErrorContext = { url: this.url, operation: "list", key: prefix };
    return this.#run(context, call, this.#settings.callMs, async (signal) => {
      const request = { prefix: own + prefix, startAfter, limit, signal };
      const { objects, more } = await this.#request(context, () => this.#api.listObjects(request));
      return { objects: objects.map(({ key, size }) => ({ key: key.slice(own.length), size })), more };
    });
  }

  async delete(key: string, call: CallOptions): Promise<void> {
    const full = this.#full(key);
    const context: ErrorContext = { url: this.url, operation: "delete", key };
    await this.#run(context, call, this.#settings.callMs, async (signal) => {
      await this.#request(context, () => this.#api.deleteObject(full, signal)).catch((error: unknown) => {
        if (!isAbsent(error)) throw error;
      });
    });
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
    return withDeadline(this.#components.clock, limits, work);
  }

  /** One request; what it throws is an error of ours. */
  async #request<T>(context: ErrorContext, send: () => Promise<T>): Promise<T> {
    try {
      const answer = await send();
      this.#everAnswered = true;
      return answer;
    } catch (error) {
      if (error instanceof MetaMasterError) throw error;
      const failure = failureOf(error);
      throw storeError(this.#everAnswered ? laterFailure(failure) : failure, context);
    }
  }

  async #sizeByGet(context: ErrorContext, full: string, signal: AbortSignal): Promise<number | undefined> {
    try {
      const request = { key: full, range: "bytes=0-0", signal };
      const { body, total, length } = await this.#request(context, () => this.#api.getObject(request));
      body.destroy();
      return total ?? length;
    } catch (error) {
      if (statusOf(error) === 416) return 0;
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  async #putInParts(context: ErrorContext, full: string, source: ByteSource, signal: AbortSignal): Promise<void> {
    const id = await this.#request(context, () => this.#api.createUpload(full, signal));
    const upload: S3Upload = { key: full, id };
    try {
      const etags = await this.#sendParts(context, upload, source, signal);
      await this.#request(context, () => this.#api.completeUpload(upload, etags, signal));
    } catch (error) {
      this.#abandon(context, upload);
      throw error;
    }
  }

  async #sendParts(
    context: ErrorContext,
    upload: S3Upload,
    source: ByteSource,
    signal: AbortSignal,
  ): Promise<string[]> {
    const size = Math.max(this.#settings.partBytes, Math.ceil(source.size / partsMax));
    const count = Math.ceil(source.size / size);
    // The first part that fails for good stops the others.
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const etags: string[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < count) {
        const index = next++;
        const offset = index * size;
        etags[index] = await this.#parts.use(either, async () => {
          const body = await readExactly(source, offset, Math.min(size, source.size - offset));
          return this.#sendPart(context, upload, index + 1, body, either);
        });
      }
    };
    const workers = Array.from({ length: Math.min(count, this.#settings.parallelParts) }, worker);
    try {
      await Promise.all(workers);
      return etags;
    } catch (error) {
      stop.abort(error);
      await Promise.allSettled(workers);
      throw error;
    }
  }

  async #sendPart(
    context: ErrorContext,
    upload: S3Upload,
    part: number,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<string> {
    const info = {
      operation: "put" as const,
      key: `${context.key ?? ""} (part ${part})`,
      bytes: body.length,
      url: this.url,
    };
    const attemptMs = transferMs(this.#settings, body.length);
    const limits = { signal, attemptMs, totalMs: attemptMs + partTriesMs, hopeless: isUploadLost };
    return tryAgain(info, limits, this.#components, (ms) =>
      this.#run(context, { signal, deadlineMs: ms }, ms, (inner) =>
        this.#request(context, () => this.#api.uploadPart(upload, part, body, inner)),
      ),
    );
  }

  /** Parts of an unfinished upload cost money until somebody aborts it. Whoever waits for the put is not held up by that. */
  #abandon(context: ErrorContext, upload: S3Upload): void {
    const cleanup: Promise<void> = this.#run(context, {}, abortUploadMs, (signal) =>
      this.#request(context, () => this.#api.abortUpload(upload, signal)),
    )
      // The bucket's life cycle rule takes what is left (docs: AbortIncompleteMultipartUpload); the put's own error is what counts.
      .catch(() => undefined)
      .finally(() => this.#cleanups.delete(cleanup));
    this.#cleanups.add(cleanup);
  }
}

function statusOf(error: unknown): number | undefined {
  const status = error instanceof MetaMasterError ? error.details["status"] : undefined;
  return typeof status === "number" ? status : undefined;
}

/** No object there, though the bucket is. */
function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && hasCode(error, "BucketNotFound") && error.details["storeCode"] !== "NoSuchBucket";
}

function laterFailure(failure: StoreFailure): StoreFailure {
  return failure.code === "CredentialsProviderError" ? { ...failure, code: "CredentialsUnavailable" } : failure;
}
