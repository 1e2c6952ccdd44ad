import type { Clock } from "../../base/clock.js";
import { hasCode, messageWithHint } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import type { OwnPod, PodView } from "../../kube/own-pod.js";
import { Changes } from "../../base/changes.js";
import { codeOf } from "../../member/context.js";

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 10_000;
/** A right that is missing is given by a person. */
const REFUSED_MS_MAX = 60_000;
const WATCH_MS = 5 * 60_000;
/** Between two reads that find the pod gone. */
const GONE_AGAIN_MS = 2000;

interface PodWatchParts {
  readonly pod: Pick<OwnPod, "changes">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** There is no such pod any more, for certain: two reads said so, one after the other. */
  readonly onGone: () => void;
}

/** This pod's object as it was last seen: one watch for all who heed it. */
export class PodWatch {
  readonly changed = new Changes();
  readonly #parts: PodWatchParts;
  #view: PodView | undefined;

  constructor(parts: PodWatchParts) {
    this.#parts = parts;
  }

  /** Undefined: not seen yet. */
  get view(): PodView | undefined {
    return this.#view;
  }

  /** As it is and whenever it has changed; what comes while one is heeded is not queued: the last one is given next. Rejects with the signal's reason. */
  async *views(signal: AbortSignal): AsyncGenerator<PodView> {
    for (;;) {
      const since = this.changed.count;
      if (this.#view !== undefined) yield this.#view;
      while (this.changed.count === since) await this.changed.wait(signal);
    }
  }

  /** Until `signal` aborts, or the pod is gone. Never rejects. An API server that is away or refuses says nothing of the pod. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, onGone } = this.#parts;
    let pauseMs = PAUSE_MS_MIN;
    let isMissed = false;
    let told: string | undefined;
    while (!signal.aborted) {
      const sinceMs = clock.monotonicMs();
      try {
        const wasThere = await this.#heed(signal);
        if (isMissed && !wasThere) {
          onGone();
          return;
        }
        isMissed = true;
        await clock.sleep(GONE_AGAIN_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        isMissed = false;
        if (!hasCode(error, "KubeWatchExpired")) {
          const level = told === codeOf(error) ? "debug" : "warn";
          logger[level]({ err: error }, `this pod can't be watched, trying again: ${messageWithHint(error)}`);
          told = codeOf(error);
        }
        if (clock.monotonicMs() - sinceMs > PAUSE_MS_MAX) pauseMs = PAUSE_MS_MIN;
        await clock.sleep(pauseMs, signal).catch(() => undefined);
        pauseMs = Math.min(hasCode(error, "KubeAccessDenied") ? REFUSED_MS_MAX : PAUSE_MS_MAX, 2 * pauseMs);
      }
    }
  }

  /** Until it is found gone. False: it was not there from the beginning. */
  async #heed(signal: AbortSignal): Promise<boolean> {
    let wasThere = false;
    for await (const view of this.#parts.pod.changes(WATCH_MS, signal)) {
      if (view === undefined) break;
      wasThere = true;
      this.#view = view;
      this.changed.notify();
    }
    return wasThere;
  }
}
