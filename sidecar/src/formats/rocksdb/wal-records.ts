const START_CAPACITY = 64;
const HIGH = 2 ** 32;
const noFloats = new Float64Array(0);
const noIntegers = new Uint32Array(0);

/** The whole logical records that one feed completed, column by column: at two million records a second an object each costs too much. */
export class WalRecords {
  #length = 0;
  #ends = noFloats;
  #sequencesLow = noIntegers;
  #sequencesHigh = noIntegers;
  #counts = noIntegers;
  #sizes = noFloats;

  get length(): number {
    return this.#length;
  }

  /** File offset right after the record. */
  end(index: number): number {
    return this.#at(this.#ends, index);
  }

  /** Sequence number in the batch's header. */
  sequence(index: number): bigint {
    return (BigInt(this.#at(this.#sequencesHigh, index)) << 32n) | BigInt(this.#at(this.#sequencesLow, index));
  }

  /** Operations that the batch's header announces. */
  count(index: number): number {
    return this.#at(this.#counts, index);
  }

  /** The payload's bytes as they are in the file (compressed, in a compressed WAL). */
  size(index: number): number {
    return this.#at(this.#sizes, index);
  }

  /**
   * The last sequence number the record can have used; at least `sequence` - 1 for an empty batch's. With two-phase commit a prepare uses none
   * of those it counts, so this is an upper bound.
   */
  lastSequence(index: number): bigint {
    const count = this.count(index);
    return count === 0 ? this.sequence(index) : this.sequence(index) + BigInt(count) - 1n;
  }

  /** The end of the last record that ends at or before `offset`; undefined if none does. */
  lastEndWithin(offset: number): number | undefined {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.end(middle) <= offset) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? undefined : this.end(low - 1);
  }

  push(end: number, sequenceLow: number, sequenceHigh: number, count: number, size: number): void {
    if (this.#length === this.#ends.length) this.#grow();
    const index = this.#length++;
    this.#ends[index] = end;
    this.#sequencesLow[index] = sequenceLow;
    this.#sequencesHigh[index] = sequenceHigh;
    this.#counts[index] = count;
    this.#sizes[index] = size;
  }

  /** Comparable without a bigint: exact up to 2^53, monotonic above. */
  approximateSequence(index: number): number {
    return this.#at(this.#sequencesHigh, index) * HIGH + this.#at(this.#sequencesLow, index);
  }

  #at(column: Float64Array | Uint32Array, index: number): number {
    if (index < 0 || index >= this.#length) throw new RangeError(`record ${index} of ${this.#length}`);
    return column[index]!;
  }

  #grow(): void {
    const capacity = Math.max(START_CAPACITY, this.#length * 4);
    this.#ends = grown(this.#ends, new Float64Array(capacity));
    this.#sequencesLow = grown(this.#sequencesLow, new Uint32Array(capacity));
    this.#sequencesHigh = grown(this.#sequencesHigh, new Uint32Array(capacity));
    this.#counts = grown(this.#counts, new Uint32Array(capacity));
    this.#sizes = grown(this.#sizes, new Float64Array(capacity));
  }
}

function grown<T extends Float64Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
