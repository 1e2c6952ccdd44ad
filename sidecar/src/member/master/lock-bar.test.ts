import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  closeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn, type ChildProcess } from "node:child_process";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { SystemClock } from "../../base/system-clock.js";
import { ContainerMaster } from "./container-master.js";
import { containersOf, LinuxProcessTable, rootsOf, type ProcessInfo } from "./container-processes.js";
import { endAll, victimsOf } from "./container-kill.js";
import { Gate } from "./gate.js";
import { LockBar } from "./lock-bar.js";
import { silent } from "../testing/contender.js";

let root: string;
let path: string;
let lock: string;
let bar: LockBar;
let children: ChildProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-bar-"));
  path = join(root, "db");
  lock = join(path, "LOCK");
  bar = new LockBar([{ name: "meta", path }], join(root, "locks"));
  children = [];
});

afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(root, { recursive: true, force: true });
});

/** Has the file open as its standard input, and locks it (flock) if told so. */
async function opener(file: string, locks: boolean): Promise<number> {
  const descriptor = openSync(file, "r+");
  const child = spawn("/bin/sh", ["-c", `${locks ? "flock -x 0 && " : ""}echo ready; exec sleep 100`], {
    stdio: [descriptor, "pipe", "ignore"],
  });
  closeSync(descriptor);
  children.push(child);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  if (child.pid === undefined) throw new Error("no process");
  return child.pid;
}

/** Beside the bar itself, which waits there. */
const shelved = (): string[] => readdirSync(join(root, "locks")).filter((name) => name !== "meta.bar");

test("nothing can be opened where it stands, also where there is no database yet; lowered, no trace is left", () => {
  bar.raise();
  expect(() => openSync(lock, "w")).toThrow("EISDIR");
  bar.raise();
  bar.lower();
  expect(existsSync(path)).toBe(false);
  mkdirSync(path);
  closeSync(openSync(lock, "w"));
  bar.raise();
  expect(() => openSync(lock, "w")).toThrow("EISDIR");
  bar.lower();
  expect(statSync(lock).isFile()).toBe(true);
  expect(readdirSync(path)).toEqual(["LOCK"]);
  expect(shelved()).toEqual([]);
});

test("once made it is moved to and fro, also by another process: a disk that is full by then takes no new directory", () => {
  bar.raise();
  const { ino } = statSync(lock);
  bar.lower();
  mkdirSync(path);
  writeFileSync(lock, "");
  new LockBar([{ name: "meta", path }], join(root, "locks")).raise();
  expect(statSync(lock).ino).toBe(ino);
});

test("a process that was killed while it lowered it leaves two names of one LOCK: raised again, one is left, on the shelf", () => {
  mkdirSync(path);
  writeFileSync(lock, "");
  const { ino } = statSync(lock);
  bar.raise();
  rmdirSync(lock);
  linkSync(join(root, "locks", String(shelved()[0])), lock);
  bar.raise();
  expect(statSync(lock).isDirectory()).toBe(true);
  expect(shelved()).toEqual([`meta-${ino}`]);
  bar.lower();
  expect(statSync(lock)).toMatchObject({ ino, nlink: 1 });
});

test("a bar that sidecar and watchdog, raising at once, had put on the shelf is in nobody's way", () => {
  mkdirSync(path);
  writeFileSync(lock, "");
  const { ino } = statSync(lock);
  bar.raise();
  mkdirSync(join(root, "locks", "meta-123"));
  bar.lower();
  expect(statSync(lock).ino).toBe(ino);
});

class OnFullDisk extends LockBar {
  override raise(): void {
    throw new Error("no space is left");
  }
}

test("a bar that can't be put up keeps nobody alive", async () => {
  mkdirSync(path);
  writeFileSync(lock, "");
  const pid = await opener(lock, true);
  const full = new OnFullDisk([{ name: "meta", path }], join(root, "locks"));
  const { victims, unbarred } = endAll([], full, new LinuxProcessTable());
  expect(unbarred).toMatchObject({ message: "no space is left" });
  expect(victims.map((victim) => victim.pid)).toEqual([pid]);
  await new Promise((resolve) => children[0]?.once("exit", resolve));
  expect(full.holders()).toEqual([]);
});

test("one database that can't be barred leaves none of the others open", () => {
  const file = join(root, "file");
  writeFileSync(file, "no directory");
  mkdirSync(path);
  const databases = [
    { name: "other", path: file },
    { name: "meta", path },
  ];
  expect(() => new LockBar(databases, join(root, "locks")).raise()).toThrow("EEXIST");
  expect(statSync(lock).isDirectory()).toBe(true);
});

/** Two databases, of which one's `LOCK` can't be looked at, as on a disk that fails. */
function halfBlind(): LockBar {
  const file = join(root, "file");
  writeFileSync(file, "no directory");
  mkdirSync(path);
  writeFileSync(lock, "");
  const databases = [
    { name: "other", path: join(file, "below") },
    { name: "meta", path },
  ];
  return new LockBar(databases, join(root, "locks"));
}

test("a LOCK that can't be looked at keeps nobody alive whose own can", async () => {
  const blind = halfBlind();
  const pids = [await opener(lock, true), await opener(lock, false)];
  expect(() => blind.holders()).toThrow("ENOTDIR");
  const { victims, unbarred } = endAll([], blind, new LinuxProcessTable());
  expect(new Set(victims.map((victim) => victim.pid))).toEqual(new Set(pids));
  expect(unbarred).toBeDefined();
  await Promise.all(children.map((child) => new Promise((resolve) => child.once("exit", resolve))));
});

test("and it is not said that all have ended: whoever holds that one is not known", async () => {
  const blind = halfBlind();
  await opener(lock, true);
  const master = new ContainerMaster({
    clock: new SystemClock(),
    logger: silent,
    probe: async () => ({ ok: true, reason: "" }),
    gate: new Gate(),
    bar: blind,
    table: new LinuxProcessTable(),
    guard: {
      extend: () => undefined,
      acknowledged: async () => undefined,
      rest: () => undefined,
      untilMs: Infinity,
      absence: undefined,
    },
  });
  const how = { graceMs: 0, killWithinMs: 200 };
  await expect(master.stop(how)).rejects.toMatchObject({
    code: "MasterWillNotDie",
    message: expect.stringContaining("ENOTDIR"),
  });
  expect(blind.suspects().holders).toEqual([]);
});

test("lowered, the same LOCK is there again: whoever holds it unseen keeps others out; of several the last one", () => {
  mkdirSync(path);
  const inodes = [1, 2].map(() => {
    writeFileSync(lock, "");
    const { ino } = statSync(lock);
    bar.raise();
    // As somebody does who makes it anew.
    rmdirSync(lock);
    return ino;
  });
  bar.raise();
  expect(shelved()).toHaveLength(2);
  bar.lower();
  expect(statSync(lock).ino).toBe(inodes[1]);
  expect(shelved()).toEqual([]);
});

test("who holds the LOCK when it is raised is still found, and it is not lowered before it has let go", async () => {
  mkdirSync(path);
  writeFileSync(lock, "");
  await opener(lock, true);
  expect(bar.holders()).toHaveLength(1);
  bar.raise();
  expect(statSync(lock).isDirectory()).toBe(true);
  expect(bar.holders()).toHaveLength(1);
  expect(() => bar.lower()).toThrow("still holds");
});

test("who has the LOCK open and did not lock it yet is ended as well", async () => {
  mkdirSync(path);
  writeFileSync(lock, "");
  const pid = await opener(lock, false);
  bar.raise();
  expect(bar.holders()).toEqual([]);
  expect(victimsOf([], bar, new LinuxProcessTable()).map((victim) => victim.pid)).toContain(pid);
});

const info = (pid: number, parent: number, cgroup: string): ProcessInfo => ({ pid, parent, cgroup, startTime: "1" });

test("of a container that shares nothing with ours all processes are taken, of one that can't be told apart the descendants", () => {
  const all = [
    info(1, 0, "pause"),
    info(10, 0, "ours"),
    info(11, 10, "ours"),
    info(12, 11, "ours"),
    info(20, 0, "master"),
    info(21, 20, "master"),
    info(22, 20, "master"),
  ];
  const table = { self: 10, partner: undefined, all: () => all, signal: () => undefined, openers: () => [] };
  expect(containersOf([21], table).map(({ pid }) => pid)).toEqual([20, 21, 22]);
  expect(rootsOf(containersOf([21], table)).map(({ pid }) => pid)).toEqual([20]);
  expect(containersOf([11], table).map(({ pid }) => pid)).toEqual([11, 12]);
  expect(containersOf([99], table)).toEqual([]);
  // Sidecar and watchdog look at LOCK files, too: neither is ever a victim of the other, in whatever container it is.
  const partner = { ...table, partner: 21 };
  expect(containersOf([10, 21], partner)).toEqual([]);
  expect(containersOf([21, 22], partner).map(({ pid }) => pid)).toEqual([20, 22]);
});

test("lowered, it leaves a directory that was there, also an empty one, and one that is no longer empty", () => {
  mkdirSync(path);
  bar.raise();
  bar.lower();
  expect(readdirSync(path)).toEqual([]);
  rmdirSync(path);
  bar.raise();
  writeFileSync(join(path, "CURRENT"), "MANIFEST-000001\n");
  bar.lower();
  expect(readdirSync(path)).toEqual(["CURRENT"]);
});
