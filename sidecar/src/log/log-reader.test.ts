import { describe, expect, test } from "@jest/globals";
import type { MetaMasterError } from "../base/errors.js";
import { MemoryBucket } from "../bucket/testing/memory-bucket.js";
import { ENTRY_OBJECT_BYTES_MAX } from "../formats/entry-codec.js";
import { CLUSTER_KEY, logKey, snapshotKey, type Position } from "../formats/entry.js";
import { encodeCluster } from "./cluster-identity.js";
import { BucketLogReader, findLastSlot } from "./log-reader.js";
import {
  CLUSTER,
  FaultyBucket,
  START,
  compression,
  header,
  history,
  never,
  poke,
  settle,
} from "./testing/log-bench.js";

interface Bench {
  readonly store: MemoryBucket;
  readonly bucket: FaultyBucket;
  readonly reader: BucketLogReader;
  readonly corrupt: MetaMasterError[];
  /** Of each slot. */
  readonly positions: Position[];
}

const cluster = { formatVersion: 1, uid: CLUSTER, createdAt: "2026-01-01T00:00:00.000Z" };

/** A log of so many entries: a claim, then heartbeats. */
async function bench(count: number): Promise<Bench> {
  const store = new MemoryBucket();
  const bucket = new FaultyBucket(store);
  const corrupt: MetaMasterError[] = [];
  const reader = new BucketLogReader({ cluster, bucket, compression, onCorrupt: (error) => corrupt.push(error) });
  const positions: Position[] = [];
  for (let slot = 0; slot < count; slot++) await extend({ store, positions });
  return { store, bucket, reader, corrupt, positions };
}

async function extend({ store, positions }: Pick<Bench, "store" | "positions">): Promise<void> {
  const slot = positions.length;
  const fields = {
    slot,
    kind: slot === 0 ? ("claim" as const) : ("heartbeat" as const),
    previous: positions.at(-1)?.chain ?? "",
  };
  positions.push(await poke(store, { header: header(fields), operations: [] }));
}

function flipOnce(store: MemoryBucket, key: string, times = 1): void {
  const get = store.get.bind(store);
  let left = times;
  store.get = async (asked, call) => {
    const bytes = await get(asked, call);
    if (asked === key && bytes !== undefined && left-- > 0) bytes[50] = (bytes[50] ?? 0) ^ 4;
    return bytes;
  };
}

describe("reading on", () => {
  test("gives every entry in order, then nothing, then what was added", async () => {
    const log = await bench(30);
    const entries = await history(log.reader);
    expect(entries.map((entry) => entry.header.slot)).toEqual(log.positions.map(({ slot }) => slot));
    const end = log.positions.at(-1) ?? START;
    expect(await log.reader.next(end, never)).toBeUndefined();
    await extend(log);
    expect((await log.reader.next(end, never))?.position).toEqual(log.positions.at(-1));
  });

  test("an absence seen while reading ahead is looked at again", async () => {
    const log = await bench(3);
    let end = START;
    for (let slot = 0; slot < 3; slot++) end = (await log.reader.next(end, never))?.position ?? end;
    // Slots 3 and 4 were asked for ahead and are absent; now they appear.
    expect(log.bucket.calls).toContain(`get ${logKey(3)}`);
    await settle();
    await extend(log);
    await extend(log);
    expect((await log.reader.next(end, never))?.header.slot).toBe(3);
    expect((await history(log.reader)).length).toBe(5);
  });

  test("fetches several ahead while catching up, bounded, and none at the end", async () => {
    const log = await bench(40);
    let inFlight = 0;
    let most = 0;
    log.bucket.gate = async () => {
      most = Math.max(most, ++inFlight);
      await settle();
      inFlight--;
    };
    await history(log.reader);
    expect(most).toBeGreaterThan(4);
    expect(most).toBeLessThanOrEqual(9);
    const counts = new Map<string, number>();
    for (const call of log.bucket.calls) counts.set(call, (counts.get(call) ?? 0) + 1);
    for (let slot = 0; slot < 40; slot++) expect(counts.get(`get ${logKey(slot)}`)).toBe(1);
    // What was read is not kept.
    await log.reader.next(log.positions[20] ?? START, never);
    expect(log.bucket.calls.filter((call) => call === `get ${logKey(21)}`)).toHaveLength(2);
    // At the end, entry by entry, nothing is asked for in vain.
    let end = log.positions.at(-1) ?? START;
    await log.reader.next(end, never);
    log.bucket.calls.length = 0;
    for (let step = 0; step < 5; step++) {
      await extend(log);
      end = (await log.reader.next(end, never))?.position ?? end;
      await log.reader.next(end, never);
    }
    expect(log.bucket.calls).toHaveLength(10);
  });

  test("reading ahead that fails, or that belongs to a caller who gave up, is made good", async () => {
    const log = await bench(20);
    let calls = 0;
    log.bucket.fate = () => (++calls % 3 === 0 ? "failed" : "right");
    let end = START;
    for (let slot = 0; slot < 20;) {
      const controller = new AbortController();
      const entry = await log.reader.next(end, controller.signal).catch(() => undefined);
      controller.abort(new Error("done"));
      if (entry === undefined) continue;
      expect(entry.header.slot).toBe(slot++);
      end = entry.position;
    }
  });

  test("from another position nothing of the old reading is used", async () => {
    const log = await bench(20);
    let end = START;
    for (let slot = 0; slot < 6; slot++) end = (await log.reader.next(end, never))?.position ?? end;
    expect((await log.reader.next(log.positions[1] ?? START, never))?.header.slot).toBe(2);
    expect((await log.reader.next(end, never))?.header.slot).toBe(6);
  });

  test("an aborted signal rejects with its reason", async () => {
    const log = await bench(2);
    await expect(log.reader.next(START, AbortSignal.abort(new Error("no")))).rejects.toThrow("no");
  });
});

describe("what is wrong with an object is named and nothing of it is returned", () => {
  test("damaged once on the way: fetched again, and said", async () => {
    const log = await bench(3);
    flipOnce(log.store, logKey(1));
    expect(await history(log.reader)).toHaveLength(3);
    expect(log.corrupt).toMatchObject([{ code: "EntryCorrupt" }]);
  });

  test("damaged for good", async () => {
    const log = await bench(3);
    flipOnce(log.store, logKey(1), 1000);
    await expect(log.reader.next(log.positions[0] ?? START, never)).rejects.toMatchObject({
      code: "EntryCorrupt",
      kind: "corrupt",
      details: { key: logKey(1) },
    });
    expect(log.bucket.calls.filter((call) => call === `get ${logKey(1)}`)).toHaveLength(2);
  });

  test("larger than any entry", async () => {
    const log = await bench(1);
    log.store.poke(logKey(0), new Uint8Array(ENTRY_OBJECT_BYTES_MAX + 1));
    await expect(log.reader.next(START, never)).rejects.toMatchObject({ code: "ObjectTooLarge", kind: "corrupt" });
  });

  test("of another chain", async () => {
    const log = await bench(2);
    const wrong = { slot: 0, chain: "00".repeat(32) };
    await expect(log.reader.next(wrong, never)).rejects.toMatchObject({ code: "ChainBroken", kind: "corrupt" });
    // By slot alone it is readable.
    expect((await log.reader.read(1, never))?.position).toEqual(log.positions[1]);
  });

  test("of another slot", async () => {
    const log = await bench(3);
    const other = await log.store.get(logKey(2), { maxBytes: 10_000 });
    log.store.poke(logKey(1), other ?? new Uint8Array());
    await expect(log.reader.next(log.positions[0] ?? START, never)).rejects.toMatchObject({ code: "EntryCorrupt" });
  });

  test("of another cluster", async () => {
    const log = await bench(0);
    await poke(log.store, { header: header({ cluster: "other" }), operations: [] });
    await expect(log.reader.next(START, never)).rejects.toMatchObject({
      code: "ForeignCluster",
      kind: "invalid",
      details: { found: "other", expected: CLUSTER },
    });
  });

  test("out of reach: the error is the bucket's", async () => {
    const log = await bench(1);
    log.bucket.fate = () => "failed";
    await expect(log.reader.next(START, never)).rejects.toMatchObject({ kind: "transient" });
  });
});

describe("a slot without an entry", () => {
  test("is the end if nothing is behind it", async () => {
    const log = await bench(3);
    expect(await log.reader.findGap(3, never)).toBeUndefined();
    expect(await (await bench(0)).reader.findGap(0, never)).toBeUndefined();
  });

  test("that was written since is no gap", async () => {
    const log = await bench(5);
    expect(await log.reader.findGap(3, never)).toBeUndefined();
  });

  test("is trimmed if a snapshot at or behind it exists", async () => {
    const log = await bench(6);
    log.store.poke(CLUSTER_KEY, encodeCluster(log.reader.cluster));
    await log.store.delete(logKey(2), {});
    log.store.poke(snapshotKey(1), Buffer.from("old"));
    await expect(log.reader.findGap(2, never)).rejects.toMatchObject({ code: "LogGap" });
    log.store.poke(snapshotKey(2), Buffer.from("at it"));
    expect(await log.reader.findGap(2, never)).toBe("trimmed");
    await log.store.delete(logKey(0), {});
    expect(await log.reader.findGap(0, never)).toBe("trimmed");
  });

  test("is a gap if entries follow and no snapshot covers it", async () => {
    const log = await bench(6);
    log.store.poke(CLUSTER_KEY, encodeCluster(log.reader.cluster));
    await log.store.delete(logKey(2), {});
    await expect(log.reader.findGap(2, never)).rejects.toMatchObject({
      code: "LogGap",
      kind: "corrupt",
      details: { slot: 2, behind: logKey(3) },
    });
    // A purge takes the identity last: what it left behind in such a log is no damage.
    await log.store.delete(CLUSTER_KEY, {});
    await expect(log.reader.findGap(2, never)).rejects.toMatchObject({ code: "ClusterDeleted" });
  });
});

test("what lies behind a hole may be left of a cluster that was deleted: whose it is is said, not that something is missing", async () => {
  const log = await bench(0);
  log.store.poke(CLUSTER_KEY, encodeCluster(log.reader.cluster));
  await poke(log.store, { header: header({ cluster: "other", slot: 9, previous: "0".repeat(64) }), operations: [] });
  await expect(log.reader.findGap(0, never)).rejects.toMatchObject({
    code: "ForeignCluster",
    details: { key: logKey(9), found: "other" },
  });
});

test("the last slot is found by listing, over holes and pages", async () => {
  const log = await bench(0);
  expect(await findLastSlot(log.bucket, -1, never)).toBe(-1);
  for (let slot = 0; slot < 2500; slot++) log.store.poke(logKey(slot * 2), new Uint8Array(1));
  expect(await findLastSlot(log.bucket, -1, never)).toBe(4998);
  expect(await findLastSlot(log.bucket, 4997, never)).toBe(4998);
  expect(await findLastSlot(log.bucket, 7000, never)).toBe(7000);
  log.store.poke("log/zzz", new Uint8Array(1));
  await expect(findLastSlot(log.bucket, 0, never)).rejects.toMatchObject({ code: "LogKeyInvalid" });
});
