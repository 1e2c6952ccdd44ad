import type { EventReader, PodOwner } from "../kube/events.js";
import type { Logger } from "../log.js";

/** So long the controller of a StatefulSet or a Job may take. */
const PATIENCE_MS = 5000;
const AGAIN_MS = 15_000;

/**
 * Pods that are wanted and not there. The API server checks the template of a StatefulSet or a Job only when pods are made of it: what it then refuses (a field, the namespace's Pod Security, a quota) stands in an
 * event of their owner and nowhere else. Asked for now and then, while pods are missing.
 */
export class MissingPods {
  readonly #events: Pick<EventReader, "podRefusal">;
  readonly #clocks: Clocks;
  readonly #logger: Logger;
  #sinceMs: number | undefined;
  #lookedMs = -Infinity;
  #why: string | undefined;

  constructor(events: Pick<EventReader, "podRefusal">, clocks: Clocks, logger: Logger) {
    this.#events = events;
    this.#clocks = clocks;
    this.#logger = logger;
  }

  /** Why they are missing, of whom; undefined: nothing says why. Asked with nobody: none is missing. */
  async look(owner: PodOwner | undefined): Promise<string | undefined> {
    const nowMs = this.#clocks.monotonicMs();
    if (owner === undefined) {
      this.#sinceMs = undefined;
      this.#why = undefined;
      return undefined;
    }
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs < PATIENCE_MS || nowMs - this.#lookedMs < AGAIN_MS) return this.#why;
    this.#lookedMs = nowMs;
    try {
      this.#why = await this.#events.podRefusal(owner, this.#clocks.wallMs());
    } catch (error) {
      this.#logger.warn({ err: error, ...owner }, "why pods are missing could not be looked up");
    }
    return this.#why;
  }
}

interface Clocks {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
}
