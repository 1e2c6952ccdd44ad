/** Two buffers of one length. */
export type Scratch = readonly [Uint8Array, Uint8Array];

interface Step {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly read: Promise<void>;
}

/** Reads forwards up to a limit in steps, one read at a time: the next step while the caller works on this one. */
export class ReadAhead {
  readonly #scratch: Scratch;
  readonly #limit: number;
  readonly #readAt: (target: Uint8Array, offset: number) => Promise<void>;
  #next: Step | undefined;

  constructor(scratch: Scratch, limit: number, readAt: (target: Uint8Array, offset: number) => Promise<void>) {
    this.#scratch = scratch;
    this.#limit = limit;
    this.#readAt = readAt;
  }

  /** The bytes from `offset` on, good until the call after the next; none at the limit. Throws what the read throws. */
  async at(offset: number): Promise<Uint8Array> {
    const guess = this.#next;
    this.#next = undefined;
    // A wrong guess is waited for, whatever came of it: its memory is needed.
    if (guess !== undefined && guess.offset !== offset) await guess.read.catch(() => undefined);
    const step = guess?.offset === offset ? guess : this.#step(offset, this.#scratch[0]);
    await step.read;
    const { bytes } = step;
    const behind = offset + bytes.length;
    const other = bytes.buffer === this.#scratch[0].buffer ? this.#scratch[1] : this.#scratch[0];
    if (bytes.length > 0 && behind < this.#limit) this.#next = this.#step(behind, other);
    return bytes;
  }

  /** Nothing is read any more. */
  async end(): Promise<void> {
    await this.#next?.read.catch(() => undefined);
  }

  #step(offset: number, memory: Uint8Array): Step {
    const bytes = memory.subarray(0, Math.max(0, Math.min(memory.length, this.#limit - offset)));
    const read = bytes.length === 0 ? Promise.resolve() : this.#readAt(bytes, offset);
    // Reported to whoever asks for this step.
    read.catch(() => undefined);
    return { offset, bytes, read };
  }
}
