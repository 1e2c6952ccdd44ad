import { appendFile } from "node:fs/promises";
import { afterEach, describe, expect, test } from "@jest/globals";
import { NodeFileSystem } from "../../base/node-file-system.js";
import { Bench, type BenchOptions } from "./testing/harness.js";
import { HookedFileSystem } from "./testing/hooked-file-system.js";
import { rowsOf } from "./testing/recover.js";

let bench: Bench;

async function open(options: BenchOptions = {}): Promise<Bench> {
  bench = await Bench.open(options);
  return bench;
}

afterEach(async () => {
  await bench.close();
});

describe("shipping one database", () => {
  test("a barrier brings everything written before it, WAL and tables", async () => {
    await open();
    const database = await bench.create();
    await database.put(10);
    await database.flush();
    await database.put(5);
    bench.start();
    await bench.barrier();
    expect(await bench.prefixes()).toBe(15n);
    await database.put(3);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(18n);
  });

  test("a checkpoint takes over flushed rows, removes what is obsolete and is followed by a snapshot", async () => {
    await open();
    const database = await bench.create();
    await database.put(10);
    bench.start();
    await bench.barrier();
    const firstWal = `db/${String(database.walNumber).padStart(6, "0")}.log`;
    await database.flush();
    await database.put(4);
    await bench.barrier();
    expect((await bench.replay()).has(firstWal)).toBe(true);
    await bench.checkpoint();
    const files = await bench.replay();
    expect(files.has(firstWal)).toBe(false);
    expect([...files.keys()].filter((file) => file.endsWith(".sst"))).toHaveLength(1);
    expect(await bench.prefixes()).toBe(14n);
    const snapshot = bench.snapshots.at(-1);
    expect([...(snapshot?.files.keys() ?? [])].toSorted()).toEqual([...files.keys()].toSorted());
    expect(snapshot?.position).toEqual(bench.pen.position);
    expect(bench.shipper.status.lastCheckpointSlot).toBe(bench.pen.position.slot);
  });

  test("a backlog is cut into entries at record boundaries", async () => {
    await open({ settings: { entryBodyBytesMax: 16 * 1024 } });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    for (let batch = 0; batch < 100; batch++) await database.put(2, 400);
    await bench.barrier();
    expect(bench.pen.entries.length).toBeGreaterThan(5);
    expect(bench.pen.entries.filter(({ header }) => header.more && header.kind === "wal")).toHaveLength(0);
    for (const { operations } of bench.pen.entries) {
      const bytes = operations.reduce((sum, operation) => sum + ("bytes" in operation ? operation.bytes.length : 0), 0);
      expect(bytes).toBeLessThanOrEqual(16 * 1024);
    }
    expect(await bench.prefixes()).toBe(200n);
    const first = bench.pen.entries.flatMap(({ header }) => header.sequences)[0];
    expect(first).toMatchObject({ database: "db", first: "1" });
  });

  test("a record larger than an entry becomes a group", async () => {
    await open({ settings: { entryBodyBytesMax: 16 * 1024 } });
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    await database.put(1, 10);
    await database.put(1, 100_000);
    await database.put(1, 10);
    await bench.barrier();
    expect(bench.pen.entries.filter(({ header }) => header.more).length).toBeGreaterThan(5);
    expect(await bench.prefixes()).toBe(3n);
  });

  test("half a record waits for its other half", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(2);
    const bytes = database.batch(3, 100);
    await database.appendRaw(bytes.subarray(0, 40));
    await bench.barrier();
    expect(await bench.prefixes()).toBe(2n);
    await database.appendRaw(bytes.subarray(40));
    await bench.barrier();
    expect(await bench.prefixes()).toBe(5n);
  });

  test("WAL written while the shipper runs arrives without a barrier", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    await database.put(2);
    while ((await bench.rows()).size < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(bench.shipper.status).toMatchObject({
      durableLagBytes: 0,
      durableLagSeconds: 0,
      gaps: 0,
      trouble: undefined,
    });
  });

  test("new WALs are shipped in order, each whole before the next", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    for (let wal = 0; wal < 5; wal++) {
      await database.put(3);
      await database.switchWal();
      if (wal % 2 === 0) await bench.barrier();
    }
    await bench.barrier();
    expect(await bench.prefixes()).toBe(15n);
    expect(bench.shipper.status.gaps).toBe(0);
  });

  test("compressed WALs, a separate WAL directory", async () => {
    await open({ separateWal: true, model: { compressed: true } });
    const database = await bench.create();
    await database.put(3);
    bench.start();
    await bench.barrier();
    await database.put(3);
    await database.flush();
    await database.put(3);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(9n);
    await bench.checkpoint();
    expect(await bench.prefixes()).toBe(9n);
    const files = [...(await bench.replay()).keys()];
    expect(files.filter((file) => file.startsWith("db@wal/"))).toHaveLength(1);
    expect(files.filter((file) => file.startsWith("db/") && file.endsWith(".log"))).toHaveLength(0);
  });
});

test("a WAL is measured after the next one: rows that come in between make no hole", async () => {
  const fs = new HookedFileSystem(new NodeFileSystem());
  await open({ fs });
  const database = await bench.create();
  bench.start();
  await database.put(1);
  await bench.barrier();
  const older = database.walFile;
  const late = database.batch(5);
  await database.switchWal();
  await bench.barrier();
  const newer = database.walFile;
  let looked = 0;
  fs.before = async (call, path) => {
    if (call !== "stat" || (path !== older && path !== newer) || ++looked !== 2) return;
    // Between the two looks of one cut the older WAL gets its last rows and the newer its first.
    await appendFile(older, late);
    await database.put(5);
  };
  await bench.barrier();
  await bench.barrier();
  expect(looked).toBeGreaterThan(2);
  expect(await bench.prefixes()).toBe(11n);
  expect(bench.shipper.status.gaps).toBe(0);
});

describe("binding edits", () => {
  test("WAL never comes before ingested rows that were there before it", async () => {
    await open();
    const database = await bench.create();
    await database.put(1);
    bench.start();
    await bench.barrier();
    await database.ingest(240);
    await database.put(5);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(246n);
  });

  test("WAL never comes before the column family it writes to", async () => {
    await open();
    const database = await bench.create();
    await database.put(1);
    bench.start();
    await bench.barrier();
    await database.addFamily();
    await database.put(330);
    await bench.barrier();
    await bench.replay((files) => {
      const manifest = [...files].find(([file]) => file.startsWith("db/MANIFEST-"))?.[1] ?? new Uint8Array(0);
      const rows = rowsOf(files, "db");
      if ((rows?.size ?? 0) > 1) expect(Buffer.from(manifest).includes("family-1")).toBe(true);
    });
    expect(await bench.prefixes()).toBe(331n);
  });

  test("flushes and compactions wait for the next checkpoint", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    const tablesBefore = bench.pen.entries.flatMap(({ operations }) =>
      operations.filter(({ type }) => type === "table"),
    );
    await database.put(5);
    await database.flush({ keepWals: true });
    await database.put(5);
    await database.flush({ keepWals: true });
    await database.compact();
    await database.put(5);
    await bench.barrier();
    const tables = bench.pen.entries.flatMap(({ operations }) => operations.filter(({ type }) => type === "table"));
    expect(tables).toHaveLength(tablesBefore.length);
    expect(await bench.prefixes()).toBe(15n);
  });

  test("a database without a WAL: another's log is never trimmed past what it holds", async () => {
    await open({ databases: ["journal", "state"] });
    const journal = await bench.create("journal");
    const state = await bench.create("state");
    bench.start();
    await bench.barrier();
    for (let round = 1; round <= 4; round++) {
      await journal.put(10);
      state.putUnlogged(10);
      await state.flush({ switchWal: false });
      // "Trimmed": from now on the journal relies on the state's table.
      await journal.put(1);
      await bench.barrier();
      const trimmed = journal.last;
      await bench.replay((files) => {
        const journalRows = rowsOf(files, "journal")?.size ?? 0;
        const stateRows = rowsOf(files, "state")?.size ?? 0;
        // A trim is the 11th, 22nd ... row of the journal.
        expect(stateRows).toBeGreaterThanOrEqual(Math.floor(journalRows / 11) * 10);
      });
      expect(BigInt((await bench.rows("journal")).size)).toBe(trimmed);
    }
  });
});
