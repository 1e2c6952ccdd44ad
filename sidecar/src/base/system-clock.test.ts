import { expect, test } from "@jest/globals";
import { getActiveResourcesInfo } from "node:process";
import { SystemClock } from "./system-clock.js";

const clock = new SystemClock();
const timers = (): number => getActiveResourcesInfo().filter((name) => name === "Timeout").length;

test("an aborted sleep rejects with the signal's own reason and leaves no timer behind", async () => {
  const before = timers();
  const stop = new AbortController();
  const sleeping = clock.sleep(1_000_000, stop.signal);
  expect(timers()).toBe(before + 1);
  const reason = new Error("enough");
  stop.abort(reason);
  await expect(sleeping).rejects.toBe(reason);
  expect(timers()).toBe(before);
});

test("a signal that is aborted already starts nothing", async () => {
  const before = timers();
  await expect(clock.sleep(1_000_000, AbortSignal.abort("no"))).rejects.toBe("no");
  expect(timers()).toBe(before);
});

test("a sleep takes its time, and one longer than a timer of Node can hold does not end at once", async () => {
  const start = clock.monotonicMs();
  await clock.sleep(20);
  // Timers of Node may fire up to a millisecond early.
  expect(clock.monotonicMs() - start).toBeGreaterThanOrEqual(19);
  const stop = new AbortController();
  let ended = false;
  const long = clock.sleep(2 ** 33, stop.signal).finally(() => (ended = true));
  await clock.sleep(20);
  expect(ended).toBe(false);
  stop.abort(new Error("stop"));
  await expect(long).rejects.toThrow("stop");
});

test("many sleeps on one signal leave no listener behind", async () => {
  const { signal } = new AbortController();
  let listeners = 0;
  const counting = {
    aborted: false,
    addEventListener: (...args: Parameters<AbortSignal["addEventListener"]>) => (
      (listeners += 1),
      signal.addEventListener(...args)
    ),
    removeEventListener: (...args: Parameters<AbortSignal["removeEventListener"]>) => (
      (listeners -= 1),
      signal.removeEventListener(...args)
    ),
  } as unknown as AbortSignal;
  for (let i = 0; i < 5; i += 1) await clock.sleep(0, counting);
  expect(listeners).toBe(0);
});
