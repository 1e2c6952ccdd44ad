import { afterEach, expect, test } from "@jest/globals";
import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import type { ByteSource, CallOptions } from "../../bucket/bucket.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import { Bench, type BenchOptions } from "./testing/harness.js";

let bench: Bench;

async function open(options: BenchOptions = {}): Promise<Bench> {
  bench = await Bench.open(options);
  return bench;
}

afterEach(async () => {
  await bench.close();
});

test("a base of an earlier epoch, and slots that are trimmed, are not relied on", async () => {
  await open({ settings: { baseAfterSlots: 1000 } });
  const database = await bench.create();
  bench.start();
  await database.put(1);
  await bench.barrier();
  await bench.die();
  const path = `db/${String(database.walNumber).padStart(6, "0")}.log`;
  const image = bench.image();
  const known = image.files.get(path);
  if (known?.kind !== "append") throw new Error("there is no WAL");
  const base = { key: "tables/1/db/of-a-snapshot-that-is-gone", size: known.size, sha256: "ab".repeat(32) };
  bench.restart({ ...image, files: new Map(image.files).set(path, { ...known, base }) });
  bench.start();
  await bench.checkpoint();
  const file = bench.snapshots.at(-1)?.files.get(path);
  if (file?.kind !== "append" || file.base === undefined) throw new Error("there is no base");
  expect(file.base.key).not.toBe(base.key);
  expect(await bench.bucket.head(file.base.key, {})).toBe(file.base.size);
  await bench.die();
  const later = bench.image();
  bench.restart({ ...later, trimmedThrough: later.position.slot });
  bench.start();
  await bench.checkpoint();
  const again = bench.snapshots.at(-1)?.files.get(path);
  expect(again?.kind === "append" && again.firstSlot > later.position.slot && again.base !== undefined).toBe(true);
});

test("a file that a restore would read much of the log for is stored whole, one that fills the log itself is not", async () => {
  await open({ settings: { baseAfterSlots: 1000, baseAfterBytes: 20_000 } });
  const database = await bench.create();
  bench.start();
  await bench.checkpoint();
  for (let i = 0; i < 100; i++) {
    await database.put(20);
    await bench.barrier();
  }
  await bench.checkpoint();
  const { files } = bench.snapshots.at(-1) ?? { files: new Map() };
  const manifest = [...files].find(([path]) => path.includes("MANIFEST"))?.[1];
  const wal = [...files].find(([path]) => path.endsWith(".log"))?.[1];
  if (manifest?.kind !== "append" || wal?.kind !== "append") throw new Error("there is no MANIFEST or no WAL");
  expect(manifest.base?.size).toBe(manifest.size);
  expect(await bench.bucket.head(manifest.base?.key ?? "", {})).toBe(manifest.size);
  expect(wal.base).toBeUndefined();
  expect(wal.firstSlot).toBeLessThan(manifest.firstSlot);
});

/** The first put of a WAL's base is stored, but its answer is lost, and the same source is put again, as by `retrying`; `between` runs first. */
class ForgetfulBucket extends MemoryBucket {
  between: () => Promise<void> = async () => undefined;
  lost = 0;

  override async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    await super.put(key, source, call);
    if (!key.includes(".log-") || this.lost++ > 0) return;
    await this.between();
    await super.put(key, source, call);
  }
}

test("a WAL that is recycled while its base is stored does not put other bytes under the base's digest", async () => {
  const bucket = new ForgetfulBucket();
  await open({ bucket, model: { recyclable: true }, settings: { baseAfterSlots: 1 } });
  const database = await bench.create();
  bench.start();
  await database.put(20);
  await bench.barrier();
  await bench.checkpoint();
  for (let i = 0; i < 3; i++) {
    await database.put(1);
    await bench.barrier();
  }
  const old = database.walFile;
  bucket.between = async () => {
    await database.recycle(old);
    await database.put(30);
  };
  await bench.checkpoint();
  expect(bucket.lost).toBeGreaterThan(0);
  for (const [key, bytes] of bucket.entries()) {
    if (!key.includes(".log-")) continue;
    expect(key.endsWith(createHash("sha256").update(bytes).digest("hex"))).toBe(true);
  }
});

test("a base is not used for another file that has its name: of a database made anew", async () => {
  await open({ settings: { baseAfterSlots: 1 } });
  const old = await bench.create();
  bench.start();
  for (let i = 0; i < 4; i++) {
    await old.put(20);
    await bench.checkpoint();
  }
  const [name] = [...bench.snapshots.at(-1)!.files].find(([, file]) => file.kind === "append" && file.base) ?? [];
  await rm(`${bench.directory}/db`, { recursive: true });
  const anew = await bench.create();
  await anew.put(1);
  await bench.checkpoint();
  const { files } = bench.snapshots.at(-1)!;
  // It is there again, under the same name.
  expect(files.get(name!)?.kind).toBe("append");
  for (const [path, file] of files) {
    if (file.kind !== "append" || file.base === undefined) continue;
    const local = (await readFile(`${bench.directory}/${path}`)).subarray(0, file.base.size);
    expect([path, file.base.sha256]).toEqual([path, createHash("sha256").update(local).digest("hex")]);
    expect(file.base.size).toBeLessThanOrEqual(file.size);
  }
});
