import { expect, test } from "@jest/globals";
import { ManualClock } from "../../bucket/testing/test-clock.js";
import { ProgressView } from "./progress.js";

const MIB = 1024 ** 2;

function view(terminal: boolean): { clock: ManualClock; progress: ProgressView; lines: string[] } {
  const clock = new ManualClock();
  const lines: string[] = [];
  const line = (text: string): unknown => lines.push(text);
  const draw = (text: string): unknown => lines.push(text);
  return { clock, lines, progress: new ProgressView(clock, terminal ? { line, draw } : { line }) };
}

test("elsewhere than on a terminal there is a line now and then, with rate and time left, and one at the end", () => {
  const { clock, progress, lines } = view(false);
  progress.report("tables", 0, 100 * MIB);
  clock.advance(4000);
  progress.report("tables", 8 * MIB, 100 * MIB);
  expect(lines).toEqual([]);
  clock.advance(1000);
  progress.report("tables", 10 * MIB, 100 * MIB);
  progress.report("tables", 11 * MIB, 100 * MIB);
  expect(lines).toEqual(["tables: 10.0 MiB of 100 MiB, 2.00 MiB/s, 45 s left"]);
  clock.advance(1000);
  progress.report("tables", 100 * MIB, 100 * MIB);
  expect(lines.at(-1)).toBe("tables: 100 MiB of 100 MiB, 16.7 MiB/s, took 6.0 s");
  expect(lines).toHaveLength(2);
});

test("what is over at once is not worth a word", () => {
  for (const terminal of [true, false]) {
    const { progress, lines } = view(terminal);
    progress.report("tables", 1, 2);
    progress.report("tables", 2, 2);
    progress.report("log", 1, 1);
    progress.end();
    expect(lines).toEqual([]);
  }
});

test("on a terminal a bar is drawn over itself and ends its line", () => {
  const { clock, progress, lines } = view(true);
  progress.report("upload", 0, 4 * MIB);
  clock.advance(1000);
  progress.report("upload", MIB, 4 * MIB);
  expect(lines).toEqual([
    "\u001b[2Kupload [======                  ]  25% 1.00 MiB of 4.00 MiB, 1.00 MiB/s, 3.0 s left\r",
  ]);
  clock.advance(50);
  progress.report("upload", 2 * MIB, 4 * MIB);
  expect(lines).toHaveLength(1);
  progress.report("upload", 4 * MIB, 4 * MIB);
  expect(lines.at(-1)).toMatch(/100% .* took 1\.1 s\n$/);
});

test("another phase leaves an unfinished bar its line; entries are counted, not bytes", () => {
  const { clock, progress, lines } = view(true);
  progress.report("upload", 0, 4);
  clock.advance(200);
  progress.report("upload", 1, 4);
  progress.report("log", 0, 50_000);
  clock.advance(1000);
  progress.report("log", 10_000, 50_000);
  expect(lines.at(1)).toBe("\n");
  expect(lines.at(2)).toContain("10000 of 50000, 10000/s, 4.0 s left");
});
