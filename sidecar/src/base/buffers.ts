/** Below it a fresh array costs less than keeping one. */
const POOLED_BYTES_MIN = 256 * 1024;

/** Bytes on loan. */
export interface Loan {
  readonly bytes: Uint8Array;
  /** To be called once, when nobody reads the bytes any more: the next one who asks writes over them. */
  readonly give: () => void;
}

/**
 * Lends large buffers again and again. V8 counts what lies outside its heap late and collects all of the heap for it: shipping 100 MB/s must not
 * make 100 MB/s of garbage.
 */
export class Buffers {
  readonly #bytesMax: number;
  readonly #pooledBytesMin: number;
  readonly #free: Uint8Array[] = [];

  constructor(bytesMax: number, pooledBytesMin: number = POOLED_BYTES_MIN) {
    this.#bytesMax = bytesMax;
    this.#pooledBytesMin = pooledBytesMin;
  }

  /** `length` bytes that hold anything. What is not given back is garbage like any other array. */
  take(length: number): Loan {
    if (length < this.#pooledBytesMin || length > this.#bytesMax) {
      return { bytes: new Uint8Array(length), give: () => undefined };
    }
    const whole = this.#free.pop() ?? new Uint8Array(this.#bytesMax);
    return { bytes: whole.subarray(0, length), give: () => this.#free.push(whole) };
  }
}
