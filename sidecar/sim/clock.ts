import type { Clock } from "../src/base/clock.js";
import { never, type Incarnation } from "./incarnation.js";
import type { Scheduler } from "./scheduler.js";

export interface MachineClockSettings {
  /** Monotonic milliseconds at virtual time 0: every machine counts from its own boot. */
  readonly bootMs: number;
  /** How much faster than virtual time it runs, e.g. 0.0005. */
  readonly drift: number;
  readonly wallOffsetMs: number;
}

const epochMs = Date.UTC(2026, 0, 1);

/** The clock of one machine: its monotonic time may run a little fast or slow, its wall time may be stepped. */
export class MachineClock {
  readonly #scheduler: Scheduler;
  readonly #settings: MachineClockSettings;
  #wallStepMs = 0;

  constructor(scheduler: Scheduler, settings: MachineClockSettings) {
    this.#scheduler = scheduler;
    this.#settings = settings;
  }

  monotonicMs(): number {
    return this.#settings.bootMs + this.#scheduler.nowMs * (1 + this.#settings.drift);
  }

  wallMs(): number {
    return Math.floor(epochMs + this.#scheduler.nowMs + this.#settings.wallOffsetMs + this.#wallStepMs);
  }

  stepWall(byMs: number): void {
    this.#wallStepMs += byMs;
  }

  /** Milliseconds of this machine as virtual ones. */
  virtualMs(machineMs: number): number {
    return machineMs / (1 + this.#settings.drift);
  }
}

/** A machine's clock as one process on it sees it. */
export class SimulatedClock implements Clock {
  readonly #machine: MachineClock;
  readonly #incarnation: Incarnation;

  constructor(machine: MachineClock, incarnation: Incarnation) {
    this.#machine = machine;
    this.#incarnation = incarnation;
  }

  monotonicMs(): number {
    return this.#machine.monotonicMs();
  }

  wallMs(): number {
    return this.#machine.wallMs();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (!this.#incarnation.alive) return never();
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = this.#incarnation.after(this.#machine.virtualMs(ms), () => {
        signal?.removeEventListener("abort", onAbort);
        // While this event waited behind a freeze the signal may have been aborted: the promise is settled then, which is fine.
        resolve();
      });
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}
