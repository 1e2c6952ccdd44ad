/** Marks kept; older ones are merged, which can only make the lag look longer. */
const MARKS_MAX = 256;

interface Mark {
  /** Bytes ever seen, when this was seen. */
  readonly seen: number;
  readonly atMs: number;
}

/** How much of what was seen on the disk is not durable yet, and since when. Counts are cumulative over all WALs. */
export class Lag {
  #marks: Mark[] = [];
  #seen = 0;
  #durable = 0;

  /** `bytes` more were seen on the disk. */
  saw(bytes: number, atMs: number): void {
    if (bytes <= 0) return;
    this.#seen += bytes;
    this.#marks.push({ seen: this.#seen, atMs });
    // Keeping the older time of a pair never understates the age.
    if (this.#marks.length > MARKS_MAX) {
      this.#marks = this.#marks.flatMap((mark, index) => {
        const next = this.#marks[index + 1];
        if (index % 2 === 1) return [];
        return [{ seen: next?.seen ?? mark.seen, atMs: mark.atMs }];
      });
    }
  }

  /** `bytes` more are durable, or need not be any more (their WAL is covered by a checkpoint). */
  settled(bytes: number): void {
    this.#durable = Math.min(this.#seen, this.#durable + bytes);
    let first = this.#marks[0];
    while (first !== undefined && first.seen <= this.#durable) {
      this.#marks.shift();
      first = this.#marks[0];
    }
  }

  get bytes(): number {
    return this.#seen - this.#durable;
  }

  /** Seconds since the oldest byte that is not durable was first seen. */
  seconds(nowMs: number): number {
    const first = this.#marks[0];
    return first === undefined ? 0 : Math.max(0, nowMs - first.atMs) / 1000;
  }
}
