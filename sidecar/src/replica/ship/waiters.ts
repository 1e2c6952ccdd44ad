import type { Clock } from "../../base/clock.js";

/** One caller; a caller who gave up is no longer `open`. */
export interface Waiter<T> {
  open: boolean;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** Callers that one round serves together. */
export type Batch<T> = readonly Waiter<T>[];

export interface Served<T> {
  readonly value: T;
  readonly waitedMs: number;
}

/** Callers that wait for the same thing: one round serves all that had asked before it began. */
export class Waiters<T> {
  readonly #clock: Clock;
  #waiting: Waiter<T>[] = [];
  #reach: { readonly count: number; readonly reached: () => void } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get any(): boolean {
    return this.#waiting.some(({ open }) => open);
  }

  get count(): number {
    return this.#waiting.length;
  }

  /** Calls `reached` once, when so many wait (more than now). A later call takes its place. */
  onReach(count: number, reached: () => void): void {
    this.#reach = { count, reached };
  }

  /** Rejects with the signal's reason when it aborts; nobody else is touched by that. */
  wait(signal: AbortSignal): Promise<Served<T>> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const sinceMs = this.#clock.monotonicMs();
    const { promise, resolve, reject } = Promise.withResolvers<Served<T>>();
    const waiter: Waiter<T> = {
      open: true,
      resolve: (value) => resolve({ value, waitedMs: this.#clock.monotonicMs() - sinceMs }),
      reject,
    };
    const onAbort = (): void => {
      waiter.open = false;
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.push(waiter);
    if (this.#reach !== undefined && this.#waiting.length >= this.#reach.count) {
      this.#reach.reached();
      this.#reach = undefined;
    }
    return promise.finally(() => signal.removeEventListener("abort", onAbort));
  }

  /** Takes all who wait now; whoever takes them settles them or puts them back. */
  take(): Batch<T> {
    const batch = this.#waiting.filter(({ open }) => open);
    this.#waiting = [];
    return batch;
  }

  putBack(batch: Batch<T>): void {
    this.#waiting.push(...batch.filter(({ open }) => open));
  }
}

export function resolveAll<T>(batch: Batch<T>, value: T): void {
  for (const waiter of batch) waiter.resolve(value);
}

export function rejectAll<T>(batch: Batch<T>, error: unknown): void {
  for (const waiter of batch) waiter.reject(error);
}
