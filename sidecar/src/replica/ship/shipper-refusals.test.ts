import { appendFile, readdir, rm } from "node:fs/promises";
import { afterEach, describe, expect, test } from "@jest/globals";
import { Bench, type BenchOptions } from "./testing/harness.js";
import type { ModelDatabase } from "./testing/model-database.js";

let bench: Bench;

async function open(options: BenchOptions = {}): Promise<ModelDatabase> {
  bench = await Bench.open(options);
  return await bench.create();
}

afterEach(async () => {
  await bench.close();
});

async function appendToOptions(database: ModelDatabase, line: string): Promise<void> {
  const name = (await readdir(database.path)).find((each) => each.startsWith("OPTIONS"));
  await appendFile(`${database.path}/${name}`, line);
}

describe("databases that can't be replicated", () => {
  test.each([{}, { compressed: true }, { recyclable: true }])(
    "a WAL that refers to a blob file is not shipped from there on, and a barrier says so (%o)",
    async (model) => {
      const database = await open({ model });
      // The next WAL's number adjoins this one's.
      await database.flush();
      bench.start();
      await database.put(5);
      await bench.barrier();
      await database.putBlobReference();
      await database.put(1);
      await expect(bench.barrier()).rejects.toMatchObject({
        code: "BarrierFailed",
        cause: { code: "BlobReferencesInWal", kind: "invalid" },
      });
      await bench.until(() => bench.shipper.status.trouble?.includes("refers to a blob file") === true);
      expect(await bench.prefixes()).toBe(5n);
      // What the flush wrote is in files that the MANIFEST names.
      await database.flush({ walFirst: true });
      await database.put(1);
      await bench.until(() => bench.shipper.status.trouble === undefined);
      await bench.barrier();
      expect(await bench.prefixes()).toBe(8n);
    },
  );

  test("nor one whose OPTIONS turn blob direct write on", async () => {
    const database = await open();
    await appendToOptions(database, "  enable_blob_direct_write=true\n");
    bench.start();
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "BlobReferencesInWal", kind: "invalid" } });
  });

  test("nor by OPTIONS too large for an entry", async () => {
    const database = await open();
    await appendToOptions(database, `${"#".repeat(300_000)}\n  enable_blob_direct_write=true\n`);
    bench.start();
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "BlobReferencesInWal" } });
  });

  test("a live table that is not in the database's directory (db_paths, cf_paths) is named", async () => {
    const database = await open();
    await database.put(5);
    await database.flush();
    for (const file of database.tableFiles) await rm(file);
    bench.start();
    await expect(bench.barrier()).rejects.toMatchObject({
      cause: { code: "FilesElsewhere", kind: "invalid", message: expect.stringContaining(".sst") as unknown },
    });
  });
});
