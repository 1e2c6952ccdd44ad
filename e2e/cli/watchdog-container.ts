import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { METAMASTER, until, type MemberProcess } from "./member-process.js";

const RESTART_MS = 100;

/** `metamaster watchdog` beside a member's sidecar, as a kubelet runs it: started again whenever it ends. */
export class WatchdogContainer {
  readonly #member: MemberProcess;
  #child: ChildProcess | undefined;
  #isOver = false;
  #running: Promise<void>;

  constructor(member: MemberProcess) {
    this.#member = member;
    this.#running = this.#run();
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Killed, and not started again before `start`. */
  async end(): Promise<void> {
    this.#isOver = true;
    this.#child?.kill("SIGKILL");
    await this.#running;
  }

  start(): void {
    this.#isOver = false;
    this.#running = this.#run();
  }

  /** As in a pod that is deleted: told to end, after the sidecar. */
  async stop(): Promise<number | null> {
    this.#isOver = true;
    const child = this.#child;
    child?.kill("SIGTERM");
    await this.#running;
    return child?.exitCode ?? null;
  }

  /** Its sidecar missed it, and has found another one. */
  async isHeardAgain(): Promise<void> {
    await until(
      "the sidecar hears its watchdog again",
      async () => (this.#member.said.includes("the watchdog is there again") ? true : undefined),
      () => this.#member.said,
    );
  }

  async #run(): Promise<void> {
    const { data, database, watchdogSocket, log } = this.#member;
    const options = [`--socket=${watchdogSocket}`, `--shelf=${join(data, ".metamaster/locks")}`];
    while (!this.#isOver) {
      const out = openSync(log, "a");
      const child = spawn(process.execPath, [METAMASTER, "watchdog", ...options, `--database=meta=${database}`], {
        stdio: ["ignore", out, out],
      });
      closeSync(out);
      this.#child = child;
      await new Promise((resolve) => child.once("exit", resolve));
      if (!this.#isOver) await new Promise((resolve) => setTimeout(resolve, RESTART_MS));
    }
  }
}
