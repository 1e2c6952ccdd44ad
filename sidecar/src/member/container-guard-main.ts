import { clearTimeout, setTimeout } from "node:timers";
import { createInterface } from "node:readline";
import type { ContainerGuardSettings } from "./container-guard.js";
import { endAll } from "./container-kill.js";
import { LinuxProcessTable } from "./container-processes.js";
import { LockBar } from "./lock-bar.js";
import { uptimeHundredths } from "./uptime.js";

/** The watchdog process itself: see ContainerGuard. Whatever goes wrong in it ends in the kill. */

const lookMs = 50;
const sayEveryMs = 5000;

const table = new LinuxProcessTable();
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by ContainerGuard
const { databases, shelf } = JSON.parse(process.argv[2] ?? "{}") as ContainerGuardSettings;
const bar = new LockBar(databases, shelf);
let deadline: number | undefined;
let timer: NodeJS.Timeout | undefined;
let saidMs = -Infinity;

function watch(): void {
  clearTimeout(timer);
  if (deadline === undefined) return;
  const leftMs = (deadline - uptimeHundredths()) * 10;
  if (leftMs > 0) {
    timer = setTimeout(watch, leftMs);
    return;
  }
  end();
  // Until told that leadership goes on, or that nobody runs: a container may be started again.
  timer = setTimeout(watch, lookMs);
}

/** True once nobody is left. */
function end(): boolean {
  try {
    const { victims, refused, unbarred } = endAll([], bar, table);
    if (victims.length > 0) {
      const pids = victims.map(({ pid }) => pid).join(", ");
      say(`leadership was not extended in time: killed the master (processes ${pids})`, refused ?? unbarred);
    } else if (unbarred === undefined) return true;
    else
      say(
        "leadership was not extended in time, and the databases can't be barred: whoever opens one is killed",
        unbarred,
      );
  } catch (error) {
    say("leadership was not extended in time, and the master can't be ended", error);
  }
  return false;
}

function say(message: string, error: unknown): void {
  const nowMs = performance.now();
  if (nowMs - saidMs < sayEveryMs) return;
  saidMs = nowMs;
  const why = error instanceof Error ? { error: error.message } : {};
  process.stderr.write(
    `${JSON.stringify({ level: "error", time: new Date().toISOString(), ...why, msg: `watchdog: ${message}` })}\n`,
  );
}

function take(line: string): void {
  const [, until] = /^until (\d{1,15})$/.exec(line) ?? [];
  if (line === "end") leave();
  deadline = until === undefined ? undefined : Number(until);
  watch();
}

/** Nobody is there to extend it any longer. */
function orphaned(): void {
  if (end()) leave();
  setTimeout(orphaned, lookMs);
}

function leave(): never {
  // oxlint-disable-next-line no-restricted-properties -- a process of its own
  process.exit(0);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", take);
lines.on("close", orphaned);
// The container's runtime ends it with the container; a signal to all of its processes is for the sidecar to heed.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
