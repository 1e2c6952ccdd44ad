import { mkdir, readdir, rm, writeFile, link, stat } from "node:fs/promises";
import { afterEach, describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../../base/errors.js";
import { NodeFileSystem } from "../../base/node-file-system.js";
import type { ByteSource, CallOptions } from "../../bucket/bucket.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import { Bench, type BenchOptions } from "./testing/harness.js";
import { HookedFileSystem } from "./testing/hooked-file-system.js";
import { ModelDatabase } from "./testing/model-database.js";
import { rowsOf } from "./testing/recover.js";

let bench: Bench;

async function open(options: BenchOptions = {}): Promise<Bench> {
  bench = await Bench.open(options);
  return bench;
}

afterEach(async () => {
  await bench.close();
});

/** Counts what is put, and fails as told. */
class CountingBucket extends MemoryBucket {
  readonly puts: string[] = [];
  fail: (key: string) => Error | undefined = () => undefined;
  before: () => Promise<void> = async () => undefined;

  override async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    await this.before();
    const error = this.fail(key);
    if (error !== undefined) throw error;
    this.puts.push(key);
    await super.put(key, source, call);
  }
}

describe("tables", () => {
  test("are put once each; after trouble only what is not there yet", async () => {
    const bucket = new CountingBucket();
    await open({ bucket, settings: { transfer: { parallel: 2 } } });
    const database = await bench.create();
    for (let table = 0; table < 6; table++) {
      await database.put(3);
      await database.flush();
    }
    let failures = 3;
    bucket.fail = () =>
      failures-- > 0 ? new MetaMasterError("BucketUnavailable", "transient", "the store is away") : undefined;
    bench.start();
    await bench.barrier();
    expect(bucket.puts).toHaveLength(6);
    expect(new Set(bucket.puts).size).toBe(6);
    expect(await bench.prefixes()).toBe(18n);
    expect(bench.shipper.pinnedKeys()).toEqual([]);
    for (const key of bucket.puts) expect(key).toMatch(/^tables\/1\/db\/\d{6}\.sst-[0-9a-f]{64}$/);
  });

  test("with the same content are one object", async () => {
    const bucket = new CountingBucket();
    await open({ bucket, companions: ["checkpoint"] });
    const database = await bench.create();
    await database.put(10, 10);
    for (let batch = 0; batch < 40; batch++) await database.put(2_000);
    await database.flush();
    await mkdir(`${bench.directory}/checkpoint/ck-1`, { recursive: true });
    await link(database.tableFiles[0] ?? "", `${bench.directory}/checkpoint/ck-1/000001.sst`);
    expect((await stat(database.tableFiles[0] ?? "")).size).toBeGreaterThan(256 * 1024);
    bench.start();
    await bench.barrier();
    expect(bucket.puts).toHaveLength(1);
    const files = await bench.replay();
    expect(files.has("@companions/checkpoint/ck-1/000001.sst")).toBe(true);
  });

  test("an upload that can't succeed fails the barrier with the reason", async () => {
    const bucket = new CountingBucket();
    bucket.fail = () => new MetaMasterError("BucketAccessDenied", "invalid", "no right to write");
    await open({ bucket });
    const database = await bench.create();
    await database.put(1);
    await database.flush();
    bench.start();
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "BucketAccessDenied" } });
    bucket.fail = () => undefined;
    await bench.until(() => bench.shipper.status.trouble === undefined);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(1n);
  });

  test("compacted away while they are linked: the checkpoint is made from a new cut", async () => {
    const fs = new HookedFileSystem(new NodeFileSystem());
    await open({ fs });
    const database = await bench.create();
    for (let table = 0; table < 3; table++) {
      await database.put(3);
      await database.flush();
    }
    let compactions = 0;
    fs.before = async (call, path) => {
      if (call === "link" && path.endsWith(".sst") && compactions < 2) {
        compactions++;
        await database.compact();
      }
    };
    bench.start();
    await bench.barrier();
    expect(compactions).toBe(2);
    expect(await bench.prefixes()).toBe(9n);
    expect((await readdir(`${bench.directory}/.metamaster/links/db`)).filter((name) => name.endsWith(".sst"))).toEqual(
      [],
    );
  });

  test("WAL goes on being shipped while a checkpoint's tables are brought up", async () => {
    const bucket = new CountingBucket();
    await open({ bucket });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    await database.put(3);
    await database.flush();
    const { promise, resolve } = Promise.withResolvers<void>();
    bucket.before = () => promise;
    const checkpoint = bench.checkpoint();
    await database.put(3);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(6n);
    // Deleted by the master meanwhile: our link keeps it.
    await database.compact();
    resolve();
    await checkpoint;
    expect(await bench.prefixes()).toBe(6n);
    await bench.checkpoint();
    expect(await bench.prefixes()).toBe(6n);
  });

  test("links keep tables that are compacted away before their turn comes", async () => {
    const bucket = new CountingBucket();
    await open({ bucket, settings: { transfer: { parallel: 1 } } });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    for (let table = 0; table < 3; table++) {
      await database.put(3);
      await database.flush();
    }
    const names = database.tableFiles.map((path) => path.slice(path.lastIndexOf("/") + 1));
    const { promise, resolve } = Promise.withResolvers<void>();
    let waiting = false;
    bucket.before = () => {
      waiting = true;
      return promise;
    };
    const checkpoint = bench.checkpoint();
    await bench.until(() => waiting);
    await database.compact();
    resolve();
    await checkpoint;
    expect(bucket.puts.slice(0, 3).map((key) => key.split("/")[3]?.slice(0, 10))).toEqual(names);
    expect(await bench.prefixes()).toBe(9n);
  });

  test("a binding edit overtakes a checkpoint under way: it is made again, and takes nothing away", async () => {
    const bucket = new CountingBucket();
    await open({ bucket });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    await database.put(3);
    await database.flush();
    const { promise, resolve } = Promise.withResolvers<void>();
    let waiting = false;
    bucket.before = () => {
      waiting = true;
      return promise;
    };
    const checkpoint = bench.checkpoint();
    await bench.until(() => waiting);
    await database.ingest(5);
    await database.put(1);
    const barrier = bench.barrier();
    setTimeout(resolve, 30);
    await Promise.all([checkpoint, barrier]);
    expect(await bench.prefixes()).toBe(9n);
  });

  test("larger than an entry takes effect as a whole", async () => {
    await open({ settings: { entryBodyBytesMax: 8 * 1024 } });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    for (let round = 0; round < 3; round++) {
      for (let table = 0; table < 20; table++) {
        await database.put(20);
        await database.flush();
      }
      await database.compact();
      for (let batch = 0; batch < 20; batch++) await database.put(10, 100);
      bench.shipper.masterStarting();
      await bench.barrier();
    }
    expect(bench.pen.entries.some(({ header }) => header.more)).toBe(true);
    expect(await bench.prefixes()).toBe(1800n);
  });

  test("a reopen while a checkpoint is brought up makes it void; another follows", async () => {
    const bucket = new CountingBucket();
    await open({ bucket });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    await database.put(3);
    await database.flush();
    const { promise, resolve } = Promise.withResolvers<void>();
    bucket.before = () => promise;
    const checkpoint = bench.checkpoint();
    await database.put(3);
    await bench.barrier();
    await database.reopen();
    await database.put(3);
    setTimeout(resolve, 30);
    await Promise.all([checkpoint, bench.barrier()]);
    expect(await bench.prefixes()).toBe(9n);
  });

  test("a MANIFEST that rolls over", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    for (let round = 0; round < 4; round++) {
      await database.put(3);
      await database.rollManifest();
      await database.put(3);
      if (round % 2 === 0) await bench.barrier();
    }
    await bench.barrier();
    expect(await bench.prefixes()).toBe(24n);
    const manifests = [...(await bench.replay()).keys()].filter((file) => file.startsWith("db/MANIFEST-"));
    expect(manifests).toHaveLength(1);
  });

  test("are due by time and by WAL", async () => {
    await open({ settings: { checkpoint: { intervalMs: 50, walBytes: 1e9 } } });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    const first = bench.shipper.status.lastCheckpointSlot ?? 0;
    await database.put(3);
    await bench.until(() => (bench.shipper.status.lastCheckpointSlot ?? 0) > first);
    expect(bench.pen.entries.length).toBeGreaterThan(1);
  });

  test("are due by the WAL shipped since the last", async () => {
    await open({ settings: { checkpoint: { intervalMs: 1e9, walBytes: 2_000 } } });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    const first = bench.shipper.status.lastCheckpointSlot ?? 0;
    await database.put(3);
    await bench.barrier();
    expect(bench.shipper.status.lastCheckpointSlot).toBe(first);
    await database.put(30, 100);
    await bench.until(() => (bench.shipper.status.lastCheckpointSlot ?? 0) > first);
  });

  test("a WAL that stays for long is given a base, so that the log before it can go", async () => {
    await open({ settings: { baseAfterSlots: 3 } });
    const database = await bench.create();
    bench.start();
    for (let round = 0; round < 6; round++) {
      await database.put(1);
      await bench.barrier();
    }
    await bench.checkpoint();
    const snapshot = bench.snapshots.at(-1);
    const file = snapshot?.files.get(`db/${String(database.walNumber).padStart(6, "0")}.log`);
    if (file?.kind !== "append" || file.base === undefined) throw new Error("there is no base");
    expect(file.firstSlot).toBe((snapshot?.position.slot ?? 0) + 1);
    const base = await bench.bucket.get(file.base.key, { maxBytes: 1e6 });
    const whole = (await bench.replay()).get(`db/${String(database.walNumber).padStart(6, "0")}.log`);
    expect(Buffer.from(base ?? []).equals(whole ?? Buffer.alloc(0))).toBe(true);
    await database.put(1);
    await bench.checkpoint();
    expect(bench.snapshots.at(-1)?.files.get(`db/${String(database.walNumber).padStart(6, "0")}.log`)).toMatchObject({
      base: file.base,
      firstSlot: file.firstSlot,
    });
  });
});

describe("companions", () => {
  test("come with the WAL that was written after them, all of them or none", async () => {
    await open({ companions: ["ck/*", "VERSION"] });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    for (let round = 1; round <= 3; round++) {
      await mkdir(`${bench.directory}/ck/${round}`, { recursive: true });
      await writeFile(`${bench.directory}/ck/${round}/a`, `a${round}`);
      await writeFile(`${bench.directory}/ck/${round}/b`, "b".repeat(300_000));
      await new NodeFileSystem().writeFileAtomic(`${bench.directory}/VERSION`, Buffer.from(`${round}`));
      await rm(`${bench.directory}/ck/${round - 1}`, { recursive: true, force: true });
      await database.put(1);
      await bench.barrier();
    }
    await bench.replay((files) => {
      const rows = rowsOf(files, "db")?.size ?? 0;
      const version = files.get("@companions/VERSION");
      if (rows > 0) expect(Number(Buffer.from(version ?? []).toString())).toBeGreaterThanOrEqual(rows);
      for (let round = 1; round <= 3; round++) {
        const there = [`@companions/ck/${round}`, `@companions/ck/${round}/a`, `@companions/ck/${round}/b`].map(
          (file) => files.has(file),
        );
        expect(new Set(there).size).toBe(1);
      }
    });
    const files = [...(await bench.replay()).keys()].filter((file) => file.startsWith("@companions/"));
    expect(files.toSorted()).toEqual([
      "@companions/VERSION",
      "@companions/ck/3",
      "@companions/ck/3/a",
      "@companions/ck/3/b",
    ]);
  });

  test("never take the database's own files nor ours, and a file may become a directory", async () => {
    await open({ companions: ["**"] });
    const database = await bench.create();
    await database.put(1);
    await writeFile(`${bench.directory}/x`, "file");
    await writeFile(`${bench.directory}/db/VERSION`, "2");
    bench.start();
    await bench.barrier();
    await rm(`${bench.directory}/x`);
    await mkdir(`${bench.directory}/x`);
    await writeFile(`${bench.directory}/x/y`, "inside");
    await bench.barrier();
    const files = [...(await bench.replay()).keys()].filter((file) => file.startsWith("@companions/"));
    expect(files.toSorted()).toEqual(["@companions/db", "@companions/db/VERSION", "@companions/x", "@companions/x/y"]);
    expect(await bench.prefixes()).toBe(1n);
  });

  test("that are no files are refused by name", async () => {
    await open({ companions: ["link"] });
    await bench.create();
    const { symlink } = await import("node:fs/promises");
    await symlink("/etc/passwd", `${bench.directory}/link`);
    bench.start();
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "CompanionUnsupported" } });
  });
});

describe("what can't be replicated", () => {
  test("a database on another file system than its links", async () => {
    const fs = new HookedFileSystem(new NodeFileSystem());
    await open({ fs });
    const database = await bench.create();
    await database.put(1);
    const inner = fs.stat.bind(fs);
    fs.stat = async (path) => {
      const found = await inner(path);
      return found !== undefined && path.endsWith("/db") ? { ...found, device: found.device + 1n } : found;
    };
    bench.start();
    expect(await bench.ended()).toMatchObject({
      code: "CrossDevice",
      kind: "invalid",
      hint: expect.stringContaining("file system"),
    });
    expect(bench.pen.entries).toHaveLength(0);
  });

  test("a database whose WALs are in a directory that nobody named", async () => {
    await open();
    const database = await ModelDatabase.create(new NodeFileSystem(), {
      path: `${bench.directory}/db`,
      walPath: `${bench.directory}/elsewhere`,
    });
    bench.start();
    await bench.barrier();
    await database.put(1);
    await database.flush();
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "WalElsewhere" } });
  });

  test("a database that is gone while the log has it", async () => {
    await open();
    const database = await bench.create();
    await database.put(1);
    bench.start();
    await bench.barrier();
    await rm(`${bench.directory}/db`, { recursive: true });
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "DatabaseMissing" } });
    expect(await bench.prefixes()).toBe(1n);
  });

  test("a database destroyed and made anew replaces all of the image", async () => {
    await open();
    const old = await bench.create();
    for (let table = 0; table < 3; table++) {
      await old.put(100);
      await old.flush();
    }
    await old.put(5);
    bench.start();
    await bench.barrier();
    await rm(`${bench.directory}/db`, { recursive: true });
    const anew = await bench.create();
    await anew.put(2);
    await anew.flush();
    await anew.put(1);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(3n);
    await anew.put(1);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(4n);
  });

  test("an older copy put in the place of a database: numbers, and even sizes, are those of other tables", async () => {
    await open();
    const database = await bench.create();
    await database.put(10);
    await database.flush();
    await database.put(1);
    const { cp } = await import("node:fs/promises");
    await cp(`${bench.directory}/db`, `${bench.directory}/copy`, { recursive: true });
    const copy = database.clone();
    bench.start();
    await bench.barrier();
    for (let table = 0; table < 3; table++) {
      await database.flush();
      await database.put(1);
    }
    await bench.checkpoint();
    const images = [...(await bench.replay())];
    await rm(`${bench.directory}/db`, { recursive: true });
    await cp(`${bench.directory}/copy`, `${bench.directory}/db`, { recursive: true });
    // Row 11 is lost and written again: its table has number and size of the one that has row 13 in the image.
    await copy.reopen(1);
    await copy.switchWal();
    await copy.put(1);
    await copy.flush();
    const reused = copy.tableFiles.at(-1)?.split("/").at(-1);
    expect(images.map(([file]) => file)).toContain(`db/${reused}`);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(11n);
  });

  test("of a database that does not exist yet nothing is promised: its path may be wrong", async () => {
    await open();
    bench.start();
    await expect(bench.barrier()).rejects.toMatchObject({ code: "BarrierFailed", cause: { code: "DatabaseMissing" } });
    expect(bench.pen.entries).toHaveLength(0);
    const database = await bench.create();
    await database.put(2);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(2n);
  });
});
