import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../base/errors.js";
import { ModelFollower, modelReconcile } from "./testing/model-replica.js";
import { memoryReader } from "./testing/memory-log.js";
import { World, type Machine } from "./testing/world.js";

let world: World;
let a: Machine;
let b: Machine;
const never = new AbortController().signal;
const crash = { code: 1, signal: undefined };

function foreign(): Promise<never> {
  return Promise.reject(new MetaMasterError("ForeignCluster", "invalid", "uid differs", { hint: "look" }));
}

beforeEach(() => {
  world = new World();
  a = world.machine("a");
  b = world.machine("b");
});

afterEach(() => {
  world.close();
  for (const { failure } of [a, b]) expect(failure).toBeUndefined();
});

async function pair(settings = {}): Promise<void> {
  a.start(settings);
  await world.until(() => a.role === "Primary");
  b.start();
  await world.until(() => b.role === "Standby");
  await world.pass(500);
}

describe("a master in trouble", () => {
  test("a crash is restarted in place, in the same epoch, and shipping is told before", async () => {
    await pair();
    a.write("row");
    a.master.crash(crash);
    await world.until(() => a.master.starts === 2 && a.master.running);
    await world.pass(2000);
    expect(world.primaries).toEqual([a]);
    expect(a.master.epochs).toEqual([1, 1]);
    expect(a.shipper?.masterStarts).toBe(2);
    expect(world.rows).toEqual(["row"]);
    expect(a.member.status).toMatchObject({ restarts: 1, trouble: undefined });
  });

  test("one that keeps crashing is handed over within the grace, by a release, and not taken back at once", async () => {
    await pair({ failover: { restartGraceMs: 5000, openTimeoutMs: 10_000 } });
    a.master.crashAfterMs = 10;
    a.master.crash(crash);
    const failedMs = world.scheduler.nowMs;
    await world.until(() => b.role === "Primary");
    expect(world.scheduler.nowMs - failedMs).toBeGreaterThan(4000);
    expect(world.scheduler.nowMs - failedMs).toBeLessThan(17_000);
    expect(a.master.starts).toBeGreaterThan(2);
    expect(world.log.entries.some(({ header }) => header.kind === "release" && header.epoch === 1)).toBe(true);
    await world.pass(20_000);
    expect(world.primaries).toEqual([b]);
    expect(a.role).toBe("Standby");
  });

  test("one that can't be started at all is handed over as well", async () => {
    await pair({ failover: { restartGraceMs: 3000, openTimeoutMs: 10_000 } });
    a.master.startError = new MetaMasterError("MasterStartFailed", "invalid", "no such command");
    a.master.crash(crash);
    await world.until(() => b.role === "Primary", 20_000);
  });

  test("failing its health check: ended and started again after the threshold, not before", async () => {
    await pair({ health: { intervalMs: 1000, timeoutMs: 500, failureThreshold: 3 } });
    a.master.sick = true;
    await world.pass(1500);
    expect(a.master.starts).toBe(1);
    await world.until(() => a.master.ends.length === 1, 5000);
    a.master.sick = false;
    await world.until(() => a.master.starts === 2 && a.master.running);
    await world.pass(3000);
    expect(world.primaries).toEqual([a]);
  });

  test("never healthy: leadership is not kept for it for ever", async () => {
    await pair({ failover: { restartGraceMs: 4000, openTimeoutMs: 6000 } });
    a.master.openMs = Infinity;
    a.master.crash(crash);
    await world.until(() => b.role === "Primary", 30_000);
    expect(a.master.running).toBe(false);
  });

  test("one that opens for long is told of with what its check says, until it is healthy", async () => {
    await pair({ failover: { restartGraceMs: 60_000, openTimeoutMs: 60_000 } });
    a.master.openMs = 30_000;
    a.master.crash(crash);
    await world.until(() => a.master.starts === 2);
    await world.pass(5000);
    expect(a.member.status.trouble).toMatch(/^the master failed: /);
    await world.pass(10_000);
    expect(a.member.status.trouble).toBe("the master is not healthy yet: opening");
    await world.until(() => a.member.status.trouble === undefined, 60_000);
    expect(world.primaries).toEqual([a]);
  });

  test("one that won't die: halted, loudly, nothing claimed or acknowledged; ends only after it is gone", async () => {
    await pair();
    a.master.immortal = true;
    world.log.write("claim", { member: "x", nonce: "x" }, 2);
    await world.until(() => a.role === "Halted");
    expect(a.member.status.halt).toMatchObject({ reason: "MasterWillNotDie" });
    expect(a.records.halt).toMatchObject({ reason: "MasterWillNotDie" });
    await expect(a.member.barrier(never)).rejects.toMatchObject({ code: "NotPrimary" });
    expect(() => a.member.resume("MasterWillNotDie")).toThrow(expect.objectContaining({ code: "MasterStillRunning" }));
    a.stop.abort(new Error("SIGTERM"));
    await world.pass(60_000);
    expect(a.end).toBeUndefined();
    expect(a.lines.filter((line) => line.includes("DOES NOT DIE")).length).toBeGreaterThan(5);
    a.master.immortal = false;
    await world.until(() => a.end !== undefined);
    expect(a.master.running).toBe(false);
  });

  test("one that won't die and a second signal: ends, and says so", async () => {
    await pair();
    a.master.immortal = true;
    world.log.write("claim", { member: "x", nonce: "x" }, 2);
    await world.until(() => a.role === "Halted");
    a.stop.abort(new Error("SIGTERM"));
    a.member.hurry();
    await world.until(() => a.end !== undefined);
    expect(a.end).toMatchObject({ reason: "MasterWillNotDie" });
  });
});

const unnamed = (): Promise<never> =>
  Promise.reject(new MetaMasterError("DatabaseNotConfigured", "invalid", "the database meta has no name here"));

describe("halted", () => {
  test("stays so over a restart until resumed with the reason named", async () => {
    a.start({}, { reconcile: foreign });
    await world.until(() => a.role === "Halted");
    a.crash();
    a.start();
    await world.until(() => a.role === "Halted");
    expect(a.member.status.halt).toMatchObject({ reason: "ForeignCluster", code: "ForeignCluster", hint: "look" });
    expect(a.member.status.halt?.remedy).toContain("resume");
    expect(() => a.member.resume("LogGap")).toThrow(expect.objectContaining({ code: "ResumeReasonMismatch" }));
    await world.pass(10_000);
    expect(a.role).toBe("Halted");
    a.member.resume("ForeignCluster");
    await world.until(() => a.role === "Primary");
    expect(a.records.halt).toBeUndefined();
    expect(() => a.member.resume("ForeignCluster")).toThrow(expect.objectContaining({ code: "NotHalted" }));
  });

  test("for the configuration: another start looks for the cause itself", async () => {
    a.start({}, { reconcile: unnamed });
    await world.until(() => a.role === "Halted");
    a.crash();
    a.start({}, { reconcile: unnamed });
    await world.until(() => a.role === "Halted");
    expect(a.records.halt).toMatchObject({ reason: "DatabaseNotConfigured" });
    a.crash();
    a.start();
    await world.until(() => a.role === "Primary");
    expect(a.records.halt).toBeUndefined();
  });

  test("trouble that passes is tried again, with a word in the status", async () => {
    let failures = 5;
    const reader = () => memoryReader(world.log, "a", a.clock);
    a.start(
      {},
      {
        reconcile: (signal) => {
          if (failures-- > 0) return Promise.reject(new MetaMasterError("DiskFull", "transient", "no space"));
          return modelReconcile(a.disk, reader(), signal);
        },
      },
    );
    await world.until(() => a.member.status.trouble === "no space");
    await world.until(() => a.role === "Primary");
    expect(a.member.status.trouble).toBeUndefined();
  });

  test("another process under this name: found by its second entry, not by one that came late", async () => {
    await pair();
    const late = { member: "b", nonce: "b#0" };
    const twin = { member: "b", nonce: "twin" };
    world.log.write("claim", late, 2);
    await world.until(() => a.role === "Standby");
    await world.pass(500);
    expect(b.role).toBe("Standby");
    world.log.write("claim", twin, 3);
    world.log.write("heartbeat", twin, 3);
    await world.until(() => b.role === "Halted");
    expect(b.member.status.halt).toMatchObject({ reason: "DuplicateIdentity" });
  });

  test("what stood in the log before this start is no other process, though nobody remembers that run", async () => {
    await pair();
    b.crash();
    const wiped = { member: "c", nonce: "forgotten" };
    world.log.write("claim", wiped, 2);
    world.log.write("heartbeat", wiped, 2);
    world.log.write("heartbeat", wiped, 2);
    const c = world.machine("c").start();
    await world.until(() => c.role === "Standby");
    await world.pass(1000);
    expect(c.role).not.toBe("Halted");
  });

  test("entries of an earlier run of the same directory are no other process", async () => {
    await pair();
    b.crash();
    b.start();
    await world.until(() => b.role === "Standby");
    await world.pass(500);
    world.log.write("claim", { member: "b", nonce: "b#1" }, 2);
    world.log.write("heartbeat", { member: "b", nonce: "b#1" }, 2);
    await world.pass(2000);
    expect(b.role).not.toBe("Halted");
  });
});

describe("claims", () => {
  test("one that landed in a slot which was deleted long ago is void", async () => {
    const reader = (machine: Machine) => memoryReader(world.log, machine.name, machine.clock);
    let orphans = 1;
    a.start(
      {},
      {
        reader: {
          cluster: { formatVersion: 1, uid: "test", createdAt: "" },
          next: (position, signal) => reader(a).next(position, signal),
          read: (slot, signal) => reader(a).read(slot, signal),
          findGap: async () => (orphans-- > 0 ? "trimmed" : undefined),
        },
      },
    );
    await world.until(() => a.role === "Primary");
    expect(a.lines.join("\n")).toContain("the claim is void");
    expect(a.master.epochs).toEqual([2]);
  });

  test("what another cluster left behind its slot halts the member, which says so: it would look again for ever, its master never started", async () => {
    a.start({}, { reader: { ...memoryReader(world.log, "a", world.log.clock), findGap: foreign } });
    await world.until(() => a.role === "Halted");
    expect(a.member.status.halt).toMatchObject({ reason: "ForeignCluster" });
    expect(a.records.halt).toMatchObject({ code: "ForeignCluster" });
    expect(a.master.starts).toBe(0);
  });

  test("bootstrap Adopt: a member without databases never begins the history nor takes it over before they are there", async () => {
    b.start({ bootstrap: "Adopt" });
    await world.pass(30_000);
    expect(b.role).toBe("Standby");
    expect(world.log.entries).toHaveLength(0);
    a.disk.rows.push("mine");
    a.start({ bootstrap: "Adopt" });
    await world.until(() => a.role === "Primary");
    await world.until(() => world.rows.length === 1);
    a.crash();
    await world.until(() => b.role === "Primary");
    expect(b.disk.rows).toEqual(["mine"]);
  });

  test("RoleAware: the command runs beside a standby and goes on as primary; fencing ends it", async () => {
    world.log.latencyMs = 1;
    a.start({ gate: "RoleAware" });
    await world.until(() => a.role === "Primary");
    a.write("row");
    await world.settle(a.member.barrier(never));
    b.start({ gate: "RoleAware" });
    await world.until(() => b.role === "Standby" && b.master.running);
    a.crash();
    await world.until(() => b.role === "Primary");
    expect(b.master.starts).toBe(1);
    expect(b.member.roles.state.writable).toBe(true);
    expect(b.shipper?.masterStarts).toBe(1);
    world.log.cutOff.add("b");
    await world.until(() => !b.master.running);
    expect(b.member.roles.state.writable).toBe(false);
  });
});

test("nothing is compared or replaced on a disk that a master has open", async () => {
  world.log.latencyMs = 1;
  a.start();
  await world.until(() => a.role === "Primary");
  a.write("row");
  let trimmed = false;
  const runningThen: boolean[] = [];
  const reader = () => memoryReader(world.log, "b", b.clock);
  b.start(
    { gate: "RoleAware" },
    {
      reconcile: (signal) => {
        runningThen.push(b.master.running);
        return modelReconcile(b.disk, reader(), signal);
      },
      makeFollower: () => {
        const follower = new ModelFollower(b.disk, reader());
        const poll = follower.poll.bind(follower);
        follower.poll = async (signal) => {
          if (!trimmed) return await poll(signal);
          trimmed = false;
          throw new MetaMasterError("TrimmedAway", "conflict", "gone");
        };
        return follower;
      },
    },
  );
  await world.until(() => b.master.running);
  trimmed = true;
  await world.until(() => runningThen.length === 2);
  expect(runningThen).toEqual([false, false]);
});

describe("roles", () => {
  test("a long poll is answered at the next change, and at once if it missed one", async () => {
    a.start();
    const { version } = a.member.roles.state;
    const next = await world.settle(a.member.roles.after(version, never));
    expect(next.version).toBe(version + 1);
    await world.until(() => a.role === "Primary");
    expect((await world.settle(a.member.roles.after(1, never))).role).toBe("Primary");
    const gone = new AbortController();
    const waiting = a.member.roles.after(a.member.roles.state.version, gone.signal);
    gone.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
  });
});
