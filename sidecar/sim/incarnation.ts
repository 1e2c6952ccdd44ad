import type { Scheduler, Timer } from "./scheduler.js";

/** A promise that nobody will ever hear of again: what a dead process waits for. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => {});
}

/**
 * One run of one process, from its start to its death. Everything that a process is told (a timer, the end of a read, an answer of the bucket) goes
 * through `deliver` or `after`: a dead process is told nothing, a frozen one later, in the old order. Its code can't be stopped in the middle of a
 * microtask, but nothing that it then does has an effect: every component it holds asks `alive` first.
 */
export class Incarnation {
  readonly name: string;
  readonly #scheduler: Scheduler;
  #alive = true;
  #frozen = false;
  #deferred: (() => void)[] = [];
  #dyingAfter = Infinity;
  #die: () => void = () => {};

  constructor(scheduler: Scheduler, name: string) {
    this.#scheduler = scheduler;
    this.name = name;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  after(delayMs: number, action: () => void): Timer {
    return this.#scheduler.after(delayMs, () => this.deliver(action));
  }

  deliver(action: () => void): void {
    if (!this.#alive) return;
    if (this.#frozen) this.#deferred.push(action);
    else action();
  }

  /** For what a killed process does not do itself: its end is noticed. */
  afterDeath(delayMs: number, action: () => void): void {
    this.#scheduler.after(delayMs, action);
  }

  crash(): void {
    this.#alive = false;
    this.#deferred = [];
  }

  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const action of deferred) this.after(0, action);
  }

  /** `die` is called at the start of the `operations`-th operation from now on the disk or the bucket: a death between two system calls. */
  dieAtOperation(operations: number, die: () => void): void {
    this.#dyingAfter = operations;
    this.#die = die;
  }

  /** Every component calls it before it does anything. False: the process is dead, nothing may happen and nothing be answered. */
  enter(): boolean {
    if (this.#alive && --this.#dyingAfter < 0) {
      this.#dyingAfter = Infinity;
      this.#die();
    }
    return this.#alive;
  }
}
