import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { Logger } from "../../base/log.js";
import { SystemClock } from "../../base/system-clock.js";
import { ChildMaster, type ChildMasterSettings, type ChildMasterSystem } from "./child-master.js";
import { guardScript } from "./guard-script.js";
import { healthProbe } from "./health-probes.js";
import { livingMembers, parseStat } from "./process-group.js";
import { deviceText, lockHolders, parseLocks } from "./lock-holders.js";

const realClock = new SystemClock();
let directory: string;
const started: ChildMaster[] = [];
/** Process groups that a failing test would leave behind. */
const groups: number[] = [];
const lines: string[] = [];
const logger: Logger = {
  debug: () => {},
  info: () => {},
  warn: (_fields, message) => lines.push(message),
  error: (_fields, message) => lines.push(message),
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mm-child-"));
  lines.length = 0;
});

afterEach(async () => {
  for (const master of started.splice(0)) await master.kill(5000).catch(() => {});
  for (const group of groups.splice(0)) if (livingMembers(group).length > 0) process.kill(-group, "SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

function makeMaster(
  script: string,
  settings: Partial<ChildMasterSettings> = {},
  system: Partial<ChildMasterSystem> = {},
): ChildMaster {
  const master = new ChildMaster(
    {
      command: "sh",
      args: ["-c", script],
      cwd: directory,
      env: process.env,
      url: "http://127.0.0.1:1",
      member: "m1",
      cluster: "c1",
      lockDirectories: [directory],
      ...settings,
    },
    {
      clock: realClock,
      logger,
      probe: healthProbe({ type: "None" }, { env: process.env, cwd: directory }),
      system,
    },
  );
  started.push(master);
  return master;
}

/** Until it is so; the test's own time-out is the limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await realClock.sleep(10);
}

function file(name: string): string {
  return join(directory, name);
}

function read(name: string): string {
  return existsSync(file(name)) ? readFileSync(file(name), "utf8") : "";
}

/** Processes whose command line mentions the text, but for zombies. */
function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const state = parseStat(readFileSync(`/proc/${name}/stat`, "latin1"))?.state;
        return state !== "Z" && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function uptime(): number {
  return Number(readFileSync("/proc/uptime", "latin1").split(" ", 1)[0]?.replace(".", ""));
}

/** The watchdog of a process group: its shell and its timers. */
function guardsOf(group: number): number[] {
  return processesWith(`metamaster-guard\0${group}\0`);
}

const gentle = { graceMs: 10_000, killWithinMs: 5000 };

describe("a child", () => {
  test("is told its environment, keeps its exit code, and leaves no process behind", async () => {
    const master = makeMaster(`env > env.txt; exit 7`);
    await master.start(42, 60_000);
    const group = master.pid ?? 0;
    expect(await master.exited()).toEqual({ code: 7, signal: undefined });
    expect(master.running).toBe(false);
    const environment = read("env.txt").split("\n");
    expect(environment).toEqual(
      expect.arrayContaining([
        "METAMASTER_URL=http://127.0.0.1:1",
        "METAMASTER_MEMBER=m1",
        "METAMASTER_CLUSTER=c1",
        "METAMASTER_EPOCH=42",
      ]),
    );
    await until(() => guardsOf(group).length === 0);
    expect(existsSync(`/proc/${group}`)).toBe(false);
  });

  test("is stopped by SIGTERM, with time to finish for all of its group, also when its first process ends at once", async () => {
    const master = makeMaster(
      `sh -c 'trap "sleep 0.3; echo finished > out.txt; exit 0" TERM; echo up > up.txt; while :; do sleep 0.05; done' & wait`,
    );
    await master.start(1, 60_000);
    await until(() => read("up.txt") !== "");
    expect(await master.stop(gentle)).toEqual({ code: undefined, signal: "SIGTERM" });
    expect(read("out.txt")).toBe("finished\n");
  });

  test("one that ignores SIGTERM is killed after the grace, or as soon as there is a hurry", async () => {
    const master = makeMaster(`trap '' TERM; echo up > up.txt; while :; do sleep 1; done`);
    for (const how of [
      { graceMs: 100, killWithinMs: 5000 },
      { graceMs: 1_000_000, killWithinMs: 5000, hurry: AbortSignal.abort(new Error("hurry")) },
    ]) {
      await master.start(1, 60_000);
      const group = master.pid ?? 0;
      await until(() => read("up.txt") !== "");
      expect(await master.stop(how)).toEqual({ code: undefined, signal: "SIGKILL" });
      expect(livingMembers(group)).toEqual([]);
      rmSync(file("up.txt"));
    }
  });

  test("that ends by itself leaves none of its group behind", async () => {
    const master = makeMaster(`sleep 1000 & echo $! > pid.txt; exit 3`);
    await master.start(1, 60_000);
    const group = master.pid ?? 0;
    expect(await master.exited()).toEqual({ code: 3, signal: undefined });
    await until(() => livingMembers(group).length === 0);
    await master.kill(5000);
    await until(() => guardsOf(group).length === 0);
    await master.start(2, 60_000);
  });

  test("a command that isn't there is named before anything runs", async () => {
    const start = (command: string, cwd = directory) => makeMaster("", { command, args: [], cwd }).start(1, 1000);
    await expect(start("no-such-command-here")).rejects.toMatchObject({ code: "MasterStartFailed" });
    await expect(start("./nothing")).rejects.toMatchObject({ code: "MasterStartFailed" });
    writeFileSync(file("plain"), "");
    await expect(start("./plain")).rejects.toMatchObject({ code: "MasterStartFailed" });
    await expect(start("sh", join(directory, "gone"))).rejects.toMatchObject({ code: "MasterStartFailed" });
  });

  test("killed while it is being started never runs", async () => {
    const master = makeMaster(`echo ran > ran.txt`);
    const starting = master.start(1, 60_000);
    starting.catch(() => {});
    await master.kill(5000);
    await expect(starting).rejects.toMatchObject({ code: "MasterStartFailed" });
    expect(read("ran.txt")).toBe("");
    expect(master.running).toBe(false);
  });

  test("a signal is passed on", async () => {
    const master = makeMaster(`trap 'echo hup > hup.txt' HUP; echo up > up.txt; while :; do sleep 0.05; done`);
    await master.start(1, 60_000);
    await until(() => read("up.txt") !== "");
    master.forward("SIGHUP");
    await until(() => read("hup.txt") === "hup\n");
  });

  test("one that can't be killed is named, process by process", async () => {
    const master = makeMaster(`sleep 1000`, {}, { signalGroup: () => {} });
    await master.start(1, 60_000);
    const group = master.pid ?? 0;
    await expect(master.kill(100)).rejects.toMatchObject({
      code: "MasterWillNotDie",
      message: expect.stringContaining(`${group}`),
    });
    process.kill(-group, "SIGKILL");
    await master.kill(5000);
  });

  test("is not gone while anybody holds a LOCK", async () => {
    let holders = [{ path: file("LOCK"), pid: 4711 }];
    const master = makeMaster(`exit 0`, {}, { lockHolders: () => holders });
    await master.start(1, 60_000);
    await master.exited();
    await expect(master.kill(50)).rejects.toMatchObject({
      code: "MasterWillNotDie",
      message: expect.stringContaining("4711"),
    });
    holders = [];
    await master.kill(50);
  });

  test("is not gone while somebody holds a LOCK whom /proc doesn't show", async () => {
    let held = [file("LOCK")];
    const master = makeMaster(`exit 0`, {}, { lockedByAnybody: () => held });
    await master.start(1, 60_000);
    await master.exited();
    await expect(master.kill(50)).rejects.toMatchObject({
      code: "MasterWillNotDie",
      message: expect.stringContaining("can't be seen from here"),
    });
    held = [];
    await master.kill(50);
  });
});

describe("the watchdog", () => {
  test("a lease that isn't extended ends the group", async () => {
    const master = makeMaster(`trap '' TERM; sleep 1000 & wait`);
    await master.start(1, 300);
    const group = master.pid ?? 0;
    expect(await master.exited()).toEqual({ code: undefined, signal: "SIGKILL" });
    await master.kill(5000);
    expect(livingMembers(group)).toEqual([]);
    await until(() => guardsOf(group).length === 0);
  });

  test("a lease that is extended doesn't, and one made endless, and shortened again, does what it says", async () => {
    const master = makeMaster(`while :; do sleep 0.05; done`);
    await master.start(1, 1500);
    master.extend(realClock.monotonicMs(), 60_000);
    await realClock.sleep(1700);
    expect(master.running).toBe(true);
    master.extend(realClock.monotonicMs(), Infinity);
    master.extend(realClock.monotonicMs(), 200);
    expect(await master.exited()).toEqual({ code: undefined, signal: "SIGKILL" });
  });

  test("one that is killed is replaced, and the new one does its work", async () => {
    const master = makeMaster(`while :; do sleep 0.05; done`);
    await master.start(1, 60_000);
    const group = master.pid ?? 0;
    const [guard = 0] = guardsOf(group);
    process.kill(guard, "SIGKILL");
    await until(() => lines.length === 1);
    expect(master.running).toBe(true);
    expect(guardsOf(group)).not.toContain(guard);
    master.extend(realClock.monotonicMs(), Infinity);
    master.extend(realClock.monotonicMs(), 100);
    expect(await master.exited()).toEqual({ code: undefined, signal: "SIGKILL" });
    await until(() => guardsOf(group).length === 0);
  });

  /** A sidecar in the small: holds the pipe of a guard for a group of its own, says where they are, and waits. */
  const sidecar = `
    const { spawn } = require("node:child_process");
    const { readFileSync } = require("node:fs");
    const [, script, lease] = process.argv;
    const master = spawn("sh", ["-c", "trap '' TERM HUP INT; sleep 1000 & while :; do sleep 0.05; done"], { detached: true, stdio: "ignore" });
    const guard = spawn("/bin/sh", ["-c", script, "metamaster-guard", String(master.pid)], { detached: true, stdio: ["pipe", "pipe", "inherit"] });
    guard.stdout.once("data", () => {
      const up = Number(readFileSync("/proc/uptime", "latin1").split(" ")[0].replace(".", ""));
      guard.stdin.write(("until " + (up + Number(lease))).padEnd(24));
      process.stdout.write(master.pid + "\\n");
    });
    setInterval(() => {}, 1000);
  `;

  async function startSidecar(leaseHundredths: number): Promise<{ pid: number; group: number; end: () => void }> {
    const child = spawn(process.execPath, ["-e", sidecar, guardScript, `${leaseHundredths}`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const group = await new Promise<number>((resolve) => {
      child.stdout.once("data", (data: Buffer) => resolve(Number(data.toString())));
    });
    groups.push(group);
    expect(livingMembers(group).length).toBeGreaterThan(0);
    return { pid: child.pid ?? 0, group, end: () => child.kill("SIGKILL") };
  }

  test("a sidecar that is killed takes its master with it at once", async () => {
    const { group, end } = await startSidecar(100_000);
    end();
    await until(() => livingMembers(group).length === 0);
    await until(() => guardsOf(group).length === 0);
  });

  test("a sidecar that is frozen past its lease loses its master", async () => {
    const { pid, group, end } = await startSidecar(100);
    process.kill(pid, "SIGSTOP");
    await until(() => livingMembers(group).length === 0);
    end();
    await until(() => guardsOf(group).length === 0);
  });

  test.each(["dash", "bash", "busybox"])("its script means the same to %s", async (shell) => {
    if (spawnSync("sh", ["-c", `command -v ${shell}`]).status !== 0) return;
    const target = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" });
    const group = target.pid ?? 0;
    const ended = new Promise((resolve) => target.once("exit", (_code, signal) => resolve(signal)));
    const [command, ...args] = shell === "busybox" ? ["busybox", "sh"] : [shell];
    const guard = spawn(command ?? "", [...args, "-c", guardScript, "metamaster-guard", `${group}`], {
      detached: true,
      stdio: ["pipe", "pipe", "inherit"],
    });
    groups.push(group, guard.pid ?? 0);
    const left = new Promise((resolve) => guard.once("exit", (code) => resolve(code)));
    await new Promise((resolve) => guard.stdout.once("data", resolve));
    for (let count = 0; count < 20; count++) guard.stdin.write(`until ${uptime() + 100_000 + count}`.padEnd(24));
    guard.stdin.write("forever".padEnd(24));
    guard.stdin.write(`until ${uptime() + 20}`.padEnd(24));
    expect(await ended).toBe("SIGKILL");
    expect(await left).toBe(0);
    await until(() => guardsOf(group).length === 0 && livingMembers(guard.pid ?? 0).length === 0);
  });
});

describe("what the kernel says", () => {
  test("a zombie lives if a thread of it does", () => {
    const process = (pid: number, state: string, group: number, threads: string[]) => {
      mkdirSync(file(`${pid}/task`), { recursive: true });
      writeFileSync(file(`${pid}/stat`), `${pid} (x) ${state} 1 ${group} 1 0`);
      for (const [index, thread] of threads.entries()) {
        mkdirSync(file(`${pid}/task/${pid + index}`));
        writeFileSync(file(`${pid}/task/${pid + index}/stat`), `${pid + index} (x) ${thread} 1 ${group} 1 0`);
      }
    };
    process(10, "Z", 7, ["Z"]);
    process(20, "Z", 7, ["Z", "S"]);
    process(30, "T", 7, ["T"]);
    process(40, "S", 8, ["S"]);
    mkdirSync(file("self"));
    expect(livingMembers(7, directory)).toEqual([20, 30]);
  });

  test("a process's name may hold anything", () => {
    expect(parseStat("12 (a) S 9 (b) R 1 77 77 0 -1 4194560")).toEqual({ state: "R", group: 77 });
    expect(parseStat("garbage")).toBeUndefined();
  });

  test("locks are parsed; those that wait, and other lines, hold nothing", () => {
    const text = [
      "1: POSIX  ADVISORY  WRITE 1234 08:01:131075 0 EOF",
      "1: -> POSIX  ADVISORY  WRITE 99 08:01:131075 0 EOF",
      "2: FLOCK  ADVISORY  READ 5 00:2f:7 0 EOF",
      "3: OFDLCK ADVISORY  WRITE -1 103:02:8 0 EOF",
      "4: LEASE  ACTIVE    READ 6 00:2f:9 0 EOF",
      "",
    ].join("\n");
    expect(parseLocks(text)).toEqual([
      { pid: 1234, device: "08:01", inode: 131075n },
      { pid: 5, device: "00:2f", inode: 7n },
      { pid: -1, device: "103:02", inode: 8n },
    ]);
  });

  test.each([
    [0x801n, "08:01"],
    [0x2fn, "00:2f"],
    [0x10302n, "103:02"],
    [0xfff00000n, "00:fff00"],
  ])("device %s is %s", (device, text) => {
    expect(deviceText(device)).toBe(text);
  });

  test("a lock that another process holds is found by device and inode", async () => {
    if (spawnSync("sh", ["-c", "command -v flock"]).status !== 0) return;
    writeFileSync(file("LOCK"), "");
    expect(lockHolders([directory, join(directory, "gone")])).toEqual([]);
    const holder = spawn("flock", ["-x", file("LOCK"), "sh", "-c", "echo held; exec sleep 1000"], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    expect(lockHolders([directory])).toEqual([{ path: file("LOCK"), pid: holder.pid }]);
    process.kill(-(holder.pid ?? 0), "SIGKILL");
    await until(() => lockHolders([directory]).length === 0);
  });
});
