const MS_MIN = 500;
const MS_MAX = 60_000;

interface Known {
  readonly what: string;
  readonly why: string;
  readonly atMs: number;
  readonly pauseMs: number;
}

/** What the API server has refused is asked of it again ever less often, and at once where it is something else by now. What can be done without it goes on meanwhile. */
export class RefusedPause {
  #known: Known | undefined;

  /** Why it is not to be asked for yet; undefined: it is. Monotonic ms. */
  heldBack(what: string, nowMs: number): string | undefined {
    return this.#known?.what === what && nowMs - this.#known.atMs < this.#known.pauseMs ? this.#known.why : undefined;
  }

  /** True: it had not been refused before, or for another reason. */
  refused(what: string, why: string, nowMs: number): boolean {
    const isNews = this.#known?.what !== what || this.#known.why !== why;
    const pauseMs = this.#known?.what === what ? Math.min(MS_MAX, 2 * this.#known.pauseMs) : MS_MIN;
    this.#known = { what, why, atMs: nowMs, pauseMs };
    return isNews;
  }

  /** It was not refused, or is not asked for any more. */
  taken(): void {
    this.#known = undefined;
  }

  /** Until it is asked for again. */
  leftMs(nowMs: number): number {
    return this.#known === undefined ? Infinity : Math.max(0, this.#known.atMs + this.#known.pauseMs - nowMs);
  }
}
