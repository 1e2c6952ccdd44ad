import { expect, test } from "@jest/globals";
import { approximateDuration, approximateSize, formatDuration, formatSize, parseDuration, parseSize } from "./units.js";

test.each([
  ["500ms", 500],
  ["15s", 15_000],
  ["1.5m", 90_000],
  ["2h", 7_200_000],
  ["7d", 604_800_000],
  ["0s", 0],
  ["15", undefined],
  ["-1s", undefined],
  ["1 s", undefined],
  ["1M", undefined],
  ["", undefined],
  ["9999999999s", undefined],
])("the duration %s is %s ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each([
  ["8MiB", 8 * 1024 ** 2],
  ["1.5GiB", 1.5 * 1024 ** 3],
  ["512B", 512],
  ["8MB", undefined],
  ["8", undefined],
  ["8mib", undefined],
])("the size %s is %s bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test("what is written reads back as the same", () => {
  for (const ms of [0, 1, 1500, 60_000, 90_000, 86_400_000]) expect(parseDuration(formatDuration(ms))).toBe(ms);
  for (const bytes of [0, 1, 1025, 8 << 20, 3 * 1024 ** 3]) expect(parseSize(formatSize(bytes))).toBe(bytes);
  expect(formatDuration(90_000)).toBe("90s");
});

test("people get three digits", () => {
  expect([0, 999, 1536, 123_456_789, 5 * 1024 ** 3].map(approximateSize)).toEqual([
    "0 B",
    "999 B",
    "1.50 KiB",
    "118 MiB",
    "5.00 GiB",
  ]);
  expect([0.42, 12.3, 200, 7500].map(approximateDuration)).toEqual(["0.4 s", "12 s", "3 min 20 s", "2 h 5 min"]);
});
