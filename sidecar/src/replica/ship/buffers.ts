/** Below it a fresh array costs less than keeping one. */
const POOLED_BYTES_MIN = 256 * 1024;

/** Lends large buffers again and again: shipping 100 MB/s must not make 100 MB/s of garbage. */
export class Buffers {
  readonly #bytesMax: number;
  readonly #free: Uint8Array[] = [];

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** `give` must be called once nobody reads the bytes any more. */
  take(length: number): { readonly bytes: Uint8Array; readonly give: () => void } {
    if (length < POOLED_BYTES_MIN || length > this.#bytesMax) {
      return { bytes: new Uint8Array(length), give: () => undefined };
    }
    const whole = this.#free.pop() ?? new Uint8Array(this.#bytesMax);
    return { bytes: whole.subarray(0, length), give: () => this.#free.push(whole) };
  }
}
