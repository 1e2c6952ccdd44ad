import { afterEach, describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../../base/errors.js";
import type { ByteSource, CallOptions } from "../../bucket/bucket.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import { NodeFileSystem } from "../../base/node-file-system.js";
import { Bench, type BenchOptions } from "./testing/harness.js";
import { HookedFileSystem } from "./testing/hooked-file-system.js";

/** Puts of tables wait while it is closed. */
class GatedBucket extends MemoryBucket {
  waiting = 0;
  #gate: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  shut(): void {
    this.#gate = Promise.withResolvers<void>();
  }

  open(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  override async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    this.waiting++;
    if (this.#gate !== undefined) await Promise.race([this.#gate.promise, abortOf(call.signal)]);
    await super.put(key, source, call);
  }
}

function abortOf(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

let bench: Bench;

async function open(options: BenchOptions = {}): Promise<Bench> {
  bench = await Bench.open(options);
  return bench;
}

afterEach(async () => {
  await bench.close();
});

describe("the master is started again", () => {
  test("what it recovered is taken by a checkpoint before more WAL is shipped", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(10);
    await bench.barrier();
    await database.reopen();
    await database.put(5);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(15n);
  });

  test("sequence numbers used a second time never meet the first ones in one image", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(10);
    await bench.barrier();
    // A power failure of the master's machine would do this: the last 4 rows are lost, their numbers are used again.
    await database.reopen(4);
    await database.put(2);
    await bench.barrier();
    await bench.replay((files) => {
      const wals = [...files].filter(([file]) => file.endsWith(".log"));
      const sizes = wals.map(([, bytes]) => bytes.length).filter((size) => size > 0);
      expect(sizes.length).toBeLessThanOrEqual(1);
    });
    expect(await bench.prefixes()).toBe(8n);
  });

  test("half a record at the end of a killed master's WAL is left out, the rows after it are not shipped across it", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(10);
    await bench.barrier();
    const lost = database.batch(1, 100);
    await database.appendRaw(lost.subarray(0, 50));
    await bench.barrier();
    // Recovery ends before the half record; the process goes on in a new WAL under the MANIFEST it had.
    await database.forget(1);
    await database.switchWal();
    await database.put(3);
    await bench.barrier();
    expect(bench.shipper.status.gaps).toBe(1);
    expect(await bench.prefixes()).toBe(13n);
  });

  test("old WALs that are still there are no sequence that goes back", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(10);
    await bench.barrier();
    await database.switchWal();
    await database.put(10);
    await database.reopen(0, { keepWals: true });
    await database.put(5);
    await bench.barrier();
    expect(bench.shipper.status.gaps).toBe(0);
    expect(await bench.prefixes()).toBe(25n);
  });

  test("masterStarting while a checkpoint is under way asks for another", async () => {
    const bucket = new GatedBucket();
    await open({ bucket });
    const database = await bench.create();
    await database.put(1);
    await database.flush();
    bucket.shut();
    bench.start();
    await bench.until(() => bucket.waiting > 0);
    bench.shipper.masterStarting();
    await database.put(1);
    bucket.open();
    await bench.barrier();
    const kinds = bench.pen.entries.map(({ header }) => header.kind);
    expect(kinds).toEqual(["checkpoint", "checkpoint"]);
    expect(await bench.prefixes()).toBe(2n);
  });

  test("masterStarting holds WAL until a checkpoint that began after it", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    bench.shipper.masterStarting();
    await database.put(2);
    await bench.barrier();
    const last = bench.pen.entries.at(-1);
    expect(last?.header.kind).toBe("checkpoint");
    await database.put(2);
    await bench.barrier();
    expect(bench.pen.entries.at(-1)?.header.kind).toBe("wal");
    expect(await bench.prefixes()).toBe(4n);
  });
});

describe("the sidecar is started again", () => {
  test("a WAL deleted while it was away leaves no hole: a checkpoint comes first", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(10);
    await bench.barrier();
    await bench.die();
    await database.put(10);
    await database.switchWal();
    await database.put(5);
    await database.flush();
    await database.put(5);
    bench.restart();
    bench.start();
    await bench.barrier();
    expect(await bench.prefixes()).toBe(30n);
    const links = await new NodeFileSystem().list(`${bench.directory}/.metamaster/links/db`);
    expect(links.length).toBeLessThanOrEqual(1);
  });

  test("its links keep what the master needs no more, and nothing is left of them at last", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(1);
    await bench.barrier();
    bench.pen.away();
    await database.put(3);
    await bench.until(async () => (await linksOf()).length === 1);
    await bench.die();
    await database.flush();
    await database.put(2);
    bench.restart();
    bench.start();
    await bench.barrier();
    await bench.checkpoint();
    expect(await bench.prefixes()).toBe(6n);
    expect((await linksOf()).filter((name) => name !== `${String(database.walNumber).padStart(6, "0")}.log`)).toEqual(
      [],
    );
  });

  test("tables that an interrupted checkpoint brought up are not brought up again once they are referred to", async () => {
    await open();
    const database = await bench.create();
    await database.put(10);
    await database.flush();
    bench.start();
    await bench.barrier();
    const tables = (await bench.bucket.list("tables/", {})).objects.length;
    await bench.die();
    bench.restart();
    bench.start();
    await bench.barrier();
    expect((await bench.bucket.list("tables/", {})).objects).toHaveLength(tables);
  });
});

async function linksOf(): Promise<string[]> {
  const entries = await new NodeFileSystem().list(`${bench.directory}/.metamaster/links/db`);
  return entries.map(({ name }) => name);
}

function noLinks(call: string, path: string): void {
  if (call === "link" && path.endsWith(".log"))
    throw new MetaMasterError("DiskFull", "transient", "no room for a name");
}

describe("WALs that go", () => {
  test("flushed while the bucket is away: links keep them until they are shipped", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(1);
    await bench.barrier();
    bench.pen.away();
    for (let wal = 0; wal < 4; wal++) {
      await database.put(5);
      const number = database.walNumber;
      await bench.until(async () => (await linksOf()).includes(`${String(number).padStart(6, "0")}.log`));
      await database.flush();
    }
    bench.pen.back();
    await bench.barrier();
    expect(bench.shipper.status.gaps).toBe(0);
    expect(await bench.prefixes()).toBe(21n);
    // Shipped as WAL, every batch of it: point in time keeps its grain.
    const first = bench.pen.entries.flatMap(({ header }) => header.sequences);
    expect(first.map(({ last }) => last)).toContain("21");
  });

  test("deleted before anybody saw them: a gap is counted and healed by a checkpoint", async () => {
    const fs = new HookedFileSystem(new NodeFileSystem());
    await open({ fs });
    const database = await bench.create();
    bench.start();
    await database.put(1);
    await bench.barrier();
    // Nobody looks while two WALs come and go.
    const { promise, resolve } = Promise.withResolvers<void>();
    fs.before = (call, path) => (call === "stat" && path.endsWith("/db") ? promise : undefined);
    await database.put(5);
    await database.switchWal();
    await database.put(5);
    await database.flush();
    await database.put(5);
    fs.before = () => undefined;
    resolve();
    await bench.barrier();
    expect(bench.shipper.status.gaps).toBeGreaterThan(0);
    expect(await bench.prefixes()).toBe(16n);
  });

  test("moved to the archive before they were linked: read there", async () => {
    const fs = new HookedFileSystem(new NodeFileSystem());
    fs.before = noLinks;
    await open({ fs, model: { archive: true } });
    const database = await bench.create();
    bench.start();
    await database.put(1);
    await bench.barrier();
    bench.pen.away();
    await database.put(5);
    await database.flush();
    await database.put(5);
    bench.pen.back();
    await bench.barrier();
    expect(await bench.prefixes()).toBe(11n);
    expect(bench.shipper.status.gaps).toBe(0);
  });

  test("looked at while it was still empty, and no link can be made: its rows count once they are there", async () => {
    const fs = new HookedFileSystem(new NodeFileSystem());
    fs.before = noLinks;
    await open({ fs });
    const database = await bench.create();
    await database.put(1);
    await database.flush();
    bench.start();
    await bench.until(() => bench.shipper.status.trouble?.includes("can't be linked") === true);
    await bench.barrier();
    await database.put(5);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(6n);
    expect(bench.shipper.status.gaps).toBe(0);
  });

  test("archived since it was looked at while empty, and never linked: nothing is missing", async () => {
    const fs = new HookedFileSystem(new NodeFileSystem());
    fs.before = noLinks;
    await open({ fs, model: { archive: true } });
    const database = await bench.create();
    await database.put(1);
    await database.flush();
    bench.start();
    await bench.until(() => bench.shipper.status.trouble?.includes("can't be linked") === true);
    await bench.barrier();
    // Nobody looks while it is filled and archived.
    const { promise, resolve } = Promise.withResolvers<void>();
    fs.before = (call, path) => (call === "stat" && path.endsWith("/db") ? promise : noLinks(call, path));
    await database.put(5);
    await database.flush();
    await database.put(5);
    fs.before = noLinks;
    resolve();
    await bench.barrier();
    expect(await bench.prefixes()).toBe(11n);
    expect(bench.shipper.status.gaps).toBe(0);
  });

  test("the disk has no room for links: said, tried again, nothing lost", async () => {
    const fs = new HookedFileSystem(new NodeFileSystem());
    let full = true;
    fs.before = (call) => {
      if (full && call === "link") throw new MetaMasterError("DiskFull", "transient", "no room for a name");
    };
    await open({ fs });
    const database = await bench.create();
    await database.put(5);
    await database.flush();
    await database.put(5);
    bench.start();
    await expect(bench.barrier()).rejects.toMatchObject({
      code: "BarrierFailed",
      message: expect.stringContaining("no room"),
    });
    expect(bench.shipper.status.trouble).toContain("no room");
    full = false;
    await bench.until(() => bench.shipper.status.trouble === undefined);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(10n);
  });

  test("recycled WALs are copied, because their bytes are overwritten", async () => {
    await open({ model: { recyclable: true } });
    const database = await bench.create();
    bench.start();
    await database.put(3);
    await bench.barrier();
    bench.pen.away();
    await database.put(3);
    await bench.until(async () => (await linksOf()).length > 0);
    const before = database.walFile;
    await database.switchWal();
    await database.put(3);
    await bench.until(async () => (await linksOf()).length > 1);
    // Recycled: the inode of the old WAL, with its bytes, becomes the new one.
    await database.recycle(before);
    await database.put(3);
    bench.pen.back();
    await bench.barrier();
    expect(await bench.prefixes()).toBe(12n);
    const links = await linksOf();
    const fsx = new NodeFileSystem();
    for (const name of links) {
      expect((await fsx.stat(`${bench.directory}/.metamaster/links/db/${name}`))?.links).toBe(1);
    }
  });

  test("the spool is full: WALs are let go, said so, and a checkpoint heals", async () => {
    await open({ settings: { wal: { maxDelayMs: 20, maxSpoolBytes: 20_000 } } });
    const database = await bench.create();
    bench.start();
    await database.put(1);
    await bench.barrier();
    bench.pen.away();
    for (let wal = 0; wal < 4; wal++) {
      await database.put(10, 1_000);
      const number = database.walNumber;
      await bench.until(async () => (await linksOf()).includes(`${String(number).padStart(6, "0")}.log`));
      await database.flush();
    }
    await bench.until(() => bench.shipper.status.gaps > 0);
    await bench.until(() => bench.shipper.status.spoolBytes <= 20_000);
    bench.pen.back();
    await bench.barrier();
    expect(await bench.prefixes()).toBe(41n);
  }, 20_000);

  test("let go while the checkpoint that needs them is brought up: another cut, no hole", async () => {
    const bucket = new GatedBucket();
    await open({ bucket, settings: { wal: { maxDelayMs: 20, maxSpoolBytes: 5_000 } } });
    const database = await bench.create();
    await database.put(1);
    await database.flush();
    await database.put(10, 1_000);
    bucket.shut();
    bench.start();
    await bench.until(() => bucket.waiting > 0);
    await database.flush();
    await database.put(1);
    await bench.until(() => bench.shipper.status.gaps > 0);
    bucket.open();
    await bench.barrier();
    expect(await bench.prefixes()).toBe(12n);
  }, 20_000);

  test("tables that only a checkpoint beside keeps are no reason to let WALs go: it is begun anew", async () => {
    const bucket = new GatedBucket();
    await open({ bucket, settings: { wal: { maxDelayMs: 20, maxSpoolBytes: 20_000 } } });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    await database.put(5_000, 1);
    await database.flush();
    await database.put(1);
    await bench.barrier();
    bucket.shut();
    const asked = bench.checkpoint();
    await bench.until(() => bucket.waiting > 0);
    expect((await linksOf()).filter((name) => name.endsWith(".sst"))).toHaveLength(1);
    await database.compact();
    await bench.until(() => bench.shipper.status.trouble?.includes("the spool is full") === true);
    await bench.until(() => bench.shipper.status.spoolBytes <= 20_000);
    await database.put(1);
    await bench.barrier();
    bucket.open();
    await asked;
    expect(bench.shipper.status.gaps).toBe(0);
    await bench.until(() => bench.shipper.status.trouble === undefined);
    expect(await bench.prefixes()).toBe(5_002n);
  }, 40_000);

  test("a checkpoint that can't be planned to its end leaves no link behind", async () => {
    const fs = new HookedFileSystem(new NodeFileSystem());
    let failed = false;
    fs.before = (call, path) => {
      if (call !== "link" || !path.endsWith(".sst") || failed || !path.endsWith(second)) return;
      failed = true;
      throw new MetaMasterError("DiskFull", "transient", "no room for a name");
    };
    let second = "none";
    await open({ fs });
    const database = await bench.create();
    for (let table = 0; table < 2; table++) {
      await database.put(2);
      await database.flush();
    }
    second = database.tableFiles[1]!.slice(database.path.length);
    bench.start();
    await bench.until(() => failed);
    await bench.until(() => bench.shipper.status.trouble === undefined);
    await bench.barrier();
    await bench.until(async () => !(await linksOf()).some((name) => name.endsWith(".sst")));
    expect(await bench.prefixes()).toBe(4n);
  });
});
