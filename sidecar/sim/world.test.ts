import { expect, test } from "@jest/globals";
import type { Mutation } from "./mutation.js";
import { overriding } from "./patching.js";
import { simulate } from "./world.js";

test("whole clusters live through faults: some seeds", async () => {
  const total = { epochs: 0, acknowledged: 0, faults: new Set<string>() };
  for (let seed = 1; seed <= 15; seed++) {
    const { violation, epochs, acknowledged, faults, recent } = await simulate({ seed });
    if (violation !== undefined) throw new Error(`seed ${seed}\n${recent.join("\n")}`, { cause: violation });
    total.epochs += epochs;
    total.acknowledged += acknowledged;
    for (const fault of faults.keys()) total.faults.add(fault);
  }
  // They did see something.
  expect(total.epochs).toBeGreaterThan(25);
  expect(total.acknowledged).toBeGreaterThan(200);
  expect(total.faults.size).toBeGreaterThan(10);
}, 120_000);

test.each(["Purge", "Seed"] as const)(
  "clusters are deleted, and begin with another's state: some seeds of %s",
  async (family) => {
    for (let seed = 1; seed <= 10; seed++) {
      const { violation, recent } = await simulate({ seed, family });
      if (violation !== undefined) throw new Error(`seed ${seed}\n${recent.join("\n")}`, { cause: violation });
    }
  },
  120_000,
);

test("what was fetched from another cluster survives a loss of power while it is moved to its place", async () => {
  // Found when files were moved into directories whose own names were not durable: it began with nothing, or with other rows.
  for (const seed of [122, 131, 170]) {
    const { violation } = await simulate({ seed, family: "Seed" });
    if (violation !== undefined) throw new Error(`seed ${seed}`, { cause: violation });
  }
}, 120_000);

const goneMs = 4000;

/** Watchdogs that are gone a third of the time, each at another; that of the second member is not back once it has gone. */
function poorWatchdogs(): Mutation {
  const names: string[] = [];
  let last = "";
  return {
    settings: (settings) => {
      last = settings.member;
      if (!names.includes(last)) names.push(last);
      return settings;
    },
    components: (components) => {
      const { clock, master } = components;
      const place = names.indexOf(last);
      const sinceMs = clock.monotonicMs();
      const isGone = (): boolean =>
        place === 1
          ? clock.monotonicMs() - sinceMs > goneMs
          : Math.floor((clock.monotonicMs() + 1500 * place) / goneMs) % 3 === 0;
      const changes = {
        get hindrance(): Error | undefined {
          return isGone() ? new Error("there is no watchdog") : undefined;
        },
      };
      return { ...components, master: overriding(master, changes) };
    },
  };
}

test("members that don't stand for election now and then, or ever again, keep nobody from leading", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const { violation, recent } = await simulate({ seed, mutation: poorWatchdogs() });
    if (violation !== undefined) throw new Error(`seed ${seed}\n${recent.join("\n")}`, { cause: violation });
  }
}, 120_000);

test("a seed gives the same run every time, traced or not", async () => {
  const lines: string[] = [];
  const first = await simulate({ seed: 7 });
  const second = await simulate({ seed: 7, print: (line) => lines.push(line) });
  const other = await simulate({ seed: 8 });
  expect(second.traceHash).toBe(first.traceHash);
  expect(second.steps).toBe(first.steps);
  expect(other.traceHash).not.toBe(first.traceHash);
  expect(lines.length).toBeGreaterThan(100);
}, 60_000);
