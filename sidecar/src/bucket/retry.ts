import type { Clock } from "../base/clock.js";
import { MetaMasterError, isKind } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket } from "./bucket.js";
import { transferDefaults, transferMs, type TransferSettings } from "./transfer.js";
import { WrappedBucket, type CallInfo } from "./wrapped-bucket.js";

export interface RetryPolicy {
  /** The deadline of one try: it grows with the bytes it moves. */
  readonly attempt: TransferSettings;
  /** For all tries and pauses of a call without a deadline of its own, milliseconds, besides the time of two slowest transfers. */
  readonly totalMs: number;
  /** The pause after the n-th try is uniform in [0, min(maxPauseMs, firstPauseMs * 2^n)] ("full jitter"). */
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
}

const retryDefaults: RetryPolicy = {
  attempt: { ...transferDefaults, callMs: 10_000 },
  totalMs: 60_000,
  firstPauseMs: 50,
  maxPauseMs: 5_000,
};

export interface Retry extends CallInfo {
  readonly url: string;
  /** 1 for the first failure. */
  readonly attempt: number;
  readonly pauseMs: number;
  readonly error: MetaMasterError;
}

export interface RetryComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly policy?: RetryPolicy | undefined;
  /** Told of every try that failed and is followed by another. */
  readonly onRetry: (retry: Retry) => void;
}

/**
 * A bucket whose calls are tried again after transient errors, within their deadline (`deadlineMs` is for all tries together). What is put
 * is the same bytes every time, so `putIfAbsent` is safe to repeat, but its `exists` may then be our own earlier try: the caller compares.
 */
export function retrying(bucket: Bucket, components: RetryComponents): Bucket {
  const { policy = retryDefaults } = components;
  return new WrappedBucket(bucket, (info, call, work) => {
    const attemptMs = transferMs(policy.attempt, info.bytes);
    const totalMs = call.deadlineMs ?? policy.totalMs + 2 * (attemptMs - policy.attempt.callMs);
    const limits = { signal: call.signal, attemptMs, totalMs };
    return tryAgain({ ...info, url: bucket.url }, limits, components, (deadlineMs) =>
      work({ signal: call.signal, deadlineMs }),
    );
  });
}

export interface TryLimits {
  readonly signal: AbortSignal | undefined;
  readonly attemptMs: number;
  readonly totalMs: number;
  /** Transient for the caller, but of no use to try here again. */
  readonly hopeless?: (error: MetaMasterError) => boolean;
}

/** `work` until it succeeds, fails for good, or the time is over; it is given the milliseconds of each try. */
export async function tryAgain<T>(
  info: CallInfo & { readonly url: string },
  { signal, attemptMs, totalMs, hopeless = () => false }: TryLimits,
  { clock, random, onRetry, policy = retryDefaults }: RetryComponents,
  work: (deadlineMs: number) => Promise<T>,
): Promise<T> {
  const startMs = clock.monotonicMs();
  for (let attempt = 1; ; attempt++) {
    const leftMs = startMs + totalMs - clock.monotonicMs();
    try {
      return await work(Math.max(1, Math.min(attemptMs, leftMs)));
    } catch (error) {
      signal?.throwIfAborted();
      if (!isKind(error, "transient") || hopeless(error)) throw error;
      const pauseMs = random.float() * Math.min(policy.maxPauseMs, policy.firstPauseMs * 2 ** (attempt - 1));
      const spentMs = clock.monotonicMs() - startMs;
      if (spentMs + pauseMs >= totalMs) throw givenUp(error, attempt, spentMs);
      onRetry({ ...info, attempt, pauseMs, error });
      await clock.sleep(pauseMs, signal);
    }
  }
}

function givenUp(error: MetaMasterError, attempts: number, spentMs: number): MetaMasterError {
  const tries = attempts === 1 ? "one try" : `${attempts} tries`;
  return new MetaMasterError(
    error.code,
    error.kind,
    `${error.message} Given up after ${tries} in ${Math.round(spentMs)} ms.`,
    {
      cause: error,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      details: { ...error.details, attempts, spentMs: Math.round(spentMs) },
    },
  );
}
