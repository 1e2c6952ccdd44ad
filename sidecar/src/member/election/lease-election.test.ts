import { describe, expect, test } from "@jest/globals";
import { LeaseServer, SimulatedLeases } from "../../../sim/lease-server.js";
import { noFaults, type NetworkFaults, type Route } from "../../../sim/network.js";
import type { LeaseStore } from "../../kube/leases.js";
import { LeaseElection } from "./lease-election.js";
import { electionContract } from "../testing/election-contract.js";
import { silent, SimulatedContender, SimulatedElections } from "../testing/contender.js";

class LeaseWorld extends SimulatedElections {
  readonly server = new LeaseServer();
  readonly routes = new Map<string, Route>();
  readonly faults: NetworkFaults;
  readonly dead = new Set<string>();
  /** How often evidence was asked for. */
  asked = 0;

  constructor(faults: NetworkFaults = { ...noFaults, deadlineMs: 300 }) {
    super();
    this.faults = faults;
  }

  override contender(name: string): SimulatedContender {
    const place = this.place(name);
    const route: Route = { faults: this.faults, state: "open" };
    this.routes.set(name, route);
    const random = this.random.stream(name);
    const store: LeaseStore = new SimulatedLeases(this.server, { ...place, scheduler: this.scheduler, random, route });
    const election = new LeaseElection(
      {
        member: name,
        self: { uid: `uid-${name}`, nonce: name },
        leaseMs: this.leaseMs,
        renewDeadlineMs: (this.leaseMs * 2) / 3,
        retryPeriodMs: (this.leaseMs * 2) / 15,
      },
      {
        clock: place.clock,
        random,
        logger: silent,
        store,
        witness: {
          ownMasterEnded: async () => true,
          evidence: async ({ nonce }) => {
            this.asked += 1;
            return this.dead.has(nonce);
          },
        },
      },
    );
    return this.keep(new SimulatedContender(this, name, place, election));
  }

  override cutOff(name: string, cut: boolean): void {
    super.cutOff(name, cut);
    this.cutOffApi(name, cut);
  }

  cutOffApi(name: string, cut: boolean): void {
    const route = this.routes.get(name);
    if (route !== undefined) route.state = cut ? "cut" : "open";
  }
}

electionContract("through a lease", () => new LeaseWorld());

const awful: NetworkFaults = {
  delayMsMax: 20,
  listDelayMsMax: 20,
  failedShare: 0.1,
  lostAnswerShare: 0.15,
  lateShare: 0.05,
  lateMsMax: 4000,
  duplicatedShare: 0.15,
  flippedShare: 0,
  deadlineMs: 200,
};

electionContract("through a lease, over a network that loses, delays and repeats", () => new LeaseWorld(awful));

async function led(): Promise<{ world: LeaseWorld; a: SimulatedContender; b: SimulatedContender }> {
  const world = new LeaseWorld();
  const [a, b] = [world.contender("a"), world.contender("b")];
  a.stand();
  await world.until(() => a.leads);
  b.stand();
  await world.pass(world.leaseMs / 2);
  return { world, a, b };
}

describe("what only a lease can do", () => {
  test("a lease given up tells nobody for whom: one that reads it before the log does not come before the one that was named", async () => {
    const won: string[] = [];
    for (let offset = 0; offset < 40; offset++) {
      const world = new LeaseWorld();
      const [a, b, c] = [world.contender("a"), world.contender("b"), world.contender("c")];
      a.stand();
      await world.until(() => a.leads);
      for (const other of [b, c]) other.stand();
      await world.pass(world.leaseMs / 2 + 13 * offset);
      await a.release("c");
      await world.until(() => b.leads || c.leads, world.leaseMs / 2);
      won.push(b.leads ? "b" : "c");
      world.close();
    }
    expect(new Set(won)).toEqual(new Set(["c"]));
  });

  test("the bucket away: the leader leads on", async () => {
    const { world, a, b } = await led();
    for (const name of ["a", "b"]) world.log.cutOff.add(name);
    await world.pass(10 * world.leaseMs);
    expect([a.leads, b.leads]).toEqual([true, false]);
    expect(a.provenUntilMs).toBeGreaterThan(world.nowMs);
    world.close();
  });

  test("the API server away for less than the lease: nothing changes", async () => {
    const { world, a } = await led();
    for (let outages = 0; outages < 5; outages++) {
      for (const name of ["a", "b"]) world.cutOffApi(name, true);
      await world.pass(world.leaseMs / 3);
      for (const name of ["a", "b"]) world.cutOffApi(name, false);
      await world.pass(world.leaseMs / 3);
    }
    expect(a.leads).toBe(true);
    expect(a.wins).toBe(1);
    world.close();
  });

  test("nobody claims without the lease, whatever the log shows", async () => {
    const { world, b } = await led();
    world.cutOffApi("b", true);
    await world.pass(10 * world.leaseMs);
    expect(b.leads).toBe(false);
    world.close();
  });

  test("a renewal counts from when it was sent, however late its answer", async () => {
    const { world, a } = await led();
    const route = world.routes.get("a");
    if (route === undefined) throw new Error("no way");
    route.faults = { ...noFaults, delayMsMax: 300, deadlineMs: 1000 };
    for (let renewals = 0; renewals < 20; renewals++) {
      const before = world.server.stored?.resourceVersion;
      const until = a.provenUntilMs;
      await world.until(() => world.server.stored?.resourceVersion !== before);
      const landedMs = world.nowMs;
      await world.until(() => a.provenUntilMs !== until);
      expect(a.provenUntilMs).toBeLessThanOrEqual(landedMs + (world.leaseMs * 2) / 3);
      expect(a.deadMs).toBeLessThanOrEqual(landedMs + (world.leaseMs * 5) / 6);
    }
    world.close();
  });

  test("another program's lease is waited for as long as it renews it, and told meanwhile", async () => {
    const world = new LeaseWorld();
    const stranger = {
      holder: "controller-7f_0b1c-uuid",
      durationMs: 5000,
      acquireTime: "",
      transitions: 0,
      heldBy: [],
    };
    const a = world.contender("a");
    a.stand();
    for (let renewals = 0; renewals < 20; renewals++) {
      world.server.overwrite({ ...stranger, renewTime: String(renewals) });
      await world.pass(world.leaseMs / 2);
      expect(a.election.trouble).toMatchObject({
        code: "LeaseForeign",
        message: expect.stringContaining("held by controller-7f_0b1c-uuid"),
      });
      expect(a.leads).toBe(false);
    }
    await world.until(() => a.leads);
    expect(a.election.trouble).toBeUndefined();
    world.close();
  });

  test("while the holder renews nobody asks the cluster for evidence", async () => {
    const { world } = await led();
    await world.pass(20 * world.leaseMs);
    expect(world.asked).toBe(0);
    world.close();
  });

  test("a lease that somebody labels is renewed all the same", async () => {
    const { world, a } = await led();
    for (let labels = 0; labels < 50; labels++) {
      const { stored } = world.server;
      if (stored === undefined) throw new Error("no lease");
      world.server.overwrite(stored.record);
      await world.pass(world.leaseMs / 20);
    }
    expect([a.leads, a.wins]).toEqual([true, 1]);
    expect(a.provenUntilMs).toBeGreaterThan(world.nowMs + world.leaseMs / 3);
    world.close();
  });

  test("evidence of the holder's death is enough", async () => {
    const { world, a, b } = await led();
    a.crash();
    world.dead.add("a");
    const startMs = world.nowMs;
    await world.until(() => b.leads, world.leaseMs / 2);
    expect(world.nowMs - startMs).toBeLessThan(world.leaseMs / 2);
    world.close();
  });

  test("a deleted lease is made again by its holder, and taken by nobody else meanwhile", async () => {
    const { world, a, b } = await led();
    world.server.remove();
    await world.pass(3 * world.leaseMs);
    expect([a.leads, b.leads]).toEqual([true, false]);
    expect(world.server.stored?.record.holder).toBe("uid-a_a");
    world.close();
  });

  test("a lease taken away by hand ends leadership with the next renewal", async () => {
    const { world, a } = await led();
    const { stored } = world.server;
    if (stored === undefined) throw new Error("no lease");
    world.server.overwrite({ ...stored.record, holder: "somebody_else" });
    await world.until(() => !a.leads, world.leaseMs / 4);
    expect(a.ended?.reason).toBe("LeaseLost");
    world.close();
  });

  test("a lease emptied by hand is no release: its holder's master is dead before anybody leads", async () => {
    for (let round = 0; round < 20; round++) {
      const { world, a, b } = await led();
      await world.pass((round * world.leaseMs) / 100);
      const { stored } = world.server;
      if (stored === undefined) throw new Error("no lease");
      world.server.overwrite({ ...stored.record, holder: "" });
      await world.until(() => b.leads || a.wins > 1);
      if (a.wins === 1) expect(world.nowMs).toBeGreaterThanOrEqual(a.deadMs ?? Infinity);
      world.close();
    }
  });

  test("a released lease has no holder, and a stopped leader's keeps its own", async () => {
    const { world, a, b } = await led();
    await a.release("");
    await world.until(() => b.leads, world.leaseMs / 2);
    expect(world.server.stored?.record).toMatchObject({ holder: "uid-b_b", transitions: 1 });
    b.stop();
    await world.until(() => !b.leads);
    expect(world.server.stored?.record.holder).toBe("uid-b_b");
    await world.pass(world.leaseMs);
    world.close();
  });

  test("a stint that ends gives back what it won", async () => {
    const world = new LeaseWorld();
    const a = world.contender("a");
    a.election.begin({ slot: -1, last: undefined, ownEpoch: false, atMs: 0 });
    await world.pass(50);
    a.election.observedEnd(97_000 + world.nowMs);
    for (let asked = 0; asked < 20 && world.server.stored === undefined; asked++) {
      a.election.candidacy(97_000 + world.nowMs);
      await world.pass(20);
      a.election.observedEnd(97_000 + world.nowMs);
    }
    expect(world.server.stored?.record.holder).toBe("uid-a_a");
    void a.election.end();
    await world.until(() => world.server.stored?.record.holder === "", 1000);
    world.close();
  });
});
