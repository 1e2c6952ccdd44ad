import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { keys, put } from "./key-value.js";
import { gone, MasterContainer, sidecarUrl } from "./master-container.js";
import { KV_MASTER, MemberProcess, METAMASTER, until, type MemberOptions } from "./member-process.js";
import { WatchdogContainer } from "./watchdog-container.js";

jest.setTimeout(180_000);

let root: string;
let members: MemberProcess[];
let containers: MasterContainer[];
let watchdogs: WatchdogContainer[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-sidecar-"));
  members = [];
  containers = [];
  watchdogs = [];
});

afterEach(async () => {
  for (const container of containers) await container.end();
  for (const member of members) await member.end();
  for (const watchdog of watchdogs) await watchdog.end();
  rmSync(root, { recursive: true, force: true });
});

interface Pod {
  readonly member: MemberProcess;
  readonly master: MasterContainer;
  readonly watchdog: WatchdogContainer;
}

function pod(name: string, more: Partial<MemberOptions> = {}): Pod {
  const member = new MemberProcess({ name, root, ...more });
  members.push(member);
  member.environment = { METAMASTER_WATCHDOG_SOCKET: member.watchdogSocket };
  const watchdog = new WatchdogContainer(member);
  watchdogs.push(watchdog);
  member.startSidecar();
  return { member, master: masterOf(member), watchdog };
}

function masterOf(member: MemberProcess): MasterContainer {
  const master = new MasterContainer(member);
  containers.push(master);
  return master;
}

async function write(member: MemberProcess, ...rows: string[]): Promise<void> {
  const url = await member.masterUrl();
  for (const row of rows) await put(url, row, "v");
}

async function rowsOf(member: MemberProcess): Promise<readonly string[]> {
  await member.untilRole("Primary");
  return await keys(await member.masterUrl());
}

test("a standby's master is held back, and one that is started all the same can't open its database; killed with its sidecar, the primary is replaced with every row", async () => {
  const a = pod("alpha");
  await a.member.untilRole("Primary");
  await write(a.member, "a", "b");
  const b = pod("beta");
  await b.member.untilRole("Standby");
  expect(b.master.starts).toBe(0);
  const forced = spawnSync(process.execPath, [KV_MASTER, "--db", b.member.database, "--port", "0"], {
    encoding: "utf8",
    timeout: 20_000,
  });
  expect(forced.status).not.toBe(0);
  expect(forced.stderr).toMatch(/LOCK/);
  const { pid } = a.master;
  a.member.signal("SIGKILL");
  await a.master.end();
  if (pid !== undefined) await gone(pid);
  expect(await rowsOf(b.member)).toEqual(["a", "b"]);
  expect(statSync(join(a.member.database, "LOCK")).isDirectory()).toBe(true);
});

test("a sidecar that stands still beyond its lease: the watchdog ends the master, another one leads; awake, it follows again", async () => {
  const a = pod("alpha");
  await a.member.untilRole("Primary");
  await write(a.member, "a");
  const b = pod("beta");
  await b.member.untilRole("Standby");
  const { pid } = a.master;
  if (pid === undefined) throw new Error("no master");
  a.member.signal("SIGSTOP");
  await gone(pid);
  expect(await rowsOf(b.member)).toEqual(["a"]);
  await write(b.member, "b");
  a.member.signal("SIGCONT");
  await a.member.untilRole("Standby");
  // Its gate was opened before: it is started again and again, in vain.
  expect(a.master.starts).toBeGreaterThan(1);
  expect(await keys(await b.member.masterUrl())).toEqual(["a", "b"]);
});

/** A primary with a row, and the process of its master. */
async function primary(name: string, more: Partial<MemberOptions> = {}): Promise<Pod & { readonly pid: number }> {
  const found = pod(name, more);
  await found.member.untilRole("Primary");
  await write(found.member, "a");
  const { pid } = found.master;
  if (pid === undefined) throw new Error("no master");
  return { ...found, pid };
}

const isBarred = (member: MemberProcess): boolean => statSync(join(member.database, "LOCK")).isDirectory();

test("a sidecar that was killed and does not come back: its watchdog ends the master, long before the lease is over; back again it ships what that wrote", async () => {
  const a = await primary("alpha", { lease: "60s" });
  a.member.signal("SIGKILL");
  await gone(a.pid);
  expect(isBarred(a.member)).toBe(true);
  await a.member.ended;
  a.member.startSidecar();
  expect(await rowsOf(a.member)).toEqual(["a"]);
  await write(a.member, "b");
});

test("a watchdog that was killed is missed at once and found again; the master lives on, and another watchdog watches it", async () => {
  const a = await primary("alpha", { lease: "30s" });
  a.watchdog.signal("SIGKILL");
  await a.watchdog.isHeardAgain();
  expect(a.member.said).toContain("the watchdog is gone");
  await write(a.member, "b");
  expect([a.master.pid, a.master.starts]).toEqual([a.pid, 1]);
  a.member.signal("SIGKILL");
  await gone(a.pid);
});

test.each(["SIGKILL", "SIGSTOP"] as const)(
  "a watchdog that ends by %s and is not back before the lease's end: the sidecar ends the master, and another member leads",
  async (signal) => {
    const a = await primary("alpha", { lease: "6s" });
    const b = pod("beta", { lease: "6s" });
    await b.member.untilRole("Standby");
    if (signal === "SIGKILL") await a.watchdog.end();
    else a.watchdog.signal(signal);
    await gone(a.pid);
    expect(isBarred(a.member)).toBe(true);
    expect(a.member.said).toContain("has not acknowledged that leadership goes on");
    // It tries again in place for as long as it may, and in vain: no gate is opened without a watchdog.
    await a.master.stop();
    await a.member.stop();
    expect(await rowsOf(b.member)).toEqual(["a"]);
  },
);

test("sidecar and watchdog are killed at one stroke, and only the watchdog comes back: it ends the master, and another member leads", async () => {
  const a = await primary("alpha", { lease: "6s" });
  const b = pod("beta", { lease: "6s" });
  await b.member.untilRole("Standby");
  a.member.signal("SIGKILL");
  await a.watchdog.end();
  await a.member.ended;
  process.kill(a.pid, 0);
  a.watchdog.start();
  await gone(a.pid);
  expect(isBarred(a.member)).toBe(true);
  expect(await rowsOf(b.member)).toEqual(["a"]);
});

test("sidecar and watchdog are killed at one stroke, and only the sidecar comes back: it ends the master, and none is let in again without a watchdog", async () => {
  const a = await primary("alpha");
  a.member.signal("SIGKILL");
  await a.watchdog.end();
  await a.member.ended;
  a.member.startSidecar();
  await gone(a.pid);
  await until(
    "it says why no master is started",
    async () => (a.member.said.includes("can't run without a watchdog") ? true : undefined),
    () => a.member.said,
  );
  expect(isBarred(a.member)).toBe(true);
  a.watchdog.start();
  expect(await rowsOf(a.member)).toEqual(["a"]);
});

test("a standby without a watchdog does not stand for election, and says so; it leads once that is back", async () => {
  const a = await primary("alpha", { lease: "3s" });
  const b = pod("beta", { lease: "3s" });
  await b.member.untilRole("Standby");
  await b.watchdog.end();
  a.member.signal("SIGKILL");
  await a.master.end();
  await until(
    "it says why it does not stand",
    async () => (b.member.said.includes("does not stand for election") ? true : undefined),
    () => b.member.said,
  );
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  expect(b.member.said).not.toContain("claimed epoch");
  expect(b.master.starts).toBe(0);
  b.watchdog.start();
  expect(await rowsOf(b.member)).toEqual(["a"]);
});

test("a watchdog whose pod is deleted ends by itself once its sidecar has, and not before", async () => {
  const a = await primary("alpha", { lease: "60s" });
  const ended = a.watchdog.stop();
  await write(a.member, "b");
  await a.master.stop();
  await a.member.stop();
  expect(await ended).toBe(0);
});

test("without a watchdog of its own the sidecar starts one as a child, and says what that is worth", async () => {
  const member = new MemberProcess({ name: "alpha", root });
  members.push(member);
  member.startSidecar();
  const master = masterOf(member);
  await member.untilRole("Primary");
  await write(member, "a");
  expect(member.said).toContain("may end with it");
  const { pid } = master;
  if (pid === undefined) throw new Error("no master");
  member.signal("SIGKILL");
  await gone(pid);
});

test("a master that crashed is started in place, and opens its database as soon as its tail is shipped", async () => {
  const a = pod("alpha");
  await a.member.untilRole("Primary");
  await write(a.member, "a");
  const { pid } = a.master;
  if (pid === undefined) throw new Error("no master");
  const before = (await a.member.status())?.["epoch"];
  process.kill(pid, "SIGKILL");
  await gone(pid);
  await until(
    "it was started again",
    async () => (a.member.said.includes("restarting the master in place") ? true : undefined),
    () => a.member.said,
  );
  expect(await rowsOf(a.member)).toEqual(["a"]);
  expect((await a.member.status())?.["epoch"]).toBe(before);
});

test("a pod that is deleted: first the master ends, then the sidecar ships the rest and lets another one lead at once", async () => {
  const a = pod("alpha", { lease: "60s" });
  await a.member.untilRole("Primary");
  const b = pod("beta", { lease: "60s" });
  await b.member.untilRole("Standby");
  await write(a.member, "a");
  await a.master.stop();
  expect(await a.member.stop()).toEqual({ code: 0, signal: null });
  expect(await rowsOf(b.member)).toEqual(["a"]);
});

test("a switchover: the old primary's master is ended in order, and can't be opened again; back again it leads with every row", async () => {
  const a = pod("alpha", { lease: "60s" });
  await a.member.untilRole("Primary");
  await write(a.member, "a");
  const b = pod("beta", { lease: "60s" });
  await b.member.untilRole("Standby");
  expect(await a.member.cli("switchover", "--to", "beta")).toMatchObject({ code: 0 });
  expect(await rowsOf(b.member)).toEqual(["a"]);
  await a.member.untilRole("Standby");
  await write(b.member, "b");
  expect(await b.member.cli("switchover", "--to", "alpha")).toMatchObject({ code: 0 });
  expect(await rowsOf(a.member)).toEqual(["a", "b"]);
});

const asRoot = process.getuid?.() === 0 ? test : test.skip;
asRoot(
  "a pod deleted by force that still runs: its successor on the same volume, in a process namespace of its own, waits for its end",
  async () => {
    const a = pod("alpha", { lease: "60s" });
    await a.member.untilRole("Primary");
    await write(a.member, "a");
    const log = openSync(join(root, "successor.log"), "a");
    const said = (): string => readFileSync(join(root, "successor.log"), "utf8");
    const command = [process.execPath, METAMASTER, "sidecar", "--config", a.member.config];
    const successor = spawn("unshare", ["--pid", "--fork", "--mount-proc", "--kill-child", ...command], {
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    const ended = new Promise((resolve) => successor.once("exit", resolve));
    try {
      const waits = async (): Promise<true | undefined> => (said().includes("waiting for its end") ? true : undefined);
      await until("it waits", waits, said);
      await write(a.member, "b");
      expect((await a.member.status())?.["role"]).toBe("Primary");
      await a.master.stop();
      expect(await a.member.stop()).toEqual({ code: 0, signal: null });
      await until("it goes on", async () => (said().includes("answers on http") ? true : undefined), said);
    } finally {
      successor.kill("SIGKILL");
      await ended;
    }
    a.member.startSidecar();
    masterOf(a.member);
    expect(await rowsOf(a.member)).toEqual(["a", "b"]);
  },
);

test("the gate says why it is shut; `run` has none", async () => {
  const a = pod("alpha");
  await a.member.untilRole("Primary");
  expect(await (await fetch(`${sidecarUrl(a.member)}/v1/gate`)).json()).toMatchObject({ open: true, role: "Primary" });
  const b = pod("beta");
  await b.member.untilRole("Standby");
  const shut = await fetch(`${sidecarUrl(b.member)}/v1/gate?waitSeconds=0`);
  expect([shut.status, await shut.json()]).toMatchObject([503, { open: false, role: "Standby" }]);
  expect((await fetch(`${sidecarUrl(b.member)}/livez`)).status).toBe(200);
  expect(existsSync(join(b.member.database, "CURRENT"))).toBe(true);
});

asRoot(
  "a master that outlived its pod, in a process namespace that its successor doesn't see: nothing is written before it has ended",
  async () => {
    const a = pod("alpha");
    await a.member.untilRole("Primary");
    await write(a.member, "a");
    await a.master.stop();
    await a.member.stop();
    await a.watchdog.end();
    const left = await masterWithoutSidecar(a.member);
    try {
      const before = filesOf(a.member.database);
      a.member.startSidecarApart();
      const status = await until(
        "its successor says why it waits",
        async () => {
          const found = await a.member.status();
          return String(found?.["trouble"]).includes("can't be seen from here") ? found : undefined;
        },
        () => a.member.said,
      );
      expect(status).toMatchObject({ role: "Syncing" });
      expect(left.exitCode ?? left.signalCode).toBeNull();
      expect(filesOf(a.member.database)).toEqual(before);
    } finally {
      left.kill("SIGKILL");
    }
    await until(
      "it goes on by itself",
      async () => (a.member.said.includes("Syncing -> Standby: the disk is ahead") ? true : undefined),
      () => a.member.said,
    );
    // It doesn't see the master of the test either: another one must.
    await a.member.end();
    a.watchdog.start();
    a.member.startSidecar();
    masterOf(a.member);
    expect(await rowsOf(a.member)).toEqual(["a"]);
  },
);

/** As if the bar had never been there: the sidecar of its pod is dead (the last of its watchdog may still put the bar up), the master goes on. */
async function masterWithoutSidecar(member: MemberProcess): Promise<ChildProcess> {
  const says = join(root, "left.log");
  let left: ChildProcess | undefined;
  await until("it has its database open", async () => {
    if (left !== undefined && left.exitCode === null) {
      return readFileSync(says, "utf8").includes("kv-master listens") ? true : undefined;
    }
    rmSync(join(member.database, "LOCK"), { recursive: true, force: true });
    const log = openSync(says, "w");
    left = spawn(process.execPath, [KV_MASTER, "--db", member.database, "--port", "0"], {
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    return undefined;
  });
  if (left === undefined) throw new Error("no master");
  return left;
}

function filesOf(directory: string): readonly string[] {
  return readdirSync(directory)
    .filter((name) => name !== "LOCK" && !name.startsWith("LOG"))
    .map((name) => {
      const { ino, size } = statSync(join(directory, name));
      return `${name} ${ino} ${size}`;
    });
}
