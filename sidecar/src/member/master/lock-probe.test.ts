import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { lockedByAnybody } from "./lock-probe.js";

let folder: string;
let lock: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "metamaster-probe-"));
  lock = join(folder, "LOCK");
  writeFileSync(lock, "");
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a lock that another process holds is found until that has ended, and none is left behind", async () => {
  expect(lockedByAnybody([lock])).toEqual([]);
  const program = `
    const database = new (require("node:sqlite").DatabaseSync)(${JSON.stringify(lock)});
    database.exec("BEGIN EXCLUSIVE");
    console.log("held");
    setInterval(() => undefined, 1000);
  `;
  const holder = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await once(holder.stdout, "data");
    expect(lockedByAnybody([lock])).toEqual([lock]);
  } finally {
    holder.kill("SIGKILL");
    await once(holder, "close");
  }
  expect(lockedByAnybody([lock])).toEqual([]);
  expect(readFileSync("/proc/locks", "latin1")).not.toContain(`:${statSync(lock).ino} `);
});

test("what is no empty file of a lock says nothing, and nothing is changed", () => {
  const other = join(folder, "other");
  writeFileSync(other, "something else");
  mkdirSync(join(folder, "bar"));
  const before = statSync(lock, { bigint: true });
  expect(lockedByAnybody([lock, other, join(folder, "bar"), join(folder, "none")])).toEqual([]);
  expect(readFileSync(other, "utf8")).toBe("something else");
  expect(readdirSync(folder)).toEqual(["LOCK", "bar", "other"]);
  expect(statSync(lock, { bigint: true })).toMatchObject({
    size: 0n,
    mtimeNs: before.mtimeNs,
    ctimeNs: before.ctimeNs,
  });
});
