import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { LinuxProcesses } from "../base/linux-processes.js";
import { NodeFileSystem } from "../base/node-file-system.js";
import type { Processes } from "../base/processes.js";
import { DirectoryLock } from "./directory-lock.js";
import { LocalFolders } from "./local-folders.js";
import { Said } from "./testing/world.js";

let root: string;
const fs = new NodeFileSystem();
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "metamaster-lock-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const alive = new Set<number>();
const process = (pid: number, bootId = "boot"): Processes => ({
  self: { pid, startTime: `${pid}00`, bootId },
  isAlive: async (other) => alive.has(other.pid) && other.startTime === `${other.pid}00`,
});
const acquire = (processes: Processes, nonce: string, said = new Said()): Promise<DirectoryLock> =>
  DirectoryLock.acquire(fs, new LocalFolders(root), processes, nonce, said);
const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "held",
    (error: unknown) =>
      error instanceof Error && "code" in error ? `${String(error.code)}: ${error.message}` : String(error),
  );

describe("the lock of a data directory", () => {
  test("keeps a second process off, by the name of its pid, until it is released", async () => {
    alive.add(1);
    const lock = await acquire(process(1), "n1");
    expect(await outcome(acquire(process(2), "n2"))).toMatch(/^DirectoryInUse: .* is used by process 1\./);
    await lock.check();
    await lock.release();
    await (await acquire(process(2), "n2")).release();
    expect(await readdir(`${root}/.metamaster`)).toEqual([]);
  });

  test.each([
    ["its process is gone", async () => alive.delete(1), process(2)],
    ["the machine was started again", async () => alive.add(1), process(2, "another boot")],
    ["it is half written", async () => writeFile(`${root}/.metamaster/lock`, '{"pid":1,'), process(2)],
    ["it is empty", async () => writeFile(`${root}/.metamaster/lock`, ""), process(2)],
    ["it is huge", async () => writeFile(`${root}/.metamaster/lock`, "x".repeat(10_000)), process(2)],
  ])("is taken over if %s", async (_what, prepare, taker) => {
    alive.add(1);
    const former = await acquire(process(1), "n1");
    await prepare();
    const said = new Said();
    const lock = await acquire(taker, "n2", said);
    expect(said.has("warn", "taking over")).toBe(true);
    await lock.check();
    expect(await outcome(former.check())).toMatch(/DirectoryInUse/);
    // What is another's stays.
    await former.release();
    await lock.check();
  });

  test("is held by one of many who find a stale one at the same time", async () => {
    for (let round = 0; round < 20; round++) {
      alive.add(1);
      await acquire(process(1), "n1");
      alive.delete(1);
      const pids = [11, 12, 13, 14];
      for (const pid of pids) alive.add(pid);
      const outcomes = await Promise.allSettled(pids.map((pid) => acquire(process(pid), `n${pid}`)));
      const held: DirectoryLock[] = [];
      for (const each of outcomes) {
        if (each.status === "fulfilled" && (await outcome(each.value.check())) === "held") held.push(each.value);
      }
      expect(held.length).toBeLessThanOrEqual(1);
      for (const lock of held) await lock.release();
      await rm(`${root}/.metamaster`, { recursive: true, force: true });
    }
  });

  test("knows this very process, and that another of the same pid is not it", async () => {
    const own = await LinuxProcesses.open(fs, globalThis.process.pid);
    expect(own.self.startTime).toMatch(/^\d+$/);
    expect(await own.isAlive(own.self)).toBe(true);
    expect(await own.isAlive({ ...own.self, startTime: "1" })).toBe(false);
    expect(await own.isAlive({ ...own.self, pid: 2 ** 22 + 1 })).toBe(false);
    const lock = await acquire(own, "n1");
    expect(await outcome(acquire(own, "n2"))).toMatch(new RegExp(`process ${globalThis.process.pid}\\.`));
    await lock.release();
  });
});
