import type { Random } from "../base/random.js";

/** Growing pauses with jitter, from `minMs` to `maxMs`; back to the start after a success. */
export class Backoff {
  readonly #random: Random;
  readonly #limits: { readonly minMs: number; readonly maxMs: number };
  #tries = 0;

  constructor(random: Random, limits: { readonly minMs: number; readonly maxMs: number }) {
    this.#random = random;
    this.#limits = limits;
  }

  nextMs(): number {
    const { minMs, maxMs } = this.#limits;
    const ceilingMs = Math.min(maxMs, minMs * 2 ** Math.min(this.#tries++, 30));
    return ceilingMs * (0.5 + this.#random.float() / 2);
  }

  reset(): void {
    this.#tries = 0;
  }
}
