import { expect, test } from "@jest/globals";
import { LagClock } from "./lag.js";

test("a standby is behind since the primary was seen beyond it; since when it was before the first look is not known", () => {
  let nowMs = 0;
  const lag = new LagClock(() => nowMs);
  expect(lag.secondsBehind(5)).toBeUndefined();
  lag.primaryAt(7);
  expect([lag.secondsBehind(7), lag.secondsBehind(6)]).toEqual([0, undefined]);
  nowMs = 10_000;
  lag.primaryAt(9);
  nowMs = 12_500;
  expect([lag.secondsBehind(9), lag.secondsBehind(7), lag.secondsBehind(6)]).toEqual([0, 2.5, undefined]);
  for (let slot = 10; slot < 1000; slot++) lag.primaryAt(slot);
  expect([lag.secondsBehind(999), lag.secondsBehind(20)]).toEqual([0, undefined]);
  nowMs = 15_500;
  expect([lag.atLeastBehind(999), lag.atLeastBehind(20)]).toEqual([undefined, 3]);
});
