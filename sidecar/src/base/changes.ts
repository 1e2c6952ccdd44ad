/** Wakes everybody who waits, once per `notify`. */
export class Changes {
  #waiters = new Set<() => void>();
  #count = 0;

  /** How often it was notified: taken before a look, it lets a wait see what came during the look. */
  get count(): number {
    return this.#count;
  }

  notify(): void {
    this.#count += 1;
    const waiters = this.#waiters;
    this.#waiters = new Set();
    for (const wake of waiters) wake();
  }

  /** Until the next `notify`; rejects with the signal's reason and then leaves nothing behind. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const wake = (): void => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const onAbort = (): void => {
        this.#waiters.delete(wake);
        reject(signal.reason);
      };
      this.#waiters.add(wake);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }
}
