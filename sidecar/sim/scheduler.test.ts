import { expect, test } from "@jest/globals";
import { MachineClock, SimulatedClock } from "./clock.js";
import { Incarnation } from "./incarnation.js";
import { SeededRandom } from "./random.js";
import { Scheduler } from "./scheduler.js";
import { Trace } from "./trace.js";

const limits = { untilMs: 100_000, steps: 100_000 };

function draw(random: SeededRandom): number[] {
  return Array.from({ length: 5 }, () => random.float());
}

function hashOf(...lines: string[]): string {
  const trace = new Trace(() => 1);
  for (const line of lines) trace.line("x", line);
  trace.logger("x").debug({}, "not counted");
  return trace.hash;
}

test("events run by time, then by the order of asking, each with all its microtasks", async () => {
  const scheduler = new Scheduler();
  const seen: string[] = [];
  scheduler.after(5, () => seen.push("late"));
  scheduler.after(1, () => {
    seen.push("a");
    void Promise.resolve()
      .then(() => undefined)
      .then(() => seen.push("a's microtask"));
  });
  scheduler.after(1, () => seen.push("b"));
  scheduler.after(2, () => seen.push("never")).cancel();
  expect(await scheduler.run(() => false, limits)).toBe("idle");
  expect(seen).toEqual(["a", "a's microtask", "b", "late"]);
  expect(scheduler.nowMs).toBe(5);
});

test("many events in random order come out sorted", async () => {
  const scheduler = new Scheduler();
  const random = new SeededRandom(7, "heap");
  const seen: number[] = [];
  for (let index = 0; index < 2000; index++) {
    const at = random.between(0, 300);
    scheduler.after(at, () => seen.push(at));
  }
  await scheduler.run(() => false, limits);
  expect(seen).toHaveLength(2000);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
});

test("a run ends when told, when late, when it spins, and with what an event throws", async () => {
  const scheduler = new Scheduler();
  const spin = (): void => void scheduler.after(1, spin);
  spin();
  expect(await scheduler.run(() => scheduler.nowMs >= 10, limits)).toBe("done");
  expect(await scheduler.run(() => false, { untilMs: 20, steps: 1000 })).toBe("late");
  expect(await scheduler.run(() => false, { untilMs: Infinity, steps: 50 })).toBe("runaway");
  scheduler.after(0, () => {
    throw new Error("from the event");
  });
  await expect(scheduler.run(() => false, limits)).rejects.toThrow("from the event");
});

test("a dead process hears nothing, a frozen one later and in order", async () => {
  const scheduler = new Scheduler();
  const machine = new MachineClock(scheduler, { bootMs: 1000, drift: 0, wallOffsetMs: 0 });
  const dead = new Incarnation(scheduler, "dead");
  const frozen = new Incarnation(scheduler, "frozen");
  const seen: string[] = [];
  const tell = (what: string) => (): void => void seen.push(`${what} at ${scheduler.nowMs}`);
  void new SimulatedClock(machine, dead).sleep(10).then(tell("dead"));
  const clock = new SimulatedClock(machine, frozen);
  void clock.sleep(20).then(tell("second"));
  void clock.sleep(10).then(tell("first"));
  scheduler.after(5, () => {
    dead.crash();
    frozen.freeze();
  });
  scheduler.after(50, () => frozen.thaw());
  await scheduler.run(() => false, limits);
  expect(seen).toEqual(["first at 50", "second at 50"]);
  expect(clock.monotonicMs()).toBe(1050);
});

test("a sleep ends at once when aborted, leaves no timer, and may be aborted before", async () => {
  const scheduler = new Scheduler();
  const machine = new MachineClock(scheduler, { bootMs: 0, drift: 0.01, wallOffsetMs: 0 });
  const clock = new SimulatedClock(machine, new Incarnation(scheduler, "x"));
  const controller = new AbortController();
  const reason = new Error("enough");
  const slept = expect(clock.sleep(1000, controller.signal)).rejects.toBe(reason);
  scheduler.after(3, () => controller.abort(reason));
  expect(await scheduler.run(() => false, limits)).toBe("idle");
  expect(scheduler.nowMs).toBe(3);
  await slept;
  await expect(clock.sleep(1, controller.signal)).rejects.toBe(reason);
  const wall = clock.wallMs();
  machine.stepWall(-3_600_000);
  expect(clock.wallMs()).toBe(wall - 3_600_000);
});

test("a process may die between two operations", () => {
  const incarnation = new Incarnation(new Scheduler(), "x");
  incarnation.dieAtOperation(2, () => incarnation.crash());
  expect([incarnation.enter(), incarnation.enter(), incarnation.enter(), incarnation.enter()]).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test("a stream depends on the seed and its name only", () => {
  const one = new SeededRandom(1, "root");
  const before = draw(one.stream("a"));
  draw(one);
  expect(draw(one.stream("a"))).toEqual(before);
  expect(draw(one.stream("b"))).not.toEqual(before);
  expect(draw(new SeededRandom(2, "root").stream("a"))).not.toEqual(before);
  const many = Array.from({ length: 10_000 }, () => one.float());
  expect(Math.abs(many.reduce((sum, each) => sum + each, 0) / many.length - 0.5)).toBeLessThan(0.02);
  expect(new Set(Array.from({ length: 300 }, () => one.weighted({ x: 1, y: 2, z: 0 })))).toEqual(new Set(["x", "y"]));
});

test("the trace's hash tells orders apart and leaves debug lines out", () => {
  expect(hashOf("a", "b")).toBe(hashOf("a", "b"));
  expect(hashOf("a", "b")).not.toBe(hashOf("b", "a"));
});
