import { expect, test } from "@jest/globals";
import { LogElection } from "./log-election.js";
import { electionContract } from "../testing/election-contract.js";
import { silent, SimulatedContender, SimulatedElections } from "../testing/contender.js";

class LogWorld extends SimulatedElections {
  override contender(name: string, onBucketLoss: "Fence" | "Hold" = "Fence"): SimulatedContender {
    const place = this.place(name);
    const election = new LogElection(
      { member: name, leaseMs: this.leaseMs, onBucketLoss },
      { clock: place.clock, random: this.random.stream(name), logger: silent },
    );
    return this.keep(new SimulatedContender(this, name, place, election));
  }
}

test("what a durable entry proves is told at once: a barrier that waited for it may be answered", async () => {
  const world = new LogWorld();
  const contender = world.contender("a");
  contender.stand();
  await world.until(() => contender.leads);
  await world.pass(world.leaseMs / 6);
  const before = contender.provenUntilMs ?? Infinity;
  contender.appended(5);
  expect(contender.provenUntilMs).toBe(world.nowMs - 5 + (world.leaseMs * 2) / 3);
  expect(contender.provenUntilMs).toBeGreaterThan(before);
  world.close();
});

test("Hold: however long the bucket is away, the watchdog is given the same short lease, anew all the time", async () => {
  const world = new LogWorld();
  const contender = world.contender("a", "Hold");
  contender.stand();
  await world.until(() => contender.leads);
  contender.cutOff(true);
  for (let leases = 0; leases < 100; leases++) {
    await world.pass(world.leaseMs);
    expect(contender.deadMs).toBeGreaterThan(world.nowMs + world.leaseMs / 2);
  }
  expect(contender.leads).toBe(true);
  expect(contender.provenUntilMs).toBeLessThan(world.leaseMs * 2);
  // A watchdog leaves out extensions that are a small part of its lease: of one that began long ago that would be too much.
  expect(contender.longestMs).toBeLessThanOrEqual(world.leaseMs);
  world.close();
});

electionContract("through the log", () => new LogWorld());
