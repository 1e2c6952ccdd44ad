import type { Clock } from "../src/base/clock.js";
import type { Proof } from "../src/member/proof.js";
import type { SeededRandom } from "./random.js";

/** The start-up probe of a simulated process: now and then it takes until after the disk is ready. */
export class SimulatedProof implements Proof {
  readonly #clock: Clock;
  readonly #atMs: number;

  constructor(clock: Clock, random: SeededRandom, leaseMs: number) {
    this.#clock = clock;
    this.#atMs = clock.monotonicMs() + (random.chance(0.3) ? 2 * leaseMs * random.float() : 0);
  }

  get passed(): boolean {
    return this.#clock.monotonicMs() >= this.#atMs;
  }

  async within(ms: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const leftMs = this.#atMs - this.#clock.monotonicMs();
    if (leftMs > 0) await this.#clock.sleep(Math.min(ms, leftMs), signal);
    return this.passed;
  }
}
