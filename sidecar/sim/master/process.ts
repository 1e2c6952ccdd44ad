import { hasCode } from "../../src/base/errors.js";
import type { MasterExit } from "../../src/member/master/master.js";
import type { Incarnation } from "../incarnation.js";
import type { SeededRandom } from "../random.js";
import { Violation } from "../violation.js";
import type { Step } from "./files.js";
import type { Workload } from "./workload.js";

export interface ProcessSettings {
  readonly writeEveryMs: number;
  readonly jobEveryMs: number;
  /** Between two steps of one piece of work, at most. */
  readonly stepMsMax: number;
  /** Share of the writes after which the barrier is asked. */
  readonly barrierShare: number;
  /** From SIGTERM to the end. */
  readonly stopMsMax: number;
  /** Memory is flushed before a graceful end. */
  readonly flushesOnStop: boolean;
}

export interface ProcessParts {
  readonly incarnation: Incarnation;
  readonly random: SeededRandom;
  readonly workload: Workload;
  /** True: no more rows and no more work, it only lives on. */
  readonly quiet: () => boolean;
  /** True: every write asks for a barrier, so that the wait for acknowledgements doesn't hang on chance. */
  readonly asksAlways: () => boolean;
  /** Asks the sidecar; rejects with its reason. */
  readonly barrier: () => Promise<void>;
  readonly acknowledged: (row: number) => void;
  readonly report: (error: unknown) => void;
  readonly onExit: (exit: MasterExit) => void;
}

/** One run of the model master: opens, writes rows, works in the background, until it is told to end, killed, or its disk is full. */
export class MasterProcess {
  readonly #settings: ProcessSettings;
  readonly #parts: ProcessParts;
  #exit: MasterExit | undefined;
  #ending = false;
  /** Something in the background is under way; two such things would meet in one MANIFEST. */
  #working = true;
  #writing = false;
  /** The health check fails; `writes`: it goes on writing all the same. */
  hung: "no" | "silent" | "writes" = "no";
  /** A SIGKILL takes so long to work, as with a process in uninterruptible sleep. It writes nothing meanwhile. */
  dyingMs = 0;

  constructor(settings: ProcessSettings, parts: ProcessParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#drive(parts.workload.open(), () => {
      this.#working = false;
      this.#writeSoon();
      this.#workSoon();
    });
  }

  get exit(): MasterExit | undefined {
    return this.#exit;
  }

  get healthy(): boolean {
    return this.#exit === undefined && this.hung === "no" && this.#parts.workload.opened;
  }

  get written(): number {
    return this.#parts.workload.written;
  }

  /** Nothing is being written, and nothing will be while it is to be quiet. */
  get settled(): boolean {
    return this.#idle && !this.#working && !this.#writing;
  }

  get #idle(): boolean {
    return this.hung === "silent" || this.#parts.quiet();
  }

  /** SIGKILL. */
  kill(): void {
    if (this.#exit !== undefined || !this.#parts.incarnation.alive) return;
    const { incarnation } = this.#parts;
    const end = (): void => this.#end({ code: undefined, signal: "SIGKILL" });
    if (this.dyingMs > 0) incarnation.afterDeath(this.dyingMs, end);
    incarnation.crash();
    if (this.dyingMs === 0) end();
  }

  /** SIGTERM. */
  terminate(): void {
    if (this.#exit !== undefined || this.#ending) return;
    this.#ending = true;
    const { incarnation, random, workload } = this.#parts;
    const done = (): void => {
      incarnation.crash();
      this.#end({ code: 0, signal: undefined });
    };
    const stop = (): void => {
      if (!this.#settings.flushesOnStop) done();
      else if (this.#working) incarnation.after(1, stop);
      else this.#drive(workload.close(), done);
    };
    incarnation.after(random.float() * this.#settings.stopMsMax, stop);
  }

  #end(exit: MasterExit): void {
    if (this.#exit !== undefined) return;
    this.#exit = exit;
    this.#parts.onExit(exit);
  }

  #writeSoon(): void {
    const { incarnation, random } = this.#parts;
    incarnation.after(random.float() * 2 * this.#settings.writeEveryMs, () => {
      if (this.#ending) return;
      if (this.#idle) this.#writeSoon();
      else {
        this.#writing = true;
        this.#drive(this.#parts.workload.write(), () => {
          this.#writing = false;
          if (random.chance(this.#settings.barrierShare) || this.#parts.asksAlways()) this.#barrier();
          this.#writeSoon();
        });
      }
    });
  }

  #workSoon(): void {
    const { incarnation, random } = this.#parts;
    incarnation.after(random.float() * 2 * this.#settings.jobEveryMs, () => {
      if (this.#ending) return;
      if (this.#idle) this.#workSoon();
      else {
        this.#working = true;
        this.#drive(this.#parts.workload.job(), () => {
          this.#working = false;
          this.#workSoon();
        });
      }
    });
  }

  #barrier(): void {
    const { incarnation, workload, acknowledged, report } = this.#parts;
    const row = workload.written;
    this.#parts.barrier().then(
      () =>
        incarnation.deliver(() => {
          try {
            acknowledged(row);
          } catch (error) {
            report(error);
          }
        }),
      // Not acknowledged: the client is told that its write may be lost.
      () => undefined,
    );
  }

  /** Runs `work` to its end, with time passing between its steps. */
  #drive(work: Step, done: () => void): void {
    const { incarnation, random, report } = this.#parts;
    const next = (): void => {
      try {
        if (work.next().done === true) done();
        else incarnation.after(random.float() * this.#settings.stepMsMax, next);
      } catch (error) {
        if (error instanceof Violation || !hasCode(error, "DiskFull")) report(error);
        incarnation.crash();
        this.#end({ code: 1, signal: undefined });
      }
    };
    incarnation.after(random.float() * this.#settings.stepMsMax, next);
  }
}
