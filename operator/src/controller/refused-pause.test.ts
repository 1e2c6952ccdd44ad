import { expect, test } from "@jest/globals";
import { RefusedPause } from "./refused-pause.js";

test("a refusal is news once for each reason, and after it was taken", () => {
  const pause = new RefusedPause();
  const told = [
    ["1", "no"],
    ["1", "no"],
    ["1", "never"],
    ["2", "never"],
  ].map(([what = "", why = ""]) => pause.refused(what, why, 0));
  expect(told).toEqual([true, false, true, true]);
  pause.taken();
  expect(pause.refused("2", "never", 0)).toBe(true);
});

test("what was refused waits twice as long each time, up to a minute; something else does not", () => {
  const pause = new RefusedPause();
  expect([pause.heldBack("1", 0), pause.leftMs(0)]).toEqual([undefined, Infinity]);
  let nowMs = 0;
  const pauses: number[] = [];
  for (let tries = 0; tries < 9; tries++) {
    pause.refused("1", "no", nowMs);
    pauses.push(pause.leftMs(nowMs));
    nowMs += pause.leftMs(nowMs);
    expect([pause.heldBack("1", nowMs - 1), pause.heldBack("1", nowMs)]).toEqual(["no", undefined]);
  }
  expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  pause.refused("1", "no", nowMs);
  expect([pause.heldBack("2", nowMs), pause.leftMs(nowMs + 1000)]).toEqual([undefined, 59_000]);
  pause.refused("2", "neither", nowMs);
  expect([pause.heldBack("2", nowMs), pause.leftMs(nowMs)]).toEqual(["neither", 500]);
  pause.taken();
  expect([pause.heldBack("2", nowMs), pause.leftMs(nowMs)]).toEqual([undefined, Infinity]);
});
