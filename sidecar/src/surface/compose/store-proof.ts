import type { Clock } from "../../base/clock.js";
import { hasCode, isKind, messageOf, messageWithHint } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import type { Random } from "../../base/random.js";
import { probeBucket } from "../../bucket/probe.js";
import { Changes } from "../../base/changes.js";
import type { Proof } from "../../member/proof.js";
import { pause, pauseOrChange } from "../../base/scope.js";
import type { LoadedConfig } from "../config/load.js";
import type { Store } from "./store.js";

/** Of a processor's time a probe takes as much as a small restore, which goes first, also on a busy machine; a long one is not waited for. */
const HEAD_START_MS = 10_000;
const PAUSE_MS_MAX = 10_000;
const STEP_MS = 1000;

/** What is read again when it changes. */
interface Waiting {
  readonly bucket: Pick<LoadedConfig["config"]["bucket"], "caFile" | "credentialsDirectory">;
}

export interface StoreProofParts {
  readonly store: Pick<Store, "single" | "onRetry">;
  readonly config: Waiting;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The start-up probe, at the latest when somebody can't go on without it. */
export class StoreProof implements Proof {
  readonly #parts: StoreProofParts;
  readonly #asked = new Changes();
  readonly #changed = new Changes();
  #passed = false;
  /** What is waited for. */
  trouble: string | undefined;

  constructor(parts: StoreProofParts) {
    this.#parts = parts;
  }

  async within(ms: number, signal: AbortSignal): Promise<boolean> {
    const since = this.#changed.count;
    this.#asked.notify();
    if (!this.#passed) await pauseOrChange(this.#parts.clock, ms, { changes: this.#changed, since }, signal);
    signal.throwIfAborted();
    return this.#passed;
  }

  /** One probe, now, if none has passed; throws what it does. */
  async attempt(signal: AbortSignal): Promise<void> {
    if (this.#passed) return;
    const { store, clock, random, logger } = this.#parts;
    const report = await probeBucket(store.single, { clock, random, onRetry: store.onRetry }, signal);
    logger.info({ url: report.url, steps: report.steps.length }, `the bucket ${report.url} keeps its promises`);
    this.#passed = true;
    this.trouble = undefined;
    this.#changed.notify();
  }

  /**
   * Until it has passed or `signal` aborts. What waiting may cure is waited for, said each time; the rest is thrown. The bucket was found once, as a history was read from it: if it is
   * not there now, it is away.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, config } = this.#parts;
    if (!this.#passed) await pauseOrChange(clock, HEAD_START_MS, { changes: this.#asked, since: 0 }, signal);
    for (let tries = 1; !signal.aborted; tries += 1) {
      try {
        await this.attempt(signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (!mayCure(error, config) && !hasCode(error, "BucketNotFound")) throw error;
        this.trouble = messageWithHint(error);
        logger.warn({ err: error, tries }, `the bucket can't be reached yet: ${messageOf(error)}`);
        await pause(clock, pauseMsAfter(tries), signal);
      }
    }
  }
}

export function pauseMsAfter(tries: number): number {
  return Math.min(PAUSE_MS_MAX, STEP_MS * tries);
}

/** Might waiting help? Wrong files may be replaced where they are read again. */
export function mayCure(error: unknown, { bucket }: Waiting): boolean {
  if (isKind(error, "transient")) return true;
  if (bucket.caFile !== undefined && hasCode(error, "BucketTlsInvalid")) return true;
  return bucket.credentialsDirectory !== undefined && hasCode(error, "BucketAccessDenied");
}
