import type { Clock } from "../../base/clock.js";

/** Stands still; a sleep lasts until `advance` has passed its end. */
export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #sleepers = new Set<{ untilMs: number; wake: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_800_000_000_000 + this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const sleeper = { untilMs: this.#nowMs + ms, wake: resolve };
      this.#sleepers.add(sleeper);
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  get sleeping(): number {
    return this.#sleepers.size;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const sleeper of this.#sleepers) {
      if (sleeper.untilMs > this.#nowMs) continue;
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
  }
}

/** Jumps to the end of every sleep that is longer than nothing, at once, and keeps a list of them. */
export class JumpingClock implements Clock {
  #nowMs = 0;
  readonly slept: number[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_800_000_000_000 + this.#nowMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.slept.push(ms);
    this.#nowMs += ms;
  }

  /** Time that passes in something else than a sleep. */
  spend(ms: number): void {
    this.#nowMs += ms;
  }
}
