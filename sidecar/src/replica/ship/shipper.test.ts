import { afterEach, describe, expect, test } from "@jest/globals";
import { Bench, type BenchOptions } from "./testing/harness.js";
import { prefixLength, rowsOf } from "./testing/recover.js";

let bench: Bench;

async function open(options: BenchOptions = {}): Promise<Bench> {
  bench = await Bench.open(options);
  return bench;
}

afterEach(async () => {
  await bench.close();
});

/** At every entry the image opens at a prefix of what was written; at the end it has all `rows`. */
async function expectPrefixes(rows: bigint, name = "db"): Promise<void> {
  await bench.replay((files) => {
    const found = rowsOf(files, name);
    if (found !== undefined) prefixLength(found);
  });
  expect(prefixLength(await bench.rows(name))).toBe(rows);
}

describe("shipping one database", () => {
  test("a barrier brings everything written before it, WAL and tables", async () => {
    await open();
    const database = await bench.create();
    await database.put(10);
    await database.flush();
    await database.put(5);
    bench.start();
    await bench.barrier();
    await expectPrefixes(15n);
    await database.put(3);
    await bench.barrier();
    await expectPrefixes(18n);
  });
});
