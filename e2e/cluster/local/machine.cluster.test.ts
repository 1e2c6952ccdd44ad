import { beforeAll, expect, test } from "@jest/globals";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { waitFor } from "../wait.js";
import { Machine } from "./machine.js";
import { requireMachine } from "./requirements.js";

const WAIT_MS_MAX = 60_000;
/** These are the `local` provider's own: PROVIDER=kind needs none of what they need. */
const local = (process.env["PROVIDER"] ?? "local") === "local" ? test : test.skip;

beforeAll(async () => {
  if (process.env["PROVIDER"] !== "kind") await requireMachine((line) => console.log(line));
}, 10 * 60_000);

local("two runs at once have slots, folders and networks of their own", async () => {
  const first = await Machine.take("/bin/false");
  const second = await Machine.take("/bin/false");
  try {
    expect(second.slot).not.toBe(first.slot);
    expect(second.folder).not.toBe(first.folder);
    await first.do("network", 2);
    await second.do("network", 2);
    expect(links(first)).toBe(3);
    await second.release();
    expect(links(first)).toBe(3);
    expect(links(second)).toBe(0);
  } finally {
    await second.release();
    await first.release();
  }
  expect(links(first)).toBe(0);
  expect(existsSync(first.folder)).toBe(false);
});

local("a run that is killed is taken down by its guard", async () => {
  const run = await killedRun();
  run.child.kill("SIGKILL");
  await waitFor("all of it gone", WAIT_MS_MAX, async () => (isGone(run) ? true : undefined));
});

local("a run that is killed with its guard is taken down by the next", async () => {
  const run = await killedRun();
  process.kill(run.guardPid, "SIGKILL");
  run.child.kill("SIGKILL");
  await once(run.child, "exit");
  expect(isGone(run)).toBe(false);
  const next = await Machine.take("/bin/false");
  try {
    expect(run.pids.filter(isRunning)).toEqual([]);
    expect(existsSync(run.folder)).toBe(false);
  } finally {
    await next.release();
  }
});

local("a process is known by its start time too: another that has its number lives", async () => {
  const bystander = spawn("sleep", ["1000000"]);
  const machine = await Machine.take("/bin/false");
  try {
    writeFileSync(join(machine.folder, "pids/sleeper"), `${bystander.pid} 12345\n`);
    await machine.release();
    expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
    expect(isRunning(bystander.pid ?? 0)).toBe(true);
  } finally {
    bystander.kill("SIGKILL");
    await machine.release();
  }
});

interface KilledRun {
  readonly child: ChildProcess;
  readonly folder: string;
  readonly slot: number;
  readonly guardPid: number;
  readonly pids: readonly number[];
}

async function killedRun(): Promise<KilledRun> {
  const script = join(import.meta.dirname, "killed-run.js");
  const child = spawn(process.execPath, ["--no-warnings", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const { slot, folder, guardPid } = JSON.parse(line);
  const pids = await waitFor("its processes", WAIT_MS_MAX, async () =>
    ["sleeper", "node1"].map((name) => Number(readFileSync(join(folder, "pids", name), "utf8").split(" ")[0])),
  );
  expect(pids.filter(isRunning)).toEqual(pids);
  return { child, folder, slot, guardPid, pids };
}

function isGone(run: KilledRun): boolean {
  return !existsSync(run.folder) && !run.pids.some(isRunning) && links(run) === 0;
}

/** Not a zombie either. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** The network links of a slot. */
function links({ slot }: { readonly slot: number }): number {
  const names = readFileSync("/proc/net/dev", "utf8").match(/\S+(?=:)/g) ?? [];
  return names.filter((name) => name === `mm${slot}` || name.startsWith(`mm${slot}-`)).length;
}
