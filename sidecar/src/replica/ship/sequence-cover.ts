/** Ranges kept apart; beyond, the lowest are forgotten, which can only make an edit look binding. */
const RANGES_MAX = 10_000;

interface Range {
  readonly first: bigint;
  last: bigint;
}

/** Which sequence numbers the WALs were seen to hold: what a flush writes to a table is in the WAL too only if all of it is covered. */
export class SequenceCover {
  #ranges: Range[] = [];

  /** In ascending order, as WALs are read. */
  add(first: bigint, last: bigint): void {
    const end = this.#ranges.at(-1);
    if (end !== undefined && first <= end.last + 1n && first >= end.first) {
      if (last > end.last) end.last = last;
      return;
    }
    if (end !== undefined && first < end.first) {
      // Sequences went back (a reopen after a power failure): what was known of those from here on is void.
      this.#ranges = this.#ranges.filter((range) => range.first < first);
      const cut = this.#ranges.at(-1);
      if (cut !== undefined && cut.last >= first) cut.last = first - 1n;
      return this.add(first, last);
    }
    this.#ranges.push({ first, last });
    if (this.#ranges.length > RANGES_MAX) this.#ranges.shift();
  }

  covers(first: bigint, last: bigint): boolean {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]!.last < first) low = middle + 1;
      else high = middle;
    }
    const range = this.#ranges[low];
    return range !== undefined && range.first <= first && last <= range.last;
  }

  clear(): void {
    this.#ranges = [];
  }
}
