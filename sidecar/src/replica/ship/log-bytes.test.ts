import { expect, test } from "@jest/globals";
import { LogBytes } from "./log-bytes.js";

test("bytes since a slot, as far back as it knows", () => {
  const log = new LogBytes(4);
  expect(log.since(5)).toBe(Infinity);
  for (let slot = 5; slot <= 7; slot++) log.wrote(slot, 100 + slot);
  expect([4, 5, 7, 8].map((slot) => log.since(slot))).toEqual([Infinity, 318, 107, 0]);
  for (let slot = 8; slot <= 10; slot++) log.wrote(slot, 1);
  expect([7, 8, 11].map((slot) => log.since(slot))).toEqual([Infinity, 3, 0]);
  log.wrote(12, 5);
  expect([9, 10, 11, 12].map((slot) => log.since(slot))).toEqual([Infinity, 6, 5, 5]);
});
