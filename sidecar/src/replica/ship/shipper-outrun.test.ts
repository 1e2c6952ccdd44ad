import { readdir } from "node:fs/promises";
import { afterEach, expect, test } from "@jest/globals";
import { NodeFileSystem } from "../../base/node-file-system.js";
import type { ByteSource, CallOptions } from "../../bucket/bucket.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import { Bench, silent, type BenchOptions } from "./testing/harness.js";
import { HookedFileSystem } from "./testing/hooked-file-system.js";

let bench: Bench;

async function open(options: BenchOptions): Promise<Bench> {
  bench = await Bench.open(options);
  return bench;
}

afterEach(async () => {
  await bench.close();
});

class HookedBucket extends MemoryBucket {
  before: (key: string) => Promise<void> = async () => undefined;

  override async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    await this.before(key);
    await super.put(key, source, call);
  }
}

test("tables compacted away faster than all of them can be linked: links of one try count for the next", async () => {
  const fs = new HookedFileSystem(new NodeFileSystem());
  await open({ fs });
  const database = await bench.create();
  for (let table = 0; table < 12; table++) {
    await database.put(1);
    await database.flush();
  }
  let links = 0;
  fs.before = async (call, path) => {
    if (call !== "link" || !path.endsWith(".sst") || ++links % 4 !== 0) return;
    // As many tables as before; two that are not linked yet are gone.
    await database.ingest();
    await database.compact(2);
  };
  bench.start();
  await bench.barrier();
  expect(links).toBeGreaterThan(12);
  expect(await bench.prefixes()).toBe(database.last);
  fs.before = () => undefined;
  await bench.checkpoint();
  expect((await readdir(`${bench.directory}/.metamaster/links/db`)).filter((name) => name.endsWith(".sst"))).toEqual(
    [],
  );
});

test("a checkpoint that is outrun again and again: WAL waits for it in the end", async () => {
  const bucket = new HookedBucket();
  let outrun = false;
  const warn = (_fields: unknown, message: string): void => {
    outrun ||= message.startsWith("Checkpoints were outrun");
  };
  await open({ bucket, databases: ["db", "other"], logger: { ...silent, warn } });
  const [database, other] = [await bench.create(), await bench.create("other")];
  bench.start();
  await bench.barrier();
  /** A table whose rows are in WAL that is shipped: it can wait for a checkpoint. */
  const another = async (): Promise<void> => {
    await database.put(1);
    await bench.barrier();
    await database.flush();
  };
  let uploads = 0;
  bucket.before = async (key) => {
    if (!key.includes("/db/") || outrun) return;
    uploads++;
    await another();
    // A binding edit of another database makes the plan out of date, as long as rounds go on beside the upload.
    await other.ingest(3);
    await bench.barrier();
  };
  await another();
  await bench.checkpoint();
  expect(uploads).toBeGreaterThanOrEqual(3);
  expect(outrun).toBe(true);
  bucket.before = async () => undefined;
  await bench.barrier();
  expect(await bench.prefixes()).toBe(database.last);
  expect(await bench.prefixes("other")).toBe(other.last);
});
