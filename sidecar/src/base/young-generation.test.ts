import { constants, PerformanceObserver } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { received } from "./young-generation.js";

const MIB = 1024 * 1024;

/** What the collector did because it was told to, while `work` ran. */
async function forced(work: () => void): Promise<number> {
  let minor = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { kind, flags } = Reflect.get(entry, "detail") as { readonly kind: number; readonly flags: number };
      if (kind === constants.NODE_PERFORMANCE_GC_MINOR && flags !== 0) minor++;
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  work();
  await sleep(50);
  observer.disconnect();
  return minor;
}

test("the young generation is collected for every 32 MiB that came, and not before", async () => {
  received(32 * MIB);
  expect(await forced(() => received(32 * MIB - 1))).toBe(0);
  expect(await forced(() => received(1))).toBe(1);
  expect(await forced(() => received(1))).toBe(0);
});
