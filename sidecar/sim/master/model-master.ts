import { MetaMasterError } from "../../src/base/errors.js";
import type { Master, MasterExit } from "../../src/member/master/master.js";
import type { MachineClock } from "../clock.js";
import { never, type Incarnation } from "../incarnation.js";
import type { SeededRandom } from "../random.js";
import type { Timer } from "../scheduler.js";
import type { MasterProcess } from "./process.js";

export interface ModelMasterParts {
  /** The sidecar's. */
  readonly incarnation: Incarnation;
  readonly machine: MachineClock;
  readonly random: SeededRandom;
  /** Lives and stands still with the machine, not with the sidecar. */
  readonly watchdog: Incarnation;
  readonly spawn: (epoch: number, onExit: (exit: MasterExit) => void) => MasterProcess;
}

/** The master as its sidecar sees it: a child with a watchdog in between that needs nobody's help to kill it in time. */
export class ModelMaster implements Master {
  readonly hindrance = undefined;
  readonly #parts: ModelMasterParts;
  #process: MasterProcess | undefined;
  #exit: MasterExit = { code: undefined, signal: undefined };
  #waiting: ((exit: MasterExit) => void)[] = [];
  #timer: Timer | undefined;
  #deadlineMs = -Infinity;

  constructor(parts: ModelMasterParts) {
    this.#parts = parts;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  async start(epoch: number, leaseMs: number): Promise<void> {
    const { incarnation, machine, spawn } = this.#parts;
    if (!incarnation.alive) return never();
    if (this.#process !== undefined) throw new Error("the master runs already");
    this.#deadlineMs = machine.monotonicMs() + leaseMs;
    this.#process = spawn(epoch, (exit) => {
      this.#process = undefined;
      this.#exit = exit;
      this.#timer?.cancel();
      const waiting = this.#waiting;
      this.#waiting = [];
      incarnation.deliver(() => {
        for (const tell of waiting) tell(exit);
      });
    });
    this.#arm();
    await this.#after(1);
  }

  extend(fromMs: number, leaseMs: number): void {
    if (!this.#parts.incarnation.alive || this.#process === undefined) return;
    this.#deadlineMs = fromMs + leaseMs;
    this.#arm();
  }

  async healthy(_signal: AbortSignal): Promise<{ readonly ok: boolean; readonly reason: string }> {
    await this.#after(this.#parts.random.float() * 2);
    const process = this.#process;
    if (process === undefined) return { ok: false, reason: "not running" };
    return process.healthy ? { ok: true, reason: "answers" } : { ok: false, reason: "does not answer" };
  }

  exited(): Promise<MasterExit> {
    if (!this.#parts.incarnation.alive) return never();
    if (this.#process === undefined) return Promise.resolve(this.#exit);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async stop(how: {
    readonly graceMs: number;
    readonly killWithinMs: number;
    readonly hurry?: AbortSignal;
  }): Promise<MasterExit> {
    if (!this.#parts.incarnation.alive) return never();
    const process = this.#process;
    if (process === undefined) return this.#exit;
    process.terminate();
    const hurried = new Promise<void>((resolve) => {
      if (how.hurry?.aborted === true) resolve();
      else how.hurry?.addEventListener("abort", () => resolve(), { once: true });
    });
    const exited = this.exited();
    await Promise.race([exited, this.#after(how.graceMs), hurried]);
    if (this.#process === process) await this.kill(how.killWithinMs);
    return this.#exit;
  }

  async kill(withinMs: number): Promise<void> {
    if (!this.#parts.incarnation.alive) return never();
    const process = this.#process;
    if (process === undefined) return;
    process.kill();
    const exited = this.exited();
    await Promise.race([exited, this.#after(withinMs)]);
    if (this.#process === process) {
      throw new MetaMasterError(
        "MasterWillNotDie",
        "transient",
        `the master did not end within ${withinMs} ms of SIGKILL`,
      );
    }
  }

  /** The sidecar is gone: the end of its pipe is all that the watchdog needs to know. */
  sidecarDied(): void {
    this.#timer?.cancel();
    const process = this.#process;
    if (process !== undefined) this.#parts.watchdog.after(this.#parts.random.float() * 5, () => process.kill());
  }

  #arm(): void {
    this.#timer?.cancel();
    const { machine, watchdog } = this.#parts;
    if (this.#deadlineMs === Infinity) return;
    const leftMs = machine.virtualMs(this.#deadlineMs - machine.monotonicMs());
    this.#timer = watchdog.after(leftMs, () => this.#process?.kill());
  }

  #after(ms: number): Promise<void> {
    const { incarnation, machine } = this.#parts;
    return new Promise((resolve) => incarnation.after(machine.virtualMs(ms), resolve));
  }
}
