import { finished, type Readable } from "node:stream";
import type { Clock } from "../base/clock.js";
import { release } from "../base/release.js";
import { received } from "../base/young-generation.js";
import type { GetOptions } from "./bucket.js";
import { withDeadline } from "../base/deadline.js";
import { bucketError, bucketSlowBody, bucketTimeout, objectTooLarge, type ErrorContext } from "./errors.js";
import { failureOf, storeError } from "./store-errors.js";
import { transferMs, type TransferSettings } from "./transfer.js";

export interface Download {
  /** Of the body, if the store said so. */
  readonly length: number | undefined;
  readonly body: Readable;
}

export interface DownloadComponents {
  readonly clock: Clock;
  readonly transfer: TransferSettings;
}

/**
 * The body that `open` gives, whole, or undefined if `open` finds none. An answer must begin within `callMs`, and its body must come at
 * `minBytesPerSecond`. The body is read to its end or destroyed, whatever happens: one that is neither holds its socket for ever.
 */
export async function download(
  { clock, transfer }: DownloadComponents,
  context: ErrorContext & { readonly key: string },
  call: GetOptions,
  open: (signal: AbortSignal) => Promise<Download | undefined>,
): Promise<Uint8Array | undefined> {
  const { signal, deadlineMs, maxBytes } = call;
  const startMs = clock.monotonicMs();
  const headMs = Math.min(deadlineMs ?? Infinity, transfer.callMs);
  const late = (): Error => bucketTimeout(context, headMs);
  const found = await withDeadline(clock, { signal, ms: headMs, late }, async (inner) => {
    const answer = await open(inner);
    // Nobody waits for it any more.
    if (inner.aborted) answer?.body.destroy();
    return answer;
  });
  if (found === undefined) return undefined;
  const { body, length } = found;
  // A body that breaks after we let go of it must not become an unhandled error.
  body.on("error", () => undefined);
  try {
    if (length !== undefined && length > maxBytes) throw objectTooLarge(context.url, context.key, length, maxBytes);
    const bodyMs = transferMs(transfer, length ?? maxBytes);
    const leftMs = deadlineMs === undefined ? bodyMs : Math.max(1, deadlineMs - (clock.monotonicMs() - startMs));
    const progress = { got: 0 };
    const slow = (): Error => bucketSlowBody(context, progress.got, length ?? maxBytes, leftMs);
    return await withDeadline(clock, { signal, ms: leftMs, late: slow }, () =>
      length === undefined
        ? collectUnknown(body, context, maxBytes, progress)
        : collect(body, context, length, progress),
    );
  } finally {
    if (!body.readableEnded) body.destroy();
  }
}

async function collect(
  body: Readable,
  context: ErrorContext,
  length: number,
  progress: { got: number },
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await eachChunk(body, context, (chunk) => {
    if (progress.got + chunk.length > length) throw brokenBody(context, `more than the ${length} bytes announced`);
    bytes.set(chunk, progress.got);
    progress.got += chunk.length;
    release(chunk);
  });
  if (progress.got !== length) throw brokenBody(context, `${progress.got} of ${length} bytes`);
  return bytes;
}

async function collectUnknown(
  body: Readable,
  context: ErrorContext & { readonly key: string },
  maxBytes: number,
  progress: { got: number },
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  await eachChunk(body, context, (chunk) => {
    progress.got += chunk.length;
    if (progress.got > maxBytes) throw objectTooLarge(context.url, context.key, progress.got, maxBytes);
    chunks.push(chunk);
  });
  return new Uint8Array(Buffer.concat(chunks));
}

/** By events: an iterator's promises for each of 64 KiB cost as much as the copying. What `take` throws ends it. */
function eachChunk(body: Readable, context: ErrorContext, take: (chunk: Uint8Array) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  body.on("data", (chunk: Uint8Array) => {
    try {
      received(chunk.length);
      take(chunk);
    } catch (error) {
      reject(error);
      body.destroy();
    }
  });
  // Also told of what ended before we came.
  finished(body, { writable: false }, (error) => {
    if (error === undefined || error === null) resolve();
    else reject(storeError({ ...failureOf(error), status: undefined }, context));
  });
  return promise;
}

function brokenBody(context: ErrorContext, got: string): Error {
  return bucketError("BucketUnavailable", "transient", context, `the connection ended after ${got}.`, {
    hint: "It is tried again. If it lasts: something between here and the store cuts connections.",
  });
}
