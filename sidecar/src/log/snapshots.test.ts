import { expect, test } from "@jest/globals";
import { bytesSource } from "../bucket/byte-source.js";
import { MemoryBucket } from "../bucket/testing/memory-bucket.js";
import { JumpingClock } from "../bucket/testing/test-clock.js";
import { snapshotKey } from "../formats/entry.js";
import { EMPTY_IMAGE, type ImageFile, type ImageState } from "../formats/image.js";
import { Snapshots } from "./snapshots.js";
import { CLUSTER, FaultyBucket, compression, never } from "./testing/log-bench.js";

const digest = "ab".repeat(32);

function bench(
  cluster = CLUSTER,
  store = new MemoryBucket(),
): { store: MemoryBucket; bucket: FaultyBucket; snapshots: Snapshots } {
  const bucket = new FaultyBucket(store);
  return { store, bucket, snapshots: new Snapshots({ cluster, bucket, clock: new JumpingClock(), compression }) };
}

function image(slot: number, fields: Partial<ImageState> = {}): ImageState {
  return { ...EMPTY_IMAGE, position: { slot, chain: digest }, epoch: 1, claims: [0], ...fields };
}

test("what was put is listed in order and read back", async () => {
  const { snapshots } = bench();
  for (const slot of [5, 3, 12]) await snapshots.put(image(slot), never);
  expect(await snapshots.list(never)).toEqual([3, 5, 12]);
  expect(await snapshots.read(5, never)).toEqual({ ...image(5), cluster: CLUSTER, wallTimeMs: 1_800_000_000_000 });
  expect(await snapshots.read(6, never)).toBeUndefined();
});

test("a listing of many pages, with strangers in it", async () => {
  const { store, snapshots } = bench();
  for (let slot = 0; slot < 2100; slot++) store.poke(snapshotKey(slot), new Uint8Array(1));
  store.poke("snapshots/README", new Uint8Array(1));
  store.poke("snapshots/0000000000000000000a.json", new Uint8Array(1));
  expect(await snapshots.list(never)).toHaveLength(2100);
});

test("one that is there already is kept, as is one whose answer was lost", async () => {
  const { bucket, store, snapshots } = bench();
  bucket.fate = (call) => (call === "putIfAbsent" ? "lost" : "right");
  await expect(snapshots.put(image(5), never)).rejects.toMatchObject({ kind: "transient" });
  const before = store.entries();
  bucket.fate = () => "right";
  await snapshots.put(image(5, { epoch: 2 }), never);
  expect(store.entries()).toEqual(before);
});

test("damaged once on the way it is read again; damaged for good it is named", async () => {
  const { store, snapshots } = bench();
  await snapshots.put(image(5), never);
  const get = store.get.bind(store);
  let flips = 1;
  store.get = async (key, call) => {
    const bytes = await get(key, call);
    if (bytes !== undefined && flips-- > 0) bytes[100] = (bytes[100] ?? 0) ^ 1;
    return bytes;
  };
  expect((await snapshots.read(5, never))?.position.slot).toBe(5);
  flips = 1000;
  const named = { code: "SnapshotCorrupt", kind: "corrupt", details: { key: snapshotKey(5) } };
  await expect(snapshots.read(5, never)).rejects.toMatchObject(named);
});

test("one of another slot or another cluster is refused", async () => {
  const { store, snapshots } = bench();
  await snapshots.put(image(5), never);
  store.poke(snapshotKey(6), store.entries()[0]?.[1] ?? new Uint8Array());
  await expect(snapshots.read(6, never)).rejects.toMatchObject({ code: "SnapshotCorrupt" });
  await expect(bench("other", store).snapshots.read(5, never)).rejects.toMatchObject({ code: "ForeignCluster" });
});

const append = (fields: Partial<Extract<ImageFile, { kind: "append" }>>): Map<string, ImageFile> =>
  new Map([["db/1.log", { kind: "append", size: 10, firstSlot: 4, ...fields }]]);
const base = { key: "tables/1/db/1.log-x", size: 8, sha256: digest };

test("one that could not be restored is never written", async () => {
  const { store, bucket, snapshots } = bench();
  const refused = { code: "SnapshotIncomplete", kind: "conflict" };
  // It needs slots that are trimmed.
  await expect(snapshots.put(image(9, { files: append({}), trimmedThrough: 4 }), never)).rejects.toMatchObject(refused);
  await snapshots.put(image(9, { files: append({}), trimmedThrough: 3 }), never);
  // Its base is missing, is another, is doomed.
  await expect(snapshots.put(image(10, { files: append({ base }) }), never)).rejects.toMatchObject(refused);
  await bucket.put(base.key, bytesSource(new Uint8Array(7)), {});
  await expect(snapshots.put(image(10, { files: append({ base }) }), never)).rejects.toMatchObject(refused);
  await bucket.put(base.key, bytesSource(new Uint8Array(8)), {});
  const trims = [{ slot: 2, throughSlot: -1, keys: [base.key] }];
  await expect(snapshots.put(image(10, { files: append({ base }), trims }), never)).rejects.toMatchObject(refused);
  expect(store.entries().map(([key]) => key)).toEqual([snapshotKey(9), base.key]);
  await snapshots.put(image(10, { files: append({ base }) }), never);
  expect(await snapshots.list(never)).toEqual([9, 10]);
});
