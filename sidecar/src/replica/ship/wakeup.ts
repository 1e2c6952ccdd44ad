import { NO_LONGER, type Clock } from "../../base/clock.js";

/** A sleep that others can cut short. A wake while nobody sleeps is kept for the next sleep. */
export class Wakeup {
  readonly #clock: Clock;
  #pending = false;
  #sleeper: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    this.#pending = true;
    this.#sleeper?.abort(NO_LONGER);
  }

  /** True if woken, false if `ms` passed. Rejects with the signal's reason. One sleeper at a time. */
  async sleep(ms: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (!this.#pending && ms > 0) {
      const sleeper = new AbortController();
      this.#sleeper = sleeper;
      try {
        await this.#clock.sleep(ms, AbortSignal.any([signal, sleeper.signal]));
      } catch (error) {
        if (!sleeper.signal.aborted || signal.aborted) throw error;
      } finally {
        this.#sleeper = undefined;
      }
    }
    const woken = this.#pending;
    this.#pending = false;
    return woken;
  }
}
