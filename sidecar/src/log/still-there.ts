import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import type { Bucket } from "../bucket/bucket.js";
import { checkStillThere } from "./cluster-identity.js";
import type { Appended, Claim, ClusterIdentity, Draft, LogWriter } from "./log.js";
import { WrappedLogWriter } from "./wrapped-log-writer.js";

/** A purge deletes nothing before it has waited for so long behind its fence, at least: by then every put that was under way has landed. */
export const SETTLE_MS_MIN = 40_000;
/** Of whom nothing was durable for so long, a whole purge may have passed by: shorter than the former, by what clocks may differ. */
const SILENCE_MS = 30_000;
const PAUSE_MS = 500;
/** For so long a look that fails is tried again before a claim that was won is given up for it. */
const CLAIM_MS = 5000;
/** What the identity says of itself. Everything else, wrong credentials as well, says nothing of the cluster and passes. */
const GONE: readonly string[] = ["ClusterDeleted", "ForeignCluster", "FormatTooNew"];

export interface StillThereParts {
  readonly bucket: Bucket;
  readonly clock: Clock;
  readonly cluster: ClusterIdentity;
  /** For tests. */
  readonly silenceMs?: number;
}

/**
 * A put-if-absent proves nothing in a log that was emptied: the end that would have stopped it is gone, too. So a member that slept, or was cut off, while its cluster was
 * deleted looks at the identity, which a purge replaces before it deletes anything. Before a claim, to leave nothing there; after it was won, since it may have been long on
 * its way; and after an append that ends a long silence. Then claim and append throw what `checkStillThere` does.
 */
export function whereStillThere(parts: StillThereParts, claim: Claim): Claim {
  const { bucket, cluster } = parts;
  return async (end, epoch, signal) => {
    await checkStillThere(bucket, cluster, signal);
    const result = await claim(end, epoch, signal);
    if (result.outcome === "lost") return result;
    await lookAfterClaim(parts, signal);
    return { ...result, writer: new StillThereWriter(parts, result.writer) };
  };
}

/** One answer that was lost must not cost what was won: seen in the log it is a sign of life, which this very member would wait out. */
async function lookAfterClaim({ bucket, cluster, clock }: StillThereParts, signal: AbortSignal): Promise<void> {
  const untilMs = clock.monotonicMs() + CLAIM_MS;
  for (;;) {
    try {
      return await checkStillThere(bucket, cluster, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!mayPass(error) || clock.monotonicMs() >= untilMs) throw error;
      await clock.sleep(PAUSE_MS, signal);
    }
  }
}

function isGone(error: unknown): error is MetaMasterError {
  return error instanceof MetaMasterError && GONE.includes(error.code);
}

function mayPass(error: unknown): error is MetaMasterError {
  return error instanceof MetaMasterError && !isGone(error);
}

class StillThereWriter extends WrappedLogWriter {
  readonly #parts: StillThereParts;
  readonly #silenceMs: number;
  /** The sending of the last entry that is durable in a history that was there. */
  #knownMs: number;
  #lookedMs = -Infinity;
  #gone: Error | undefined;
  /** Why what is in the log is not known to be in a history that is still there. */
  #trouble: Error | undefined;

  constructor(parts: StillThereParts, writer: LogWriter) {
    super(writer);
    this.#parts = parts;
    this.#silenceMs = parts.silenceMs ?? SILENCE_MS;
    this.#knownMs = writer.lastSentMs;
  }

  override get fenced(): Error | undefined {
    return this.#gone ?? this.inner.fenced;
  }

  override get trouble(): Error | undefined {
    return this.#trouble ?? this.inner.trouble;
  }

  override async append(draft: Draft, signal: AbortSignal): Promise<Appended> {
    if (this.#gone !== undefined) throw this.#gone;
    const appended = await this.inner.append(draft, signal);
    while (this.#isSilent()) {
      try {
        await this.#look(signal);
        break;
      } catch (error) {
        signal.throwIfAborted();
        if (!mayPass(error)) throw error;
        this.#trouble = error;
        await this.#parts.clock.sleep(PAUSE_MS, signal);
      }
    }
    this.#knownMs = Math.max(this.#knownMs, appended.sentMs);
    return appended;
  }

  /** Also where nothing is written for long: nothing in the next slot is no proof either. */
  override async checkFence(signal: AbortSignal): Promise<void> {
    if (this.#gone !== undefined) throw this.#gone;
    await this.inner.checkFence(signal);
    if (this.#isSilent() && this.#parts.clock.monotonicMs() - this.#lookedMs > this.#silenceMs)
      await this.#look(signal);
  }

  #isSilent(): boolean {
    return this.#parts.clock.monotonicMs() - this.#knownMs > this.#silenceMs;
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { bucket, cluster, clock } = this.#parts;
    const sentMs = clock.monotonicMs();
    try {
      await checkStillThere(bucket, cluster, signal);
    } catch (error) {
      if (isGone(error)) this.#gone ??= error;
      throw error;
    }
    this.#trouble = undefined;
    this.#lookedMs = sentMs;
  }
}
