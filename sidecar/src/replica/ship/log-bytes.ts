/** Bytes of the log by slot, for the newest slots that this epoch wrote. */
export class LogBytes {
  readonly #slotsMax: number;
  /** Bytes of all entries from the first that was told through this slot; every slot from the oldest to the newest is there. */
  readonly #through = new Map<number, number>();
  #last: number | undefined;
  #total = 0;

  constructor(slotsMax: number) {
    this.#slotsMax = slotsMax;
  }

  /** In the order of the slots; one that is left out counts nothing. */
  wrote(slot: number, bytes: number): void {
    for (let between = this.#last ?? slot - 1; between < slot; between++) this.#set(between, this.#total);
    this.#total += bytes;
    this.#set(slot, this.#total);
    this.#last = slot;
  }

  /** Bytes from `slot` to the end; Infinity if that goes back further than what is known. */
  since(slot: number): number {
    if (this.#last !== undefined && slot > this.#last) return 0;
    const before = this.#through.get(slot - 1);
    return before === undefined ? Infinity : this.#total - before;
  }

  #set(slot: number, bytes: number): void {
    this.#through.set(slot, bytes);
    const [oldest] = this.#through.keys();
    if (this.#through.size > this.#slotsMax && oldest !== undefined) this.#through.delete(oldest);
  }
}
