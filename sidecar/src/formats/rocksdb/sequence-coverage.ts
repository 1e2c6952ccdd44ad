const INTERVALS_MAX = 10_000;

/** Which sequence numbers WAL records account for; adjacent ranges become one. Beyond its bound the oldest are forgotten: not covered. */
export class SequenceCoverage {
  /** Ascending, disjoint, never adjacent. */
  readonly #ranges: { first: bigint; last: bigint }[] = [];

  add(first: bigint, last: bigint): void {
    if (last < first) return;
    let at = this.#ranges.length;
    while (at > 0 && this.#ranges[at - 1]!.last + 1n >= first) at--;
    const merged = { first, last };
    let taken = 0;
    for (; at + taken < this.#ranges.length; taken++) {
      const range = this.#ranges[at + taken]!;
      if (range.first > last + 1n) break;
      if (range.first < merged.first) merged.first = range.first;
      if (range.last > merged.last) merged.last = range.last;
    }
    this.#ranges.splice(at, taken, merged);
    if (this.#ranges.length > INTERVALS_MAX) this.#ranges.shift();
  }

  covers(first: bigint, last: bigint): boolean {
    return this.#ranges.some((range) => range.first <= first && last <= range.last);
  }

  /** Nothing is known any more: after a gap, or a reopen that reuses numbers. */
  clear(): void {
    this.#ranges.length = 0;
  }
}
