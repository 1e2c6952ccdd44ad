import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import type { Logger } from "../../sidecar/src/base/log.js";
import { SystemClock } from "../../sidecar/src/base/system-clock.js";
import { ChildMaster } from "../../sidecar/src/member/master/child-master.js";
import { ContainerGuard } from "../../sidecar/src/member/master/container-guard.js";
import { ContainerMaster } from "../../sidecar/src/member/master/container-master.js";
import { LinuxProcessTable } from "../../sidecar/src/member/master/container-processes.js";
import { Gate } from "../../sidecar/src/member/master/gate.js";
import { childLink } from "../../sidecar/src/member/master/guard-link.js";
import { LockBar } from "../../sidecar/src/member/master/lock-bar.js";
import { lockHolders } from "../../sidecar/src/member/master/lock-holders.js";
import type { Master } from "../../sidecar/src/member/master/master.js";
import { isLiving } from "../../sidecar/src/member/master/process-group.js";
import { lockHolder } from "./lock-holder.js";

// The rules of `Master` that a child of ours and a container beside us share, with real processes that hold a real LOCK.
jest.setTimeout(60_000);

const GUARD = new URL("../../dist/sidecar/src/member/master/container-guard-main.js", import.meta.url).pathname;
const LONG_MS = 600_000;
const gentle = { graceMs: 20_000, killWithinMs: 20_000 };

const clock = new SystemClock();
const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
let root: string;
let database: string;
let ends: (() => Promise<void>)[];
/** What the health check says. */
let health: () => Promise<{ readonly ok: boolean; readonly reason: string }>;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "mm-masters-"));
  database = join(root, "db");
  mkdirSync(database);
  ends = [];
  health = async () => ({ ok: true, reason: "well" });
});

afterEach(async () => {
  for (const end of ends) await end();
  rmSync(root, { recursive: true, force: true });
});

const holderArgs = (manner: string): string[] => [
  "--no-warnings",
  "-e",
  lockHolder,
  join(database, "LOCK"),
  root,
  manner,
];

function child(manner: string): Master {
  const master = new ChildMaster(
    {
      command: process.execPath,
      args: holderArgs(manner),
      cwd: root,
      env: process.env,
      url: "http://127.0.0.1:1",
      member: "m",
      cluster: "c",
      lockDirectories: [database],
    },
    { clock, logger: silent, probe: () => health() },
  );
  ends.push(async () => await master.kill(20_000));
  return master;
}

/** With what a kubelet does: starts it once the gate is open, and again whenever it ends. */
function container(manner: string): Master {
  const gate = new Gate();
  const databases = [{ name: "db", path: database }];
  const shelf = join(root, "locks");
  const bar = new LockBar(databases, shelf);
  bar.raise();
  const table = new LinuxProcessTable();
  const link = childLink({ databases, shelf }, GUARD);
  const guard = new ContainerGuard(link, clock, silent, (pid) => (table.partner = pid));
  const master = new ContainerMaster({ clock, logger: silent, probe: () => health(), gate, bar, table, guard });
  const over = new AbortController();
  const kubelet = keepStarted(gate, manner, over.signal);
  ends.push(async () => {
    over.abort();
    await kubelet;
    await master.kill(20_000);
    guard.leave();
  });
  return master;
}

async function keepStarted(gate: Gate, manner: string, over: AbortSignal): Promise<void> {
  await gate.opened(over).catch(() => undefined);
  while (!over.aborted) {
    const started: ChildProcess = spawn(process.execPath, holderArgs(manner), { stdio: "ignore", detached: true });
    const onOver = (): void => void started.kill("SIGKILL");
    over.addEventListener("abort", onOver, { once: true });
    await new Promise((resolve) => started.once("exit", resolve));
    over.removeEventListener("abort", onOver);
    await clock.sleep(50);
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited in vain until ${what}`);
    await clock.sleep(10);
  }
}

function lives(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return isLiving(stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3), `/proc/${pid}/task`);
  } catch {
    return false;
  }
}

/** Its processes, once it has its LOCK: itself and its child. */
async function opened(): Promise<readonly number[]> {
  await until("the master holds its LOCK", () => lockHolders([database]).length > 0 && existsSync(join(root, "pids")));
  const pids = readFileSync(join(root, "pids"), "latin1").split(" ").map(Number);
  rmSync(join(root, "pids"));
  return pids;
}

/** It is known to have its databases open. */
async function seen(master: Master): Promise<void> {
  const { signal } = new AbortController();
  let isSeen = false;
  await until("it is seen to run", () => {
    void master.healthy(signal).then(({ ok }) => (isSeen ||= ok));
    return isSeen;
  });
}

/** Nobody is left, and nobody holds the LOCK. */
function expectGone(pids: readonly number[]): void {
  expect(pids.filter((pid) => lives(pid))).toEqual([]);
  const held = existsSync(join(database, "LOCK")) && statSync(join(database, "LOCK")).isFile();
  expect(held ? lockHolders([database]) : []).toEqual([]);
}

describe.each([
  ["a child", child],
  ["a container", container],
])("%s", (_name, make) => {
  test("that was never started does not run; ending it is done at once, extending it does nothing", async () => {
    const master = make("polite");
    expect(master.running).toBe(false);
    await master.exited();
    await master.kill(20_000);
    await master.stop(gentle);
    master.extend(clock.monotonicMs(), LONG_MS);
    expect(await master.healthy(new AbortController().signal)).toMatchObject({ ok: false });
    expect(master.running).toBe(false);
  });

  test("stopped, it may finish; all of it is gone then, and it can be started again", async () => {
    const master = make("polite");
    for (const epoch of [1, 2]) {
      await master.start(epoch, LONG_MS);
      expect(master.running).toBe(true);
      const pids = await opened();
      await expect(master.start(epoch, LONG_MS)).rejects.toMatchObject({ code: "MasterStillRunning" });
      const exited = master.exited();
      await master.stop(gentle);
      expectGone(pids);
      expect(master.running).toBe(false);
      await exited;
      expect(existsSync(join(root, "finished"))).toBe(true);
      rmSync(join(root, "finished"));
    }
  });

  test("that is deaf to SIGTERM is killed after the grace, or in a hurry", async () => {
    const master = make("deaf");
    const hurry = AbortSignal.abort(new Error("hurry"));
    for (const how of [
      { ...gentle, graceMs: 100 },
      { ...gentle, graceMs: LONG_MS, hurry },
    ]) {
      await master.start(1, LONG_MS);
      const pids = await opened();
      await master.stop(how);
      expectGone(pids);
      expect(existsSync(join(root, "finished"))).toBe(false);
    }
  });

  test("killed, it is gone with all it started, without a chance to finish", async () => {
    const master = make("polite");
    await master.start(1, LONG_MS);
    const pids = await opened();
    const exited = master.exited();
    await master.kill(20_000);
    expectGone(pids);
    await exited;
    expect([master.running, existsSync(join(root, "finished"))]).toEqual([false, false]);
  });

  test("killed before it holds its LOCK, it never gets it", async () => {
    const master = make("polite");
    const starting = master.start(1, LONG_MS);
    starting.catch(() => undefined);
    await master.kill(20_000);
    await starting.catch(() => undefined);
    await master.kill(20_000);
    expect(master.running).toBe(false);
    expectGone([]);
  });

  test("that ends by itself has ended; what it started ends with it", async () => {
    const master = make("polite");
    await master.start(1, LONG_MS);
    const pids = await opened();
    // A container's processes are looked at now and then: one that ended before has not run for it.
    await seen(master);
    writeFileSync(join(root, "end"), "");
    await until("its first process has ended", () => !lives(pids[0] ?? 0));
    await master.kill(20_000);
    await master.exited();
    expectGone(pids);
    expect(master.running).toBe(false);
  });

  test("its lease is not extended: its watchdog ends it, all of it", async () => {
    const master = make("deaf");
    await master.start(1, LONG_MS);
    const pids = await opened();
    // A watchdog need not heed an end that comes earlier than the one it knows, but for none at all.
    master.extend(clock.monotonicMs(), Infinity);
    master.extend(clock.monotonicMs(), 300);
    await master.exited();
    await master.kill(20_000);
    expectGone(pids);
  });

  test("its lease is extended: it lives on past the first one", async () => {
    const master = make("polite");
    await master.start(1, 5000);
    master.extend(clock.monotonicMs(), LONG_MS);
    const pids = await opened();
    await clock.sleep(5500);
    expect([master.running, pids.every((pid) => lives(pid))]).toEqual([true, true]);
  });

  test("is as well as its check says, also when that throws", async () => {
    const master = make("polite");
    await master.start(1, LONG_MS);
    await opened();
    const { signal } = new AbortController();
    await seen(master);
    expect(await master.healthy(signal)).toEqual({ ok: true, reason: "well" });
    health = async () => ({ ok: false, reason: "sick" });
    expect(await master.healthy(signal)).toEqual({ ok: false, reason: "sick" });
    health = () => Promise.reject(new Error("no answer"));
    expect(await master.healthy(signal)).toEqual({ ok: false, reason: "no answer" });
  });
});
