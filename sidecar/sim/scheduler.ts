/** Virtual time in milliseconds and one queue of events for everything that runs in a simulation. */
export interface Timer {
  cancel(): void;
}

class Event implements Timer {
  readonly timeMs: number;
  readonly order: number;
  action: (() => void) | undefined;

  constructor(timeMs: number, order: number, action: () => void) {
    this.timeMs = timeMs;
    this.order = order;
    this.action = action;
  }

  cancel(): void {
    this.action = undefined;
  }
}

function before(a: Event, b: Event): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.order < b.order);
}

export type RunEnd =
  /** `until` said so. */
  | "done"
  /** Nothing is left to happen. */
  | "idle"
  /** Virtual time ran out. */
  | "late"
  /** Too many events: something spins. */
  | "runaway";

export interface RunLimits {
  /** Absolute virtual time. */
  readonly untilMs: number;
  readonly steps: number;
}

/** Microtasks are drained by Node between two immediates of one batch; a batch saves a turn of the event loop for each. */
const batchSize = 32;

/**
 * Events run one at a time, by time and then by the order in which they were asked for; all microtasks that one sets off end before the
 * next begins. So a run depends on nothing but its seed.
 */
export class Scheduler {
  #nowMs = 0;
  #order = 0;
  #steps = 0;
  readonly #heap: Event[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  get steps(): number {
    return this.#steps;
  }

  after(delayMs: number, action: () => void): Timer {
    const event = new Event(this.#nowMs + Math.max(0, delayMs), this.#order++, action);
    this.#push(event);
    return event;
  }

  /** `afterEach` is called between events, when no microtask is left. Rejects with what an event, `afterEach` or `until` throws. */
  run(until: () => boolean, limits: RunLimits, afterEach: () => void = () => {}): Promise<RunEnd> {
    return new Promise((resolve, reject) => {
      let stopped = false;
      let left = limits.steps;
      const step = (last: boolean): void => {
        if (stopped) return;
        try {
          const end = this.#step(until, limits.untilMs, afterEach, left--);
          if (end !== undefined) {
            stopped = true;
            resolve(end);
          } else if (last) batch();
        } catch (error) {
          stopped = true;
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      const batch = (): void => {
        for (let index = 1; index <= batchSize; index++) setImmediate(step, index === batchSize);
      };
      batch();
    });
  }

  #step(until: () => boolean, untilMs: number, afterEach: () => void, left: number): RunEnd | undefined {
    afterEach();
    if (until()) return "done";
    let event = this.#heap[0];
    while (event !== undefined && event.action === undefined) {
      this.#pop();
      event = this.#heap[0];
    }
    if (event?.action === undefined) return "idle";
    if (event.timeMs > untilMs) {
      this.#nowMs = untilMs;
      return "late";
    }
    if (left <= 0) return "runaway";
    this.#pop();
    this.#nowMs = event.timeMs;
    this.#steps++;
    const { action } = event;
    event.action = undefined;
    action();
    return undefined;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const up = (index - 1) >>> 1;
      const parent = heap[up];
      if (parent === undefined || !before(event, parent)) break;
      heap[index] = parent;
      index = up;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      let least = heap[child];
      if (least === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && before(right, least)) {
        child++;
        least = right;
      }
      if (!before(least, last)) break;
      heap[index] = least;
      index = child;
    }
    heap[index] = last;
  }
}
