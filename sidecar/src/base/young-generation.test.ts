import { constants, PerformanceObserver } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { received } from "./young-generation.js";

const MIB = 1024 * 1024;

/** What the collector did because it was told to, while `work` ran. Node tells of it later, and of what was before as well. */
async function forced(work: () => void, expected: number): Promise<number> {
  const starts: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { kind, flags } = Reflect.get(entry, "detail") as { readonly kind: number; readonly flags: number };
      if (kind === constants.NODE_PERFORMANCE_GC_MINOR && flags !== 0) starts.push(entry.startTime);
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  const fromMs = performance.now();
  work();
  const toMs = performance.now();
  const during = (): number => starts.filter((at) => at >= fromMs && at <= toMs).length;
  for (let looks = 0; looks < (during() < expected ? 1000 : 5); looks++) await sleep(10);
  observer.disconnect();
  return during();
}

test("the young generation is collected for every 32 MiB that came, and not before", async () => {
  received(32 * MIB);
  expect(await forced(() => received(32 * MIB - 1), 0)).toBe(0);
  expect(await forced(() => received(1), 1)).toBe(1);
  expect(await forced(() => received(1), 0)).toBe(0);
});
