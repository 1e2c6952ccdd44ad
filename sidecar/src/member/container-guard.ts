import { spawn, type ChildProcessByStdio } from "node:child_process";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import type { BarredDatabase } from "./lock-bar.js";
import { uptimeHundredths } from "./uptime.js";

export interface ContainerGuardSettings {
  readonly databases: readonly BarredDatabase[];
  readonly shelf: string;
}

const main = fileURLToPath(new URL("container-guard-main.js", import.meta.url));
/** It does next to nothing: the smallest heap that V8 takes. */
const flags = ["--max-old-space-size=16", "--max-semi-space-size=1", "--no-warnings"];

/**
 * The watchdog of a master in a container of its own: a process beside this one that puts the bar on the LOCKs and kills who holds them unless it is told in time that leadership
 * goes on. So a sidecar that hangs, is stopped or dies leaves no master running past its lease.
 */
export class ContainerGuard {
  readonly #settings: ContainerGuardSettings;
  readonly #clock: Clock;
  readonly #program: string;
  #child: ChildProcessByStdio<Writable, null, null> | undefined;
  #deadlineMs: number | undefined;
  #launching: Promise<void> | undefined;

  /** `program`: the watchdog's own, as `make build` makes it. */
  constructor(settings: ContainerGuardSettings, clock: Clock, program: string = main) {
    this.#settings = settings;
    this.#clock = clock;
    this.#program = program;
  }

  /** Monotonic ms. Rejects with `MasterStartFailed` if there can be no watchdog. */
  async extend(deadlineMs: number): Promise<void> {
    this.#deadlineMs = deadlineMs;
    if (this.#child === undefined) {
      // One, however many extend it meanwhile: another one would never hear of a later deadline.
      this.#launching ??= this.#launch().finally(() => (this.#launching = undefined));
      await this.#launching;
    }
    if (this.#deadlineMs === undefined) return;
    // In this order: if this process is frozen between the two, the deadline comes out too early, never too late.
    const uptime = uptimeHundredths();
    const leftMs = this.#deadlineMs - this.#clock.monotonicMs();
    this.#say(`until ${Math.max(0, uptime + Math.floor(leftMs / 10))}`);
  }

  rest(): void {
    this.#deadlineMs = undefined;
    this.#say("rest");
  }

  /** Nothing of the master is left, or is to be watched any longer. */
  leave(): void {
    this.#say("end");
    this.#child?.stdin.end();
    this.#child = undefined;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async #launch(): Promise<void> {
    const child = spawn(process.execPath, [...flags, this.#program, JSON.stringify(this.#settings)], {
      stdio: ["pipe", "ignore", "inherit"],
      cwd: "/",
      env: {},
    });
    // Its end of the pipe is gone: its exit says so.
    child.stdin.on("error", () => undefined);
    child.on("exit", () => {
      if (this.#child === child) this.#child = undefined;
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) =>
        reject(
          new MetaMasterError("MasterStartFailed", "transient", `the watchdog could not be started: ${error.message}`),
        ),
      );
    });
    this.#child = child;
  }

  /** `until N`: once /proc/uptime reads N hundredths of a second; `rest`: nobody runs; `end`: leave. The pipe's end without that is this process's death. */
  #say(message: string): void {
    if (this.#child?.stdin.writable === true) this.#child.stdin.write(`${message}\n`);
  }
}
