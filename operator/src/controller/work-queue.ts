import { clearTimeout, setTimeout } from "node:timers";

export interface WorkQueueSettings {
  /** Keys worked on at a time; one key never twice. */
  readonly parallel: number;
  /** After a failure; doubled with each that follows, up to the most. */
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
}

/** What becomes of a key after its work: looked at again after this long; undefined: when something changes. */
export type Again = number | undefined;

/**
 * Keys that need work. One that is added while it waits is in it once, one that is added while it is worked on is worked on once more afterwards. What fails comes again after a pause of its own.
 */
export class WorkQueue {
  readonly #settings: WorkQueueSettings;
  readonly #work: (key: string) => Promise<Again>;
  readonly #onFailure: (key: string, error: unknown, failures: number) => void;
  readonly #waiting = new Set<string>();
  readonly #busy = new Map<string, Promise<void>>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #failures = new Map<string, number>();
  #stopped = false;

  constructor(
    settings: WorkQueueSettings,
    work: (key: string) => Promise<Again>,
    onFailure: (key: string, error: unknown, failures: number) => void,
  ) {
    this.#settings = settings;
    this.#work = work;
    this.#onFailure = onFailure;
  }

  get depth(): number {
    return this.#waiting.size + this.#busy.size;
  }

  /** Something changed: a pause after a failure is kept, anything later is not. */
  add(key: string): void {
    if (this.#stopped || (this.#failures.has(key) && this.#timers.has(key))) return;
    this.#clear(key);
    this.#waiting.add(key);
    this.#next();
  }

  /** Resolves once nothing is worked on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#waiting.clear();
    for (const key of this.#timers.keys()) this.#clear(key);
    await Promise.all(this.#busy.values());
  }

  #next(): void {
    for (const key of this.#waiting) {
      if (this.#busy.size >= this.#settings.parallel) return;
      if (this.#busy.has(key)) continue;
      this.#waiting.delete(key);
      this.#busy.set(key, this.#do(key));
    }
  }

  async #do(key: string): Promise<void> {
    // The caller must have noted that it is busy first.
    await Promise.resolve();
    try {
      const again = await this.#work(key);
      this.#failures.delete(key);
      if (again !== undefined) this.#later(key, again);
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      const { backoffMsMin, backoffMsMax } = this.#settings;
      this.#later(key, Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(failures - 1, 20)));
      this.#onFailure(key, error, failures);
    } finally {
      this.#busy.delete(key);
      this.#next();
    }
  }

  #later(key: string, ms: number): void {
    if (this.#stopped || this.#waiting.has(key)) return;
    this.#clear(key);
    const due = (): void => {
      this.#timers.delete(key);
      this.#waiting.add(key);
      this.#next();
    };
    this.#timers.set(key, setTimeout(due, ms));
  }

  #clear(key: string): void {
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
  }
}
