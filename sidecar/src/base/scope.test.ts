import { expect, test } from "@jest/globals";
import { SystemClock } from "./system-clock.js";
import { Changes } from "./changes.js";
import { pauseOrChange } from "./scope.js";

const forEverMs = 1e9;

test("a change during the look that came before a pause is not slept over", async () => {
  const changes = new Changes();
  const since = changes.count;
  changes.notify();
  await pauseOrChange(new SystemClock(), forEverMs, { changes, since }, new AbortController().signal);
});

test("a change during the pause ends it, an older one does not", async () => {
  const changes = new Changes();
  changes.notify();
  let over = false;
  const pause = async (): Promise<void> => {
    await pauseOrChange(new SystemClock(), forEverMs, { changes, since: changes.count }, new AbortController().signal);
    over = true;
  };
  const paused = pause();
  await new Promise((resolve) => setImmediate(resolve));
  expect(over).toBe(false);
  changes.notify();
  await paused;
});
