import { describe, expect, test } from "@jest/globals";
import { JumpingClock, ManualClock } from "../../bucket/testing/test-clock.js";
import { Lag } from "./lag.js";
import { Turn } from "./turn.js";
import { rejectAll, resolveAll, Waiters } from "./waiters.js";
import { Wakeup } from "./wakeup.js";

const never = new AbortController().signal;

describe("waiters", () => {
  test("one round serves all who asked before it, nobody who asked after", async () => {
    const waiters = new Waiters<number>(new JumpingClock());
    const first = waiters.wait(never);
    const second = waiters.wait(never);
    const batch = waiters.take();
    const third = waiters.wait(never);
    resolveAll(batch, 7);
    expect((await first).value).toBe(7);
    expect((await second).value).toBe(7);
    expect(waiters.any).toBe(true);
    rejectAll(waiters.take(), new Error("no"));
    await expect(third).rejects.toThrow("no");
  });

  test("who gives up is rejected with the own reason and is not counted any more", async () => {
    const waiters = new Waiters<number>(new JumpingClock());
    const mine = new AbortController();
    const wait = waiters.wait(mine.signal);
    mine.abort(new Error("too slow"));
    await expect(wait).rejects.toThrow("too slow");
    expect(waiters.any).toBe(false);
    await expect(waiters.wait(mine.signal)).rejects.toThrow("too slow");
  });

  test("who is put back is served by the next round", async () => {
    const waiters = new Waiters<number>(new JumpingClock());
    const wait = waiters.wait(never);
    waiters.putBack(waiters.take());
    resolveAll(waiters.take(), 1);
    expect((await wait).value).toBe(1);
  });
});

describe("the lag", () => {
  test("is the age of the oldest byte that is not durable", () => {
    const lag = new Lag();
    lag.saw(100, 1_000);
    lag.saw(50, 3_000);
    expect([lag.bytes, lag.seconds(5_000)]).toEqual([150, 4]);
    lag.settled(99);
    expect([lag.bytes, lag.seconds(5_000)]).toEqual([51, 4]);
    lag.settled(1);
    expect([lag.bytes, lag.seconds(5_000)]).toEqual([50, 2]);
    lag.settled(50);
    expect([lag.bytes, lag.seconds(5_000)]).toEqual([0, 0]);
  });

  test("keeps few marks and never looks shorter than it is", () => {
    const lag = new Lag();
    for (let at = 0; at < 10_000; at++) lag.saw(1, at);
    lag.settled(5_000);
    expect(lag.bytes).toBe(5_000);
    expect(lag.seconds(10_000)).toBeGreaterThanOrEqual(5);
    expect(lag.seconds(10_000)).toBeLessThanOrEqual(10);
  });
});

describe("a wakeup", () => {
  test("ends a sleep, is kept for the next one, and leaves no sleeper behind", async () => {
    const clock = new ManualClock();
    const wakeup = new Wakeup(clock);
    const slept = wakeup.sleep(1_000, never);
    wakeup.wake();
    expect(await slept).toBe(true);
    expect(clock.sleeping).toBe(0);
    wakeup.wake();
    expect(await wakeup.sleep(1_000, never)).toBe(true);
    const long = wakeup.sleep(1_000, never);
    clock.advance(1_000);
    expect(await long).toBe(false);
  });

  test("rejects with the caller's reason", async () => {
    const abort = new AbortController();
    const slept = new Wakeup(new ManualClock()).sleep(1_000, abort.signal);
    abort.abort(new Error("over"));
    await expect(slept).rejects.toThrow("over");
  });
});

test("a turn runs one piece of work at a time, also after one failed", async () => {
  const turn = new Turn();
  const order: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = turn.take(async () => {
    await promise;
    order.push("first");
    throw new Error("broken");
  });
  const second = turn.take(async () => order.push("second"));
  resolve();
  await expect(first).rejects.toThrow("broken");
  await second;
  expect(order).toEqual(["first", "second"]);
});
