import { mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, closeSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn, type ChildProcess } from "node:child_process";
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import type { Logger } from "../../base/log.js";
import { SystemClock } from "../../base/system-clock.js";
import { ContainerGuard } from "./container-guard.js";
import { LinuxProcessTable } from "./container-processes.js";
import { socketLink } from "./guard-link.js";
import { LockBar } from "./lock-bar.js";
import { Watchdog } from "./watchdog.js";

// The two sides with a real socket between them, and a real process that has a real LOCK open.

const LONG_MS = 600_000;
/** A process is started meanwhile, on a machine that may be busy. */
const SHORT_MS = 3000;
const clock = new SystemClock();
let root: string;
let path: string;
let socket: string;
let ends: (() => void)[];
let said: string[];
let logged: string[];

const note = (_fields: object, message: string): void => void logged.push(message);
const logger: Logger = { debug: note, info: note, warn: note, error: note };

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "mm-watchdog-"));
  path = join(root, "db");
  socket = join(root, "socket");
  mkdirSync(path);
  writeFileSync(join(path, "LOCK"), "");
  ends = [];
  said = [];
  logged = [];
});

afterEach(() => {
  for (const end of ends.toReversed()) end();
  rmSync(root, { recursive: true, force: true });
});

interface Started {
  readonly watchdog: Watchdog;
  readonly table: LinuxProcessTable;
  readonly bar: LockBar;
  readonly isDone: () => boolean;
  /** As if its process were killed. */
  readonly kill: () => Promise<void>;
}

async function start(): Promise<Started> {
  const bar = new LockBar([{ name: "meta", path }], join(root, "locks"));
  let done = false;
  let dead = false;
  const table = new LinuxProcessTable();
  const parts = {
    bar,
    // A process that was killed looks at nothing any more; in the test both are one process, which is no victim.
    table: Object.assign(table, { openers: openersUnless(() => dead, table) }),
    say: (message: string) => void said.push(message),
    done: () => void (done = true),
  };
  const watchdog = new Watchdog(parts);
  const streams: Duplex[] = [];
  const server: Server = createServer((stream) => {
    streams.push(stream);
    watchdog.meet(stream);
  });
  rmSync(socket, { force: true });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const kill = async (): Promise<void> => {
    dead = true;
    watchdog.leave();
    for (const stream of streams) stream.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  ends.push(() => void kill());
  return { watchdog, table, bar, isDone: () => done, kill };
}

function openersUnless(dead: () => boolean, table: LinuxProcessTable): LinuxProcessTable["openers"] {
  const openers = table.openers.bind(table);
  return (files) => (dead() ? [] : openers(files));
}

/** The sidecar's side. */
function sidecar(): ContainerGuard {
  const guard = new ContainerGuard(socketLink(socket), clock, logger);
  ends.push(() => guard.leave());
  return guard;
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited in vain until ${what}: ${[...said, ...logged].join("; ")}`);
    await clock.sleep(10);
  }
}

/** Has the LOCK open, as a master. */
async function master(): Promise<ChildProcess> {
  const descriptor = openSync(join(path, "LOCK"), "r+");
  const child = spawn("/bin/sh", ["-c", "echo ready; exec sleep 100"], { stdio: [descriptor, "pipe", "ignore"] });
  closeSync(descriptor);
  ends.push(() => child.kill("SIGKILL"));
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  return child;
}

const isDead = (child: ChildProcess): boolean => child.signalCode === "SIGKILL";
const isBarred = (): boolean => statSync(join(path, "LOCK")).isDirectory();

test("a deadline counts once it is acknowledged; past it the master is killed and the bar is up", async () => {
  await start();
  const guard = sidecar();
  expect(guard.untilMs).toBe(-Infinity);
  const deadlineMs = clock.monotonicMs() + SHORT_MS;
  guard.extend(deadlineMs);
  await guard.acknowledged(deadlineMs);
  expect(guard.untilMs).toBe(deadlineMs);
  const child = await master();
  await until("it is killed", () => isDead(child));
  expect(clock.monotonicMs()).toBeGreaterThan(deadlineMs - 100);
  expect(isBarred()).toBe(true);
  expect(said.join()).toContain("leadership was not extended in time: killed the master");
});

test("extended it lives on; no longer extended, and with a sidecar that is lost, it dies at once", async () => {
  await start();
  const guard = sidecar();
  const firstMs = clock.monotonicMs() + SHORT_MS;
  guard.extend(firstMs);
  const child = await master();
  const deadlineMs = clock.monotonicMs() + LONG_MS;
  guard.extend(deadlineMs);
  await guard.acknowledged(deadlineMs);
  await clock.sleep(firstMs + 200 - clock.monotonicMs());
  expect(isDead(child)).toBe(false);
  guard.leave();
  await until("it is killed", () => isDead(child));
  expect(isBarred()).toBe(true);
});

test("a sidecar that said that nobody runs may go: nothing is touched, and whoever opens a database then is killed", async () => {
  const { watchdog, isDone } = await start();
  const guard = sidecar();
  const deadlineMs = clock.monotonicMs() + LONG_MS;
  guard.extend(deadlineMs);
  await guard.acknowledged(deadlineMs);
  guard.rest();
  expect(guard.untilMs).toBe(-Infinity);
  // Heard: what comes after it is answered.
  guard.extend(deadlineMs);
  guard.rest();
  await clock.sleep(300);
  guard.leave();
  await clock.sleep(300);
  expect(isBarred()).toBe(false);
  const child = await master();
  await until("it is killed", () => isDead(child));
  expect(isBarred()).toBe(true);
  watchdog.leave();
  await until("it may leave", isDone);
});

test("one that is killed is missed at once, keeps its promise for the sidecar to see to, and is told again when it is back", async () => {
  const first = await start();
  const guard = sidecar();
  const early = clock.monotonicMs() + LONG_MS;
  guard.extend(early);
  await guard.acknowledged(early);
  const child = await master();
  await first.kill();
  await until("it is missed", () => logged.some((line) => line.includes("the watchdog is gone")));
  // In the test its own end would be the sidecar's: only what it does after that counts.
  expect(guard.untilMs).toBe(early);
  guard.extend(early + 1000);
  expect(guard.untilMs).toBe(early);
  await start();
  await until("the new one acknowledges", () => guard.untilMs === early + 1000);
  await clock.sleep(1200);
  expect(isDead(child)).toBe(false);
});

test("one that starts beside a master nobody vouches for ends it, also while a sidecar is there that does not speak", async () => {
  const child = await master();
  const silent = sidecar();
  await start();
  silent.join();
  await until("it is killed", () => isDead(child));
  expect(isBarred()).toBe(true);
  expect(said.join()).toContain("no sidecar vouches for it");
});

test("no answer: the master is not to be started, and it is said what to look at", async () => {
  const guard = sidecar();
  const deadlineMs = clock.monotonicMs() + LONG_MS;
  guard.extend(deadlineMs);
  await expect(guard.acknowledged(deadlineMs)).rejects.toMatchObject({
    code: "MasterStartFailed",
    message: expect.stringContaining(`nobody answers at ${socket}`),
  });
}, 30_000);

test("it is absent until it says something, while it leaves a word unanswered, and once it is gone", async () => {
  const guard = sidecar();
  expect(guard.absence).toMatchObject({ message: expect.stringContaining("it is not there yet") });
  const silent: Duplex[] = [];
  const deaf = createServer((stream) => void silent.push(stream));
  await new Promise<void>((resolve) => deaf.listen(socket, resolve));
  guard.rest();
  await until("it is connected", () => silent.length > 0);
  await clock.sleep(100);
  expect(guard.absence).toMatchObject({ message: expect.stringContaining("it does not answer") });
  // It said who it is, and was stopped then.
  silent[0]?.write("i am 1\n");
  await until("the word is too old", () => guard.absence === undefined);
  await until("the word is too old", () => guard.absence !== undefined);
  for (const stream of silent) stream.destroy();
  await new Promise((resolve) => deaf.close(resolve));
  await until("it is missed", () => guard.absence?.message.includes("it does not answer") === false);
  await start();
  await until("it is back", () => guard.absence === undefined);
});

test("both know each other before the sidecar looks at a LOCK: else a watchdog that nobody speaks to takes it for the master", async () => {
  const { table } = await start();
  const met: (number | undefined)[] = [];
  const guard = new ContainerGuard(socketLink(socket), clock, logger, (pid) => void met.push(pid));
  ends.push(() => guard.leave());
  await guard.acquainted();
  expect([table.partner, met]).toEqual([process.pid, [process.pid]]);
});

test("where there is no watchdog, or it is stopped, the sidecar does not wait for it", async () => {
  const sinceMs = clock.monotonicMs();
  await sidecar().acquainted();
  expect(clock.monotonicMs() - sinceMs).toBeLessThan(900);
  const deaf = createServer((stream) => void ends.push(() => stream.destroy()));
  ends.push(() => void deaf.close());
  await new Promise<void>((resolve) => deaf.listen(socket, resolve));
  await sidecar().acquainted();
  expect(clock.monotonicMs() - sinceMs).toBeLessThan(20_000);
});

test("a word that is none, or of another clock, is not acknowledged", async () => {
  const { bar } = await start();
  const stream = await socketLink(socket)();
  ends.push(() => stream.destroy());
  const answers: string[] = [];
  stream.on("data", (bytes: Buffer) => answers.push(bytes.toString()));
  stream.write(`i am ${process.pid}\nuntil 999999999999 at 999999999990\nuntil soon\nrest\n`);
  await until("the last is answered", () => answers.join("").includes("ok"));
  expect(answers.join("")).toBe(`i am ${process.pid}\nok\n`);
  expect(bar.holders()).toEqual([]);
});
