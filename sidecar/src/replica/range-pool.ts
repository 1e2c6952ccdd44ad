/**
 * Bounds the bytes that are on their way or wait to be written: a place is held from before a range is asked for until its bytes are on
 * the disk. Places are given in the order of asking, so the earliest range of a file never waits for a later one.
 */
export class RangePool {
  readonly #places: number;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#places = places;
    this.#free = places;
  }

  get places(): number {
    return this.#places;
  }

  async take(): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
