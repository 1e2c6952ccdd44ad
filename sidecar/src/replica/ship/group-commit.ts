import type { Clock } from "../../base/clock.js";
import type { Waiters } from "./waiters.js";
import { Wakeup } from "./wakeup.js";

/** How much of a put's time the first caller may be kept waiting for the others. */
const WAIT_SHARE = 0.75;
const WAIT_MS_MAX = 50;
/** Waited in vain: so many groups go without waiting, twice as many each time. */
const PASS_MAX = 8;
/** Weight of the newest put in the average. */
const NEWEST = 0.2;

/**
 * Callers that were answered together ask again almost together (each does its next write). A round begun by the first of them would
 * serve that one, and all others would wait for two puts instead of one. So the first waits a little for as many as were served last
 * and wait already (PostgreSQL's commit_delay is the same thought). A lone caller never waits; and where callers don't come in step, so
 * that it was in vain, it is tried less and less.
 */
export class GroupCommit {
  readonly #clock: Clock;
  readonly #waiters: Waiters<unknown>;
  #expected = 0;
  #putMs = 0;
  #passes = 0;
  #toPass = 0;

  constructor(clock: Clock, waiters: Waiters<unknown>) {
    this.#clock = clock;
    this.#waiters = waiters;
  }

  /** An entry took so long from its first try until it was durable, milliseconds. */
  putTook(ms: number): void {
    this.#putMs += (ms - this.#putMs) * NEWEST;
  }

  /** So many callers are about to be answered. */
  answering(callers: number): void {
    this.#expected = callers + this.#waiters.count;
  }

  get expectsMore(): boolean {
    return this.#waiters.count < this.#expected;
  }

  async gather(signal: AbortSignal): Promise<void> {
    const waitMs = Math.min(WAIT_MS_MAX, this.#putMs * WAIT_SHARE);
    if (!this.expectsMore || waitMs === 0) return;
    if (this.#toPass > 0) {
      this.#toPass--;
      return;
    }
    const all = new Wakeup(this.#clock);
    this.#waiters.onReach(this.#expected, () => all.wake());
    await all.sleep(waitMs, signal);
    this.#passes = this.expectsMore ? Math.min(PASS_MAX, Math.max(1, this.#passes * 2)) : 0;
    this.#toPass = this.#passes;
  }
}
