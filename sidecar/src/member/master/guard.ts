import { spawn, type ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../../base/clock.js";
import { MetaMasterError } from "../../base/errors.js";
import { uptimeHundredths } from "./uptime.js";
import { guardMessageBytes, guardScript } from "./guard-script.js";

/** A deadline that moves by less than this part of the lease isn't worth the processes of a new timer; the watchdog is early by as much. */
const worthOfLease = 0.05;

/** The watchdog process of one run of the master. */
export class Guard {
  readonly #clock: Clock;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly ready: Promise<void>;
  /** Resolves when the watchdog has ended, whoever ended it. */
  readonly ended: Promise<void>;
  #deadlineMs = -Infinity;

  constructor(clock: Clock, group: number) {
    this.#clock = clock;
    // A session of its own: neither a terminal's signals nor those to the sidecar's group reach it.
    this.#child = spawn("/bin/sh", ["-c", guardScript, "metamaster-guard", `${group}`], {
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
      cwd: "/",
    });
    const ended = Promise.withResolvers<void>();
    const ready = Promise.withResolvers<void>();
    const fail = (message: string): void =>
      ready.reject(
        new MetaMasterError("MasterStartFailed", "transient", `the watchdog could not be started: ${message}`),
      );
    this.#child.on("error", (error) => {
      fail(error.message);
      ended.resolve();
    });
    this.#child.on("exit", (code, signal) => {
      fail(`it ended at once (${signal ?? code})`);
      // What it was waiting with ends with the pipe.
      this.#child.stdin.destroy();
      ended.resolve();
    });
    this.#child.stdout.setEncoding("utf8");
    this.#child.stdout.once("data", (said: string) => {
      if (said.startsWith("ready")) ready.resolve();
      else fail(said.trim());
    });
    // Its end of the pipe is gone: `ended` says so.
    this.#child.stdin.on("error", () => undefined);
    ready.promise.catch(() => undefined);
    this.ready = ready.promise;
    this.ended = ended.promise;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Infinity: as long as this process lives. */
  extend(deadlineMs: number, leaseMs: number): void {
    if (deadlineMs === Infinity) {
      this.#deadlineMs = deadlineMs;
      this.#say("forever");
      return;
    }
    const wasForever = this.#deadlineMs === Infinity;
    if (!wasForever && deadlineMs < this.#deadlineMs + leaseMs * worthOfLease) return;
    this.#deadlineMs = deadlineMs;
    // In this order: if this process is frozen between the two, the deadline comes out too early, never too late.
    const uptime = uptimeHundredths();
    const leftMs = deadlineMs - this.#clock.monotonicMs();
    this.#say(`until ${Math.max(0, uptime + Math.floor(leftMs / 10))}`);
  }

  /** The group is gone. */
  leave(): void {
    this.#say("end");
    this.#child.stdin.end();
  }

  #say(line: string): void {
    if (this.#child.stdin.writable) this.#child.stdin.write(line.padEnd(guardMessageBytes));
  }
}
