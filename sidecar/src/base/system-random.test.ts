import { expect, test } from "@jest/globals";
import { SystemRandom } from "./system-random.js";

const random = new SystemRandom();

test("floats are spread over [0, 1)", () => {
  const values = Array.from({ length: 2000 }, () => random.float());
  expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...values)).toBeLessThan(1);
  // 100 buckets of 2000 values: one that stays empty has a chance of 2e-7 in all.
  expect(new Set(values.map((value) => Math.floor(value * 100))).size).toBe(100);
});

test("bytes are as many as asked, the caller's own, and never the same", () => {
  const one = random.bytes(16);
  expect(one).toHaveLength(16);
  expect(one.buffer.byteLength).toBe(16);
  expect(Buffer.from(one).equals(random.bytes(16))).toBe(false);
});
