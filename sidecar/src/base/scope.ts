import { NO_LONGER, type Clock } from "./clock.js";
import { MetaMasterError } from "./errors.js";
import type { Changes } from "./changes.js";

/** A signal that aborts with its parents or by itself. `close` when done, so that long-lived parents keep no listener. */
export class Scope {
  readonly #controller = new AbortController();
  readonly #parents: readonly AbortSignal[];
  readonly #onAbort: () => void;

  constructor(...parents: readonly AbortSignal[]) {
    this.#parents = parents;
    this.#onAbort = () => this.abort(parents.find((parent) => parent.aborted)?.reason);
    for (const parent of parents) {
      if (parent.aborted) this.abort(parent.reason);
      else parent.addEventListener("abort", this.#onAbort, { once: true });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.close();
    if (!this.#controller.signal.aborted) this.#controller.abort(reason);
  }

  close(): void {
    for (const parent of this.#parents) parent.removeEventListener("abort", this.#onAbort);
  }
}

/** Settles as `promise`, or rejects with the signal's reason if that comes first; what `promise` does after that is dropped. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: cut, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, cut]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Sleeps; returns false instead of throwing when aborted. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(ms, signal);
    return !signal.aborted;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

export interface DeadlineOptions {
  readonly clock: Clock;
  readonly ms: number;
  readonly signal: AbortSignal;
  /** Names the work in the error. */
  readonly what: string;
}

/** Runs `work` with a signal that aborts after `ms`: then rejects with `DeadlineExceeded` (transient) without waiting for `work` to notice. */
export async function within<T>(options: DeadlineOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, ms, signal, what } = options;
  signal.throwIfAborted();
  const scope = new Scope(signal);
  const timer = new AbortController();
  clock.sleep(ms, timer.signal).then(
    () =>
      scope.abort(
        new MetaMasterError("DeadlineExceeded", "transient", `${what} took longer than ${Math.round(ms)} ms`, {
          details: { what, ms: Math.round(ms) },
        }),
      ),
    // Only our own abort below ends it early.
    () => undefined,
  );
  try {
    return await untilAborted(work(scope.signal), scope.signal);
  } finally {
    timer.abort(NO_LONGER);
    scope.close();
  }
}

export interface ChangesSince {
  readonly changes: Changes;
  /** Its count when the caller began to look: a notification since then ends the pause at once. */
  readonly since: number;
}

/** Sleeps until `ms` are over, there was a change or `signal` aborts; never throws for an abort. */
export async function pauseOrChange(
  clock: Clock,
  ms: number,
  { changes, since }: ChangesSince,
  signal: AbortSignal,
): Promise<void> {
  if (changes.count !== since) return;
  const scope = new Scope(signal);
  try {
    await Promise.race([
      pause(clock, ms, scope.signal),
      changes.wait(scope.signal).catch((error: unknown) => {
        if (!scope.signal.aborted) throw error;
      }),
    ]);
  } finally {
    scope.abort(new Error("over"));
  }
}
