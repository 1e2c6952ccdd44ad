import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../base/errors.js";
import { memoryClaim } from "./testing/memory-log.js";
import { World, type Machine } from "./testing/world.js";

let world: World;
let a: Machine;
let b: Machine;
let c: Machine;
const never = new AbortController().signal;

beforeEach(() => {
  world = new World();
  a = world.machine("a");
  b = world.machine("b");
  c = world.machine("c");
});

afterEach(() => {
  world.close();
  for (const { failure } of [a, b, c]) expect(failure).toBeUndefined();
});

async function cluster(settings = {}): Promise<void> {
  a.start(settings);
  await world.until(() => a.role === "Primary");
  b.start();
  c.start();
  await world.until(() => b.role === "Standby" && c.role === "Standby");
  // Both have looked at the end.
  await world.pass(500);
}

describe("switchover", () => {
  test("to a named member: it takes over at once, nothing is lost, the old primary follows", async () => {
    await cluster();
    a.write("row");
    const startedMs = world.scheduler.nowMs;
    const result = await world.settle(a.member.switchover({ to: "c", maxLagBytes: 10 }, never));
    await world.until(() => c.role === "Primary");
    expect(world.scheduler.nowMs - startedMs).toBeLessThan(1000);
    expect(result).toMatchObject({ primary: "c", epoch: 2 });
    const { prepareMs, stopMs, shipMs, claimMs } = result;
    for (const part of [prepareMs, stopMs, shipMs, claimMs]) expect(part).toBeGreaterThan(0);
    expect(c.disk.rows).toEqual(["row"]);
    expect(a.shipper?.checkpoints).toEqual(["Stop"]);
    expect(a.master.ends).toMatchObject([{ exit: { code: 0 } }]);
    const kinds = world.log.entries.map(({ header }) => header.kind);
    expect(kinds.indexOf("handover")).toBeLessThan(kinds.indexOf("checkpoint"));
    expect(kinds.indexOf("release")).toBe(kinds.lastIndexOf("claim") - 1);
    await world.until(() => a.role === "Standby");
    expect(c.member.status.failovers.at(-1)).toMatchObject({ kind: "Switchover", cause: "Released", from: "a" });
  });

  test("to whoever comes first: one of the others", async () => {
    await cluster();
    const { primary } = await world.settle(a.member.switchover({}, never));
    expect(["b", "c"]).toContain(primary);
  });

  test("to a member that doesn't come: after the time it is reserved for another one takes over", async () => {
    await cluster({ switchover: { reservedMs: 4000, answerMs: 5000 } });
    const startedMs = world.scheduler.nowMs;
    const switchover = a.member.switchover({ to: "c" }, never);
    await world.until(() => world.log.answers.some(({ name }) => name === "c"));
    c.crash();
    const { primary, claimMs } = await world.settle(switchover);
    expect(["a", "b"]).toContain(primary);
    expect(claimMs).toBeGreaterThanOrEqual(3900);
    expect(world.scheduler.nowMs - startedMs).toBeLessThan(7000);
  });

  test.each([
    ["nobody", "nobody", "b, c"],
    ["one that has ended", "c", "are b."],
  ])("to %s: refused with the names of those who could, nothing is ended", async (_what, to, named) => {
    await cluster();
    if (to === "c") c.crash();
    const refused = world.settle(a.member.switchover({ to }, never));
    await expect(refused).rejects.toMatchObject({
      code: "SwitchoverRefused",
      message: expect.stringContaining(named),
    });
    expect([a.role, a.master.starts, a.master.ends.length]).toEqual(["Primary", 1, 0]);
    // It can still be asked for another one.
    expect(await world.settle(a.member.switchover({ to: "b" }, never))).toMatchObject({ primary: "b" });
  });

  test("to anybody where nobody has to answer: a standby says nothing", async () => {
    await cluster();
    await world.settle(a.member.switchover({}, never));
    expect(world.log.answers).toEqual([]);
  });

  test("with nobody else there the member itself goes on after the time it is reserved", async () => {
    await cluster({ switchover: { reservedMs: 4000, answerMs: 5000 } });
    b.crash();
    c.crash();
    const { primary, epoch } = await world.settle(a.member.switchover({}, never));
    expect({ primary, epoch }).toEqual({ primary: "a", epoch: 2 });
    await world.until(() => a.role === "Primary");
  });

  test.each([
    ["not on the primary", "b", {}, "NotPrimary"],
    ["not to itself", "a", { to: "a" }, "SwitchoverRefused"],
    ["not with more lag than allowed", "a", { maxLagBytes: 0 }, "SwitchoverRefused"],
  ] as const)("refused: %s", async (_name, on, request, code) => {
    await cluster();
    world.log.cutOff.add("a");
    a.write("row");
    await expect(world.machine(on).member.switchover(request, never)).rejects.toMatchObject({ code });
  });

  test("a bucket that is away refuses it in time, before anything is ended", async () => {
    await cluster({ stop: { graceMs: 100, shipTimeoutMs: 200 } });
    world.log.cutOff.add("a");
    await expect(world.settle(a.member.switchover({}, never))).rejects.toMatchObject({ code: "SwitchoverFailed" });
    world.log.cutOff.delete("a");
    await world.pass(3000);
    expect(a.role).toBe("Primary");
    expect(a.master.starts).toBe(1);
  });

  test("leadership lost in the middle of it: told so, the master killed", async () => {
    await cluster();
    a.master.stopMs = 20_000;
    const switchover = a.member.switchover({}, never);
    switchover.catch(() => undefined);
    await world.pass(300);
    world.log.cutOff.add("a");
    await expect(world.settle(switchover)).rejects.toMatchObject({ code: "SwitchoverFailed" });
    expect(a.master.running).toBe(false);
    await world.until(() => world.primaries.length === 1);
  });
});

/** Starts it with a claim that tells when it is on its way. */
function startClaiming(machine: Machine): () => boolean {
  let sent = false;
  machine.start(
    {},
    {
      claim: (end, epoch, signal) => {
        sent = true;
        world.log.latencyMs = 200;
        return memoryClaim(world.log, machine.self, machine.clock)(end, epoch, signal);
      },
    },
  );
  return () => sent;
}

describe("told to stop", () => {
  test("as primary: the tail is durable, a standby takes over at once", async () => {
    await cluster();
    a.write("row");
    a.master.onStop = () => a.disk.rows.push("last words");
    const startedMs = world.scheduler.nowMs;
    a.stop.abort(new Error("SIGTERM"));
    await world.until(() => a.end !== undefined);
    const kinds = world.log.entries.map(({ header }) => header.kind);
    expect(kinds.filter((kind) => kind !== "heartbeat")).toEqual(["claim", "handover", "checkpoint", "wal", "release"]);
    expect(a.end).toEqual({ reason: "Stopped", masterExit: { code: 0, signal: undefined }, unshipped: false });
    expect(a.master.running).toBe(false);
    await world.until(() => world.primaries.length === 1);
    expect(world.scheduler.nowMs - startedMs).toBeLessThan(1000);
    expect(world.rows).toEqual(["row", "last words"]);
  });

  test("as primary with the bucket away: ends in its time and says that the tail is only here; the next start ships it", async () => {
    await cluster({ stop: { graceMs: 100, shipTimeoutMs: 300 } });
    world.log.cutOff.add("a");
    a.write("row");
    a.stop.abort(new Error("SIGTERM"));
    await world.until(() => a.end !== undefined, 2000);
    expect(a.end).toMatchObject({ reason: "Stopped", unshipped: true });
    expect(world.log.last?.header.kind).not.toBe("release");
    world.log.cutOff.delete("a");
    a.start();
    await world.until(() => a.role === "Primary");
    expect(world.rows).toEqual(["row"]);
  });

  test("twice: the master gets no more grace", async () => {
    await cluster();
    a.master.stopMs = 1_000_000;
    a.stop.abort(new Error("SIGTERM"));
    await world.pass(1000);
    expect(a.end).toBeUndefined();
    a.member.hurry();
    await world.until(() => a.end !== undefined, 3000);
    expect(a.end).toMatchObject({ unshipped: false });
  });

  test("as standby: what was applied is saved", async () => {
    await cluster();
    const saves = b.follower?.saves ?? 0;
    b.stop.abort(new Error("SIGTERM"));
    await world.until(() => b.end !== undefined, 100);
    expect(b.end).toMatchObject({ reason: "Stopped", unshipped: false });
    expect(b.follower?.saves).toBe(saves + 1);
  });

  test("while syncing, and while nothing can be reached", async () => {
    world.log.cutOff.add("a");
    a.start();
    await world.pass(5000);
    expect(a.role).toBe("Syncing");
    a.stop.abort(new Error("SIGTERM"));
    await world.until(() => a.end !== undefined, 100);
  });

  test("while promoting, before the claim and while the master opens", async () => {
    await cluster();
    a.crash();
    await world.until(() => b.role === "Promoting" || c.role === "Promoting");
    const candidate = b.role === "Promoting" ? b : c;
    candidate.stop.abort(new Error("SIGTERM"));
    await world.until(() => candidate.end !== undefined, 1000);
    const other = candidate === b ? c : b;
    await world.until(() => other.role === "Primary");
    other.crash();
    candidate.start({}, {});
    candidate.master.openMs = 1_000_000;
    await world.until(() => candidate.master.running);
    expect(candidate.role).toBe("Promoting");
    candidate.stop.abort(new Error("SIGTERM"));
    await world.until(() => candidate.end !== undefined, 1000);
    expect(candidate.end).toMatchObject({ unshipped: false });
    expect(world.log.last?.header.kind).toBe("release");
  });

  test("while its claim is on its way: what it wins it gives back, another takes over at once", async () => {
    a.start();
    await world.until(() => a.role === "Primary");
    const sent = startClaiming(b);
    c.start();
    await world.until(() => b.role === "Standby" && c.role === "Standby");
    world.log.cutOff.add("c");
    a.crash();
    await world.until(sent);
    world.log.cutOff.delete("c");
    const startedMs = world.scheduler.nowMs;
    b.stop.abort(new Error("SIGTERM"));
    await world.until(() => b.end !== undefined, 1000);
    expect(b.end).toMatchObject({ reason: "Stopped", unshipped: false });
    expect(world.log.entries.slice(-2).map(({ header }) => [header.kind, header.writer.member])).toEqual([
      ["claim", "b"],
      ["release", "b"],
    ]);
    await world.until(() => c.role === "Primary");
    expect(world.scheduler.nowMs - startedMs).toBeLessThan(world.leaseMs);
  });

  test("while its claim is on its way and the bucket is gone: it does not wait for long, and not at all in a hurry", async () => {
    a.start();
    await world.until(() => a.role === "Primary");
    for (const hurried of [false, true]) {
      const sent = startClaiming(b);
      world.log.latencyMs = 5;
      await world.until(() => b.role === "Standby");
      a.crash();
      await world.until(sent);
      world.log.cutOff.add("b");
      b.stop.abort(new Error("SIGTERM"));
      if (hurried) b.member.hurry();
      await world.until(() => b.end !== undefined, hurried ? 10 : world.leaseMs / 3 + 10);
      expect(b.lines.join("\n")).toContain("the outcome is not known");
      world.log.cutOff.delete("b");
    }
  });

  test("while claiming with a disk that is ahead of the log: the epoch is kept, so that the tail is shipped by the next start", async () => {
    a.start();
    await world.until(() => a.role === "Primary");
    world.log.cutOff.add("a");
    a.write("row");
    a.crash();
    world.log.cutOff.delete("a");
    b.start();
    await world.until(() => b.role === "Standby");
    const sent = startClaiming(a);
    await world.until(sent);
    a.stop.abort(new Error("SIGTERM"));
    await world.until(() => a.end !== undefined, 1000);
    expect(world.log.last?.header).toMatchObject({ kind: "claim", writer: { member: "a" } });
    world.log.latencyMs = 5;
    // A real directory knows the claims of all its runs.
    a.disk.ownEpoch = 2;
    a.start();
    await world.until(() => a.role === "Primary");
    expect(world.rows).toEqual(["row"]);
  });

  test("while halted", async () => {
    a.start({}, { reconcile: () => Promise.reject(new MetaMasterError("LogGap", "corrupt", "slot 7 is missing")) });
    await world.until(() => a.role === "Halted");
    a.stop.abort(new Error("SIGTERM"));
    await world.until(() => a.end !== undefined, 100);
    expect(a.end).toMatchObject({ reason: "Stopped" });
  });
});
