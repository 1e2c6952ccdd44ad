import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { isPresent, Presence, untilAbsent } from "./presence.js";

const never = new AbortController().signal;
let folder: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mm-presence-"));
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

async function claimed(nonce: string, directory = folder): Promise<Presence> {
  const presence = await Presence.claim(directory, nonce);
  if (typeof presence === "string") throw new Error(presence);
  return presence;
}

/** Another process that listens as an earlier one did. */
async function neighbour(): Promise<ChildProcess> {
  const script = `require("node:net").createServer().listen(${JSON.stringify(join(folder, "alive"))}, () => console.log("there"))`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  return child;
}

test("one is present; a second one is told so, until the first has left", async () => {
  const one = await claimed("1");
  expect(await Presence.claim(folder, "2")).toBe("taken");
  expect(await isPresent(folder)).toBe(true);
  const absent = untilAbsent(folder, never);
  await one.leave();
  await absent;
  expect(await isPresent(folder)).toBe(false);
  await (await claimed("2")).leave();
  expect(readdirSync(folder)).toEqual([]);
});

test("a stopped process is present; a killed one is not, and what it left is taken over", async () => {
  const child = await neighbour();
  child.kill("SIGSTOP");
  expect(await Presence.claim(folder, "1")).toBe("taken");
  const absent = untilAbsent(folder, never);
  child.kill("SIGKILL");
  await absent;
  await (await claimed("1")).leave();
  expect(readdirSync(folder)).toEqual([]);
});

test("who waits can give up", async () => {
  const one = await claimed("1");
  const stop = new AbortController();
  const waiting = untilAbsent(folder, stop.signal);
  stop.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await one.leave();
});

test("of many who come at once, over what a dead one left, at most one is present; alone it is", async () => {
  const child = await neighbour();
  child.kill("SIGKILL");
  await new Promise((resolve) => child.once("exit", resolve));
  const all = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => await Presence.claim(folder, `${index}`)),
  );
  const present = all.filter((each) => typeof each !== "string");
  expect(present.length).toBeLessThan(2);
  expect(await isPresent(folder)).toBe(present.length === 1);
  for (const each of present) await each.leave();
  await (await claimed("20")).leave();
  expect(readdirSync(folder)).toEqual([]);
});

test("the directory's name may be longer than a socket's; what is no socket is nobody; no directory is named", async () => {
  const deep = join(folder, "x".repeat(200));
  mkdirSync(deep);
  writeFileSync(join(deep, "alive"), "");
  const presence = await claimed("1", deep);
  expect(await isPresent(deep)).toBe(true);
  await presence.leave();
  await expect(isPresent(join(folder, "none"))).rejects.toMatchObject({ code: "FileNotFound" });
});

const unshare = (process.getuid?.() ?? 1) === 0 ? test : test.skip;
unshare("it is seen from other PID and network namespaces", async () => {
  const one = await claimed("1");
  const script = `
    const { connect } = require("node:net");
    connect(${JSON.stringify(join(folder, "1"))}, () => process.exit(7)).on("error", () => process.exit(8));`;
  const child = spawn("unshare", ["--pid", "--fork", "--net", process.execPath, "-e", script], { stdio: "inherit" });
  children.push(child);
  expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(7);
  await one.leave();
});
