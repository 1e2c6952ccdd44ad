import { afterEach, describe, expect, test } from "@jest/globals";
import { Bench, type BenchOptions } from "./testing/harness.js";

let bench: Bench;

async function open(options: BenchOptions = {}): Promise<Bench> {
  bench = await Bench.open(options);
  return bench;
}

afterEach(async () => {
  await bench.close();
});

describe("a barrier", () => {
  test("with nothing new resolves without an entry", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(1);
    await bench.barrier();
    const slot = bench.pen.position.slot;
    await bench.barrier();
    expect(bench.pen.position.slot).toBe(slot);
  });

  test("many callers share few entries", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    const before = bench.pen.entries.length;
    bench.pen.away();
    const calls: Promise<void>[] = [];
    for (let caller = 0; caller < 64; caller++) {
      await database.put(1);
      calls.push(bench.barrier());
    }
    bench.pen.back();
    await Promise.all(calls);
    expect(bench.pen.entries.length - before).toBeLessThanOrEqual(4);
    expect(await bench.prefixes()).toBe(64n);
  });

  test("waits while the bucket is away, also when there is nothing new: what went before is not durable yet", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    bench.pen.away();
    await database.put(1);
    const first = bench.barrier();
    const second = bench.barrier();
    let settled = 0;
    const count = (): void => void settled++;
    void first.then(count, count);
    void second.then(count, count);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const third = bench.barrier();
    void third.then(count, count);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(settled).toBe(0);
    expect(bench.shipper.status.durableLagBytes).toBeGreaterThan(0);
    expect(bench.shipper.status.durableLagSeconds).toBeGreaterThan(0);
    bench.pen.back();
    await Promise.all([first, second, third]);
    expect(bench.shipper.status).toMatchObject({ durableLagBytes: 0, durableLagSeconds: 0 });
  });

  test("ends with its caller's patience, and only that caller's", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    bench.pen.away();
    await database.put(1);
    const impatient = new AbortController();
    const first = bench.shipper.barrier(impatient.signal);
    const second = bench.barrier();
    impatient.abort(new Error("too long"));
    await expect(first).rejects.toThrow("too long");
    bench.pen.back();
    await second;
    expect(await bench.prefixes()).toBe(1n);
  });

  test("of a fenced primary rejects, also with nothing new, and run ends", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    bench.pen.away();
    await database.put(1);
    const waiting = bench.barrier();
    await new Promise((resolve) => setTimeout(resolve, 20));
    bench.pen.fence();
    await expect(waiting).rejects.toMatchObject({ kind: "fenced" });
    expect(await bench.ended()).toMatchObject({ kind: "fenced" });
    await expect(bench.barrier()).rejects.toMatchObject({ kind: "fenced" });
    expect(await bench.prefixes()).toBe(0n);
  });

  test("with nothing new of a primary that was found fenced meanwhile rejects", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(1);
    await bench.barrier();
    bench.pen.fence();
    await expect(bench.barrier()).rejects.toMatchObject({ kind: "fenced" });
    expect(await bench.ended()).toMatchObject({ kind: "fenced" });
  });

  test("says why when the checkpoint that WAL waits for fails", async () => {
    await open();
    const database = await bench.create();
    await database.put(1);
    await database.flush();
    const { unlink, writeFile } = await import("node:fs/promises");
    const table = database.tableFiles[0] ?? "";
    await unlink(table);
    bench.start();
    await expect(bench.barrier()).rejects.toMatchObject({
      code: "BarrierFailed",
      message: expect.stringContaining("which its MANIFEST names"),
    });
    await writeFile(table, "[1, 2]");
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "TableSizeMismatch" } });
  });

  test("is not promised past damage in a WAL; the master's next flush heals it", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(1);
    await bench.barrier();
    const good = database.batch(1, 100);
    const bad = Buffer.from(good);
    bad[20] = (bad[20] ?? 0) ^ 0xff;
    await database.appendRaw(bad);
    await database.put(1);
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "WalCorrupt" } });
    expect(bench.shipper.status.trouble).toContain(".log");
    await database.flush();
    await database.put(1);
    await bench.until(() => bench.shipper.status.trouble === undefined);
    await bench.barrier();
    expect(await bench.prefixes()).toBe(4n);
  });
});

test("WALs behind a damaged one are not shipped without it", async () => {
  await open();
  const database = await bench.create();
  bench.start();
  await database.put(1);
  await bench.barrier();
  const bad = Buffer.from(database.batch(1, 100));
  bad[20] = (bad[20] ?? 0) ^ 0xff;
  await database.appendRaw(bad);
  await database.put(1);
  await database.switchWal();
  await database.put(3);
  await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "WalCorrupt" } });
  expect(await bench.prefixes()).toBe(1n);
});

describe("the end", () => {
  test("finish ships the tail of a dead master and a last checkpoint; nothing can be asked after it", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    await database.put(5);
    await database.flush();
    await database.put(5);
    await database.appendRaw(database.batch(1).subarray(0, 5));
    const position = await bench.shipper.finish(AbortSignal.timeout(10_000));
    expect(position).toEqual(bench.pen.position);
    expect(bench.pen.entries.at(-1)?.header.kind).toBe("checkpoint");
    expect(await bench.prefixes()).toBe(10n);
    expect(await bench.ended()).toBeUndefined();
    expect(bench.snapshots.at(-1)?.position).toEqual(position);
    await expect(bench.barrier()).rejects.toMatchObject({ cause: { code: "ShippingEnded" } });
    await bench.shipper.run(new AbortController().signal);
  });

  test("finish has nothing to say when nothing happened since the last checkpoint", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await database.put(5);
    await bench.checkpoint();
    const slot = bench.pen.position.slot;
    await bench.shipper.finish(AbortSignal.timeout(10_000));
    expect(bench.pen.position.slot).toBe(slot);
  });

  test("finish without the bucket ends with its caller's patience", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    bench.pen.away();
    await database.put(5);
    const patience = new AbortController();
    const finishing = bench.shipper.finish(patience.signal);
    setTimeout(() => patience.abort(new Error("enough")), 30);
    await expect(finishing).rejects.toThrow("enough");
    await expect(bench.barrier()).rejects.toMatchObject({ code: "BarrierFailed" });
  });

  test("run ends with its signal's reason, whoever waits is told", async () => {
    await open();
    const database = await bench.create();
    bench.start();
    await bench.barrier();
    bench.pen.away();
    await database.put(1);
    const waiting = bench.barrier();
    const checkpoint = bench.checkpoint();
    for (const call of [waiting, checkpoint]) call.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await bench.die();
    await expect(waiting).rejects.toThrow("killed");
    await expect(checkpoint).rejects.toThrow("killed");
  });
});
