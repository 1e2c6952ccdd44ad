import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Changes } from "../base/changes.js";
import { MetaMasterError } from "../base/errors.js";
import type { LogReader } from "../log/log.js";
import type { Proof } from "./proof.js";
import { pause } from "../base/scope.js";
import { memoryReader } from "./testing/memory-log.js";
import { ModelFollower } from "./testing/model-replica.js";
import { World, type Machine } from "./testing/world.js";

let world: World;
let a: Machine;
let b: Machine;

beforeEach(() => {
  world = new World();
  a = world.machine("a");
  b = world.machine("b");
});

afterEach(() => {
  world.close();
  expect(a.failure).toBeUndefined();
  expect(b.failure).toBeUndefined();
});

async function twoMembers(): Promise<void> {
  a.start();
  await world.until(() => a.role === "Primary");
  b.start();
  await world.until(() => b.role === "Standby");
}

const never = new AbortController().signal;

describe("a bucket that was not found safe yet", () => {
  let passed: boolean;
  let isAway: boolean;
  const proof: Proof = {
    within: async (ms, signal) => {
      if (!passed) await b.clock.sleep(ms, signal);
      return passed;
    },
  };
  beforeEach(async () => {
    passed = false;
    a.start();
    await world.until(() => a.role === "Primary");
    isAway = false;
    const reader = (): LogReader => memoryReader(world.log, "b", b.clock);
    b.start(
      {},
      {
        proof,
        makeFollower: () =>
          new ModelFollower(b.disk, {
            cluster: reader().cluster,
            read: (slot, signal) => reader().read(slot, signal),
            findGap: (slot, signal) => reader().findGap(slot, signal),
            next: (position, signal) =>
              isAway
                ? Promise.reject(new MetaMasterError("BucketUnavailable", "transient", "away"))
                : reader().next(position, signal),
          }),
      },
    );
    await world.until(() => b.role === "Standby");
  });

  test("is followed, and nothing is claimed in it before it was", async () => {
    a.write("row");
    await world.settle(a.member.barrier(never));
    await world.until(() => b.disk.rows.includes("row"));
    a.crash();
    await world.pass(10 * world.leaseMs);
    expect(b.role).toBe("Standby");
    expect(world.log.entries.filter(({ header }) => header.kind === "claim")).toHaveLength(1);
    passed = true;
    await world.until(() => b.role === "Primary");
    expect(b.disk.rows).toEqual(["row"]);
  });

  test("whoever asks meanwhile for a member that can't stand yet has its answer afterwards", async () => {
    const switched = a.member.switchover({ to: "b" }, never);
    await world.pass(1000);
    expect(world.log.answers).toEqual([]);
    passed = true;
    expect(await world.settle(switched)).toMatchObject({ primary: "b" });
  });

  test("it is given also where a look fails before the bucket is found safe", async () => {
    const switched = a.member.switchover({ to: "b" }, never);
    await world.pass(1000);
    isAway = true;
    await world.until(() => b.member.status.trouble === "away");
    isAway = false;
    await world.pass(500);
    passed = true;
    expect(await world.settle(switched)).toMatchObject({ primary: "b" });
  });

  test("a member that is told to stop meanwhile ends", async () => {
    b.stop.abort(new Error("stop"));
    await world.until(() => b.end !== undefined);
    expect(b.end).toMatchObject({ reason: "Stopped" });
  });
});

describe("becoming primary", () => {
  test("an empty history is begun by the first claim, through every role in order", async () => {
    a.start();
    await world.until(() => a.role === "Primary");
    expect(a.roles).toEqual(["Syncing", "Syncing", "Standby", "Promoting", "Promoting", "Promoting", "Primary"]);
    expect(world.log.entries[0]?.header).toMatchObject({ kind: "claim", epoch: 1, writer: { member: "a" } });
    expect(a.member.status.failovers.at(-1)).toMatchObject({
      kind: "Start",
      to: "a",
      epoch: 1,
      slot: 0,
      from: undefined,
    });
  });

  test("one of two that begin together wins, the other follows it", async () => {
    a.start();
    b.start();
    await world.until(() => world.primaries.length === 1);
    await world.pass(10_000);
    expect(world.primaries).toHaveLength(1);
    expect([a.role, b.role].toSorted()).toEqual(["Primary", "Standby"]);
    expect(world.log.entries.filter(({ header }) => header.kind === "claim")).toHaveLength(1);
  });

  test("a dead primary is followed by a standby within a lease and its jitter, with all that was acknowledged", async () => {
    await twoMembers();
    a.write("row1");
    await world.settle(a.member.barrier(never));
    const crashedMs = world.scheduler.nowMs;
    a.crash();
    await world.until(() => b.role === "Primary");
    expect(world.scheduler.nowMs - crashedMs).toBeLessThan(world.leaseMs * 1.1 + 500);
    expect(b.disk.rows).toEqual(["row1"]);
    b.write("row2");
    await world.settle(b.member.barrier(never));
    const record = b.member.status.failovers.at(-1);
    expect(record).toMatchObject({ kind: "Failover", cause: "LeaseExpired", from: "a", to: "b", epoch: 2 });
    expect(record?.firstWriteMs).toBeGreaterThan(0);
    const parts = [record?.detectMs, record?.leaseMs, record?.drainMs, record?.claimMs, record?.openMs];
    const sum = parts.reduce<number>((total, part) => total + (part ?? NaN), 0);
    expect(sum).toBeLessThanOrEqual(world.scheduler.nowMs - crashedMs + world.leaseMs / 3 + 10);
    expect(sum).toBeGreaterThan(world.leaseMs);
    expect(b.records.failovers).toEqual(b.member.status.failovers);
  });

  test("a restarted primary whose claim is the last claims anew at once and ships its tail before the master starts", async () => {
    await twoMembers();
    world.log.cutOff.add("a");
    a.write("tail");
    a.crash();
    world.log.cutOff.delete("a");
    const startedMs = world.scheduler.nowMs;
    a.start();
    let durable: string[] = [];
    a.master.onStart = () => {
      durable = world.rows;
    };
    await world.until(() => a.role === "Primary");
    expect(world.scheduler.nowMs - startedMs).toBeLessThan(500);
    expect(world.log.last?.header.epoch).toBe(2);
    expect(durable).toEqual(["tail"]);
    expect(a.shipper?.checkpoints).toEqual(["Start"]);
    expect(a.member.status.failovers.at(-1)).toMatchObject({ kind: "Resumed", cause: "OwnEpoch" });
  });
});

describe("losing leadership", () => {
  test("a primary that can't reach the bucket has ended its master before another one starts, and comes back as standby", async () => {
    await twoMembers();
    world.log.cutOff.add("a");
    await world.until(() => b.master.running);
    expect(a.master.running).toBe(false);
    expect(a.master.ends.length).toBeGreaterThan(0);
    await world.until(() => b.role === "Primary");
    world.log.cutOff.delete("a");
    await world.until(() => a.role === "Standby");
    expect(a.roles).toContain("Fencing");
    expect(a.member.status.fencedTotal).toBe(1);
  });

  test("Hold: the master is left running, nothing is acknowledged, the other takes over and the log decides", async () => {
    world.onBucketLoss = "Hold";
    await twoMembers();
    world.log.cutOff.add("a");
    await world.until(() => b.role === "Primary");
    expect(a.master.running).toBe(true);
    expect(a.lines.join("\n")).toContain("left running");
    await expect(world.settle(a.member.barrier(never))).rejects.toMatchObject({ code: "NotPrimary" });
    world.log.cutOff.delete("a");
    await world.until(() => a.role === "Standby");
    expect(a.master.running).toBe(false);
  });

  test("a primary that slept past its lease finds the slot taken, acknowledges nothing and ends its master", async () => {
    await twoMembers();
    a.incarnation.freeze();
    await world.until(() => b.role === "Primary");
    a.master.crash({ code: undefined, signal: "SIGKILL" });
    const barrier = a.member.barrier(never);
    barrier.catch(() => undefined);
    a.incarnation.thaw();
    await expect(world.settle(barrier)).rejects.toThrow();
    await world.until(() => a.role === "Standby");
    expect(world.primaries).toEqual([b]);
  });

  test("without heartbeats (another election) an idle primary looks at the next slot by itself", async () => {
    a.start(
      { fenceCheckMs: 2000 },
      {
        election: {
          begin: () => {},
          end: async () => {},
          released: () => {},
          trouble: undefined,
          changed: new Changes(),
          observed: () => {},
          observedEnd: () => {},
          durable: () => {},
          pollDelayMs: () => 100,
          candidacy: () =>
            world.log.entries.length === 0 ? { reason: "Evidence", detectMs: 0, leaseMs: 0 } : undefined,
          lead: async ({ extended }, signal) => {
            extended(a.clock.monotonicMs(), Infinity, Infinity);
            await pause(a.clock, 1e9, signal);
            return { reason: "Stopped" };
          },
        },
      },
    );
    await world.until(() => a.role === "Primary");
    await world.pass(30_000);
    expect(world.log.entries).toHaveLength(1);
    world.log.write("claim", { member: "x", nonce: "x" }, 2);
    await world.until(() => a.role === "Fencing", 2500);
    await world.until(() => a.role === "Standby");
    expect(a.master.running).toBe(false);
  });

  test("a foreign claim is seen by the next heartbeat", async () => {
    await twoMembers();
    world.log.write("claim", { member: "x", nonce: "x" }, 2);
    await world.until(() => a.role === "Fencing", world.leaseMs / 2);
    await world.until(() => a.role === "Standby");
    expect(a.master.running).toBe(false);
  });
});
