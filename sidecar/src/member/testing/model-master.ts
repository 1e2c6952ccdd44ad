import type { Clock } from "../../base/clock.js";
import { MetaMasterError } from "../../base/errors.js";
import type { Master, MasterExit } from "../master/master.js";
import { pause, Scope } from "../../base/scope.js";

/** A master as values: what a test makes of it. Its watchdog kills it when the lease runs out. */
export class ModelMaster implements Master {
  readonly #clock: Clock;
  #exited = Promise.withResolvers<MasterExit>();
  #watchdog = new Scope();
  #deadlineMs = Infinity;
  running = false;
  /** What start does: throws, or the process ends by itself after some time. */
  startError: Error | undefined;
  hindrance: Error | undefined;
  crashAfterMs: number | undefined;
  openMs = 100;
  stopMs = 20;
  sick = false;
  immortal = false;
  starts = 0;
  readonly epochs: number[] = [];
  /** Monotonic times at which it was seen to end, and how. */
  readonly ends: { readonly atMs: number; readonly exit: MasterExit }[] = [];
  onStart: () => void = () => {};
  /** What it does last when it is stopped gently. */
  onStop: () => void = () => {};
  #startedMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    // It does not run.
    this.#exited.resolve({ code: undefined, signal: undefined });
  }

  async start(epoch: number, leaseMs: number): Promise<void> {
    if (this.running) throw new Error("runs already");
    this.starts += 1;
    this.epochs.push(epoch);
    this.onStart();
    if (this.startError !== undefined) throw this.startError;
    this.running = true;
    this.#startedMs = this.#clock.monotonicMs();
    this.#exited = Promise.withResolvers();
    this.extend(this.#startedMs, leaseMs);
    if (this.crashAfterMs !== undefined) {
      void this.#clock.sleep(this.crashAfterMs).then(() => this.crash({ code: 1, signal: undefined }));
    }
  }

  extend(fromMs: number, leaseMs: number): void {
    if (!this.running) return;
    this.#watchdog.abort(new Error("extended"));
    this.#deadlineMs = fromMs + leaseMs;
    if (this.#deadlineMs === Infinity) return;
    const scope = new Scope();
    this.#watchdog = scope;
    this.#clock.sleep(Math.max(0, this.#deadlineMs - this.#clock.monotonicMs()), scope.signal).then(
      () => this.crash({ code: undefined, signal: "SIGKILL" }),
      () => undefined,
    );
  }

  async healthy(signal: AbortSignal): Promise<{ readonly ok: boolean; readonly reason: string }> {
    await this.#clock.sleep(1, signal);
    if (this.#clock.monotonicMs() - this.#startedMs < this.openMs) return { ok: false, reason: "opening" };
    return this.sick ? { ok: false, reason: "sick" } : { ok: true, reason: "well" };
  }

  exited(): Promise<MasterExit> {
    return this.#exited.promise;
  }

  async stop(how: {
    readonly graceMs: number;
    readonly killWithinMs: number;
    readonly hurry?: AbortSignal;
  }): Promise<MasterExit> {
    if (!this.running) return await this.#exited.promise;
    const rest = new Scope(...(how.hurry === undefined ? [] : [how.hurry]));
    const unhurried = await pause(this.#clock, Math.min(this.stopMs, how.graceMs), rest.signal);
    rest.close();
    if (unhurried && this.stopMs <= how.graceMs) {
      this.onStop();
      this.crash({ code: 0, signal: undefined });
    } else await this.kill(how.killWithinMs);
    return await this.#exited.promise;
  }

  async kill(withinMs: number): Promise<void> {
    if (!this.running) return;
    if (this.immortal) {
      await this.#clock.sleep(withinMs);
      throw new MetaMasterError("MasterWillNotDie", "transient", "still there");
    }
    await this.#clock.sleep(5);
    this.crash({ code: undefined, signal: "SIGKILL" });
  }

  crash(exit: MasterExit): void {
    if (!this.running || this.immortal) return;
    this.running = false;
    this.#watchdog.abort(new Error("ended"));
    this.ends.push({ atMs: this.#clock.monotonicMs(), exit });
    this.#exited.resolve(exit);
  }
}
