/** Enough for a lag of minutes at one look a second. */
const LOOKS_MAX = 300;

interface Look {
  readonly atMs: number;
  readonly slot: number;
}

/** How far a standby is behind in seconds: since when the primary has been beyond its slot. As fine as the looks are. */
export class LagClock {
  readonly #nowMs: () => number;
  #looks: Look[] = [];

  /** Monotonic ms. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The primary's durable slot, as of now. */
  primaryAt(slot: number): void {
    const last = this.#looks.at(-1);
    // Another history, or another primary that is not so far: what was seen of the one before says nothing.
    if (last !== undefined && slot < last.slot) this.#looks = [];
    if (this.#looks.at(-1)?.slot === slot) return;
    this.#looks.push({ atMs: this.#nowMs(), slot });
    if (this.#looks.length > LOOKS_MAX) this.#looks.shift();
  }

  /** Undefined: nothing is known of a primary, or it has been behind for longer than is remembered. */
  secondsBehind(slot: number): number | undefined {
    const beyond = this.#looks.findIndex((look) => look.slot > slot);
    if (beyond < 0) return this.#looks.length === 0 ? undefined : 0;
    const since = this.#looks[beyond];
    // It was behind before the first look that is remembered: for how long is not known.
    if (since === undefined || beyond === 0) return undefined;
    return Math.round((this.#nowMs() - since.atMs) / 100) / 10;
  }

  /** Where `secondsBehind` is not known: for as long as is remembered, at the least. Undefined: it is not behind, or nothing is known of a primary. */
  atLeastBehind(slot: number): number | undefined {
    const first = this.#looks[0];
    return first === undefined || first.slot <= slot ? undefined : (this.#nowMs() - first.atMs) / 1000;
  }
}
