import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { Election, LeadershipEnd } from "../election/election.js";

/** One candidate or leader of a cluster under test, driven as a member drives it. */
export interface Contender {
  readonly name: string;
  readonly election: Election;
  /** Watches and claims when allowed, from now on; leads when it has won. */
  stand(): void;
  /** True from a won claim to the end of `lead`. */
  readonly leads: boolean;
  /** Monotonic times of the world. Undefined before the first. */
  readonly provenUntilMs: number | undefined;
  readonly deadMs: number | undefined;
  readonly ended: LeadershipEnd | undefined;
  /** How often it has won. */
  readonly wins: number;
  mayRenew: boolean;
  /** Ends leadership in order; `to`: "" for anybody. */
  release(to: string): Promise<void>;
  /** Ends `lead` by its signal. */
  stop(): void;
  freeze(): void;
  thaw(): void;
  /** Neither the bucket nor anything else can be reached. */
  cutOff(cut: boolean): void;
  stepWall(ms: number): void;
}

export interface ElectionWorld {
  readonly leaseMs: number;
  /** So many leases are long enough to see that nothing changes. */
  readonly manyLeases: number;
  readonly nowMs: number;
  contender(name: string): Contender;
  /** Rejects if it does not come to that; a world in real time may take `limitMs` for more. */
  until(condition: () => boolean, limitMs?: number): Promise<void>;
  pass(ms: number): Promise<void>;
  close(): void;
}

/** What every implementation of Election must keep: one leader at a time (up to `deadMs`), and soon another one when it is gone. */
export function electionContract(name: string, make: () => ElectionWorld): void {
  describe(`election contract: ${name}`, () => {
    let world: ElectionWorld;
    let a: Contender;
    let b: Contender;
    let c: Contender;

    beforeEach(() => {
      world = make();
      [a, b, c] = [world.contender("a"), world.contender("b"), world.contender("c")];
    });

    afterEach(() => world.close());

    async function led(): Promise<void> {
      a.stand();
      await world.until(() => a.leads);
      b.stand();
      c.stand();
      await world.pass(world.leaseMs / 2);
    }

    function leaders(): string[] {
      return [a, b, c].filter(({ leads }) => leads).map((each) => each.name);
    }

    test("three that begin together have one leader, for as long as it lives", async () => {
      for (const each of [a, b, c]) each.stand();
      await world.until(() => leaders().length === 1);
      const [leader] = leaders();
      await world.pass(world.manyLeases * world.leaseMs);
      expect(leaders()).toEqual([leader]);
      expect(a.wins + b.wins + c.wins).toBe(1);
    });

    test("leadership is proven ahead of time, and ends before the moment by which the master must be dead", async () => {
      await led();
      const { provenUntilMs = 0, deadMs = 0 } = a;
      expect(provenUntilMs).toBeGreaterThan(world.nowMs);
      expect(provenUntilMs).toBeLessThan(world.nowMs + world.leaseMs);
      expect(deadMs).toBeGreaterThan(provenUntilMs);
      await world.pass(3 * world.leaseMs);
      expect(a.provenUntilMs).toBeGreaterThan(world.nowMs);
    });

    test("one that can't be renewed ends by itself, before anybody else leads", async () => {
      await led();
      a.cutOff(true);
      await world.until(() => !a.leads, world.leaseMs);
      expect(a.ended?.reason).toBe("LeaseLost");
      expect(leaders()).toEqual([]);
      await world.until(() => leaders().length === 1, 2 * world.leaseMs);
      expect(world.nowMs).toBeGreaterThan(a.deadMs ?? Infinity);
    });

    test("a frozen leader is followed only after the moment by which its master must be dead; it learns of it when it wakes", async () => {
      await led();
      a.freeze();
      const deadMs = a.deadMs ?? Infinity;
      await world.until(() => b.leads || c.leads, 3 * world.leaseMs);
      expect(world.nowMs).toBeGreaterThan(deadMs);
      a.thaw();
      await world.until(() => !a.leads, world.leaseMs);
      expect(["LeaseLost", "Fenced"]).toContain(a.ended?.reason);
    });

    test("a leader whose master is not well is not renewed", async () => {
      await led();
      a.mayRenew = false;
      await world.until(() => !a.leads, world.leaseMs);
      expect(a.ended?.reason).toBe("LeaseLost");
      await world.until(() => b.leads || c.leads, 2 * world.leaseMs);
    });

    test("a release lets another one lead at once, the named one if there is one", async () => {
      await led();
      await a.release("c");
      await world.until(() => c.leads, world.leaseMs / 2);
      expect([b.wins, c.wins]).toEqual([0, 1]);
      await c.release("");
      await world.until(() => leaders().length === 1 && !c.leads, world.leaseMs / 2);
    });

    test("a stopped one resolves and says so", async () => {
      await led();
      a.stop();
      await world.until(() => !a.leads, 100);
      expect(a.ended?.reason).toBe("Stopped");
    });

    test("a candidate that only just began to watch waits; one that slept counts only what it sees after waking", async () => {
      a.stand();
      await world.until(() => a.leads);
      b.stand();
      await world.pass(world.leaseMs / 2);
      b.freeze();
      await world.pass((world.manyLeases / 2) * world.leaseMs);
      b.thaw();
      await world.pass(world.leaseMs);
      expect(leaders()).toEqual(["a"]);
      a.freeze();
      c.stand();
      await world.pass(world.leaseMs / 2);
      expect(c.leads).toBe(false);
    });

    test("wall clocks that step by an hour change nothing", async () => {
      await led();
      a.stepWall(3_600_000);
      b.stepWall(-3_600_000);
      await world.pass((world.manyLeases / 4) * world.leaseMs);
      expect(leaders()).toEqual(["a"]);
      a.cutOff(true);
      await world.until(() => b.leads || c.leads, 3 * world.leaseMs);
    });
  });
}
