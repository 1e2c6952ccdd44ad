import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { LeaseServer } from "../../sim/lease-server.js";
import { SeededRandom } from "../../sim/random.js";
import { MetaMasterError } from "../base/errors.js";
import { LeaseElection } from "./election/lease-election.js";
import { silent } from "./testing/contender.js";
import { World, type Machine } from "./testing/world.js";

let world: World;
let a: Machine;
let b: Machine;
let c: Machine;
const never = new AbortController().signal;
const noWatchdog = new MetaMasterError("MasterStartFailed", "transient", "there is no watchdog.", { hint: "Look." });

beforeEach(() => {
  world = new World();
  [a, b, c] = [world.machine("a"), world.machine("b"), world.machine("c")];
});

afterEach(() => {
  world.close();
  for (const { failure } of [a, b, c]) expect(failure).toBeUndefined();
});

/** As `start`, with a master that can't be started. */
function hinder(machine: Machine): void {
  machine.start();
  machine.master.hindrance = noWatchdog;
}

/** A Lease that nobody writes but the tested members. */
function leaseElection(machine: Machine, server: LeaseServer): LeaseElection {
  const { name } = machine;
  return new LeaseElection(
    {
      member: name,
      self: { uid: `uid-${name}`, nonce: name },
      leaseMs: 3000,
      renewDeadlineMs: 2000,
      retryPeriodMs: 400,
    },
    {
      clock: {
        monotonicMs: () => machine.clock.monotonicMs(),
        wallMs: () => machine.clock.wallMs(),
        sleep: (ms, signal) => machine.clock.sleep(ms, signal),
      },
      random: new SeededRandom(1, "lease"),
      logger: silent,
      store: {
        read: async () => server.stored,
        create: async (record) => server.create(record),
        update: async (from, record) => server.update(from, record),
      },
      witness: { ownMasterEnded: async () => true, evidence: async () => false },
    },
  );
}

test("whoever has no watchdog leaves the lead to another member, and says so", async () => {
  a.start();
  await world.until(() => a.role === "Primary");
  hinder(b);
  await world.until(() => b.role === "Standby");
  await world.pass(2 * world.leaseMs);
  a.crash();
  await world.pass(5 * world.leaseMs);
  expect([b.role, b.master.starts]).toEqual(["Standby", 0]);
  const told = "this member does not stand for election: there is no watchdog. Look.";
  expect(b.member.status.trouble).toBe(told);
  expect(b.lines.filter((line) => line === `warn ${told}`)).toHaveLength(1);
  c.start();
  await world.until(() => c.role === "Primary");
  await world.pass(1000);
  expect(b.member.status.primary).toMatchObject({ member: "c" });
});

test("it is electable as soon as the watchdog is back: no lease is waited for anew", async () => {
  hinder(a);
  await world.pass(5 * world.leaseMs);
  expect(world.log.entries).toEqual([]);
  a.master.hindrance = undefined;
  await world.until(() => a.role === "Primary", world.leaseMs / 2);
  hinder(b);
  await world.until(() => b.role === "Standby");
  a.crash();
  await world.pass(5 * world.leaseMs);
  expect(b.role).toBe("Standby");
  b.master.hindrance = undefined;
  await world.until(() => b.role === "Primary", world.leaseMs / 2);
  expect(b.member.status.trouble).toBeUndefined();
  expect(b.lines.join("\n")).toContain("this member stands for election again");
});

test("a switchover to it is refused, and nothing is ended", async () => {
  a.start();
  await world.until(() => a.role === "Primary");
  hinder(b);
  c.start();
  await world.until(() => b.role === "Standby" && c.role === "Standby");
  await world.pass(500);
  await expect(world.settle(a.member.switchover({ to: "b" }, never))).rejects.toMatchObject({
    code: "SwitchoverRefused",
    message: expect.stringContaining("are c."),
  });
  expect([a.role, a.master.ends.length]).toEqual(["Primary", 0]);
});

test("the tail of its own epoch is shipped all the same", async () => {
  a.start();
  await world.until(() => a.role === "Primary");
  world.log.cutOff.add("a");
  a.write("tail");
  a.crash();
  world.log.cutOff.delete("a");
  hinder(a);
  a.master.startError = noWatchdog;
  await world.until(() => world.rows.includes("tail"), world.leaseMs);
  // And what it can't lead is not kept from others.
  b.start();
  await world.until(() => b.role === "Primary");
  expect(b.disk.rows).toEqual(["tail"]);
});

test("a lease that it had won is given back, and not renewed for ever", async () => {
  const server = new LeaseServer();
  a.start({}, { election: leaseElection(a, server) });
  await world.until(() => server.stored?.record.holder === "uid-a_a");
  a.master.hindrance = noWatchdog;
  await world.until(() => server.stored?.record.holder === "", 1000);
  await world.pass(10_000);
  expect([world.log.entries, server.stored?.record.holder]).toEqual([[], ""]);
  a.master.hindrance = undefined;
  await world.until(() => a.role === "Primary", 2000);
});

test("a disk that takes no write keeps the lease from nobody", async () => {
  const server = new LeaseServer();
  const full = new MetaMasterError("DiskFull", "transient", "no space");
  const { records } = a;
  let isFull = true;
  a.start(
    {},
    {
      election: leaseElection(a, server),
      makeShipper: () => {
        throw full;
      },
      records: Object.assign(Object.create(records) as typeof records, {
        writeFailovers: async () => {
          if (isFull) throw full;
        },
      }),
    },
  );
  // Nobody else is there: it claims once, and then waits for its disk.
  await world.until(() => a.lines.some((line) => line.includes("the claimed epoch could not be begun")));
  await world.pass(10 * world.leaseMs);
  expect(a.member.status.trouble).toContain("no space");
  expect(a.lines.filter((line) => line.includes("following is held up")).length).toBeLessThan(30);
  expect(world.log.entries.filter(({ header }) => header.kind === "claim")).toHaveLength(1);
  b.start({}, { election: leaseElection(b, server) });
  await world.until(() => b.role === "Primary", 3 * world.leaseMs);
  isFull = false;
  await world.pass(2 * world.leaseMs);
  b.crash();
  await world.until(() => a.lines.some((line) => line.includes("claimed epoch 3")));
});
