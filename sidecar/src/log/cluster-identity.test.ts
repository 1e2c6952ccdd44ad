import { expect, test } from "@jest/globals";
import { MemoryBucket } from "../bucket/testing/memory-bucket.js";
import { JumpingClock } from "../bucket/testing/test-clock.js";
import { CLUSTER_KEY } from "../formats/entry.js";
import {
  checkStillThere,
  decodeCluster,
  deletedIdentity,
  encodeCluster,
  openCluster,
  readCluster,
  type ClusterComponents,
} from "./cluster-identity.js";
import { FaultyBucket, SmallRandom, never } from "./testing/log-bench.js";

function parts(
  store = new MemoryBucket(),
  seed = 1,
): ClusterComponents & { bucket: FaultyBucket; store: MemoryBucket } {
  return { store, bucket: new FaultyBucket(store), clock: new JumpingClock(), random: new SmallRandom(seed) };
}

const none = { uid: undefined };
const identity = { formatVersion: 1, uid: "abc", createdAt: "2026-01-01T00:00:00.000Z" };

test("is created once: members that start together agree", async () => {
  const first = parts();
  const second = parts(first.store, 2);
  const [one, two] = await Promise.all([openCluster(first, none, never), openCluster(second, none, never)]);
  expect(one).toEqual(two);
  expect(one.uid).toMatch(/^[0-9a-f]{32}$/);
  expect(await openCluster(parts(first.store, 3), { uid: one.uid }, never)).toEqual(one);
  expect(await readCluster(first.bucket, never)).toEqual(one);
});

test("before it is created, and only then, whoever must be asked is", async () => {
  const first = parts();
  const asked: number[] = [];
  const beforeCreation = async (): Promise<void> => void asked.push(first.store.entries().length);
  const refused = new Error("refused");
  const refuses = { ...first, beforeCreation: () => Promise.reject(refused) };
  await expect(openCluster(refuses, none, never)).rejects.toBe(refused);
  await openCluster({ ...first, beforeCreation }, none, never);
  await openCluster({ ...first, beforeCreation }, none, never);
  expect(asked).toEqual([0]);
});

test("whatever the answer to its creation, what is in the bucket counts", async () => {
  const first = parts();
  first.bucket.fate = (call) => (call === "putIfAbsent" ? "lost" : "right");
  await expect(openCluster(first, none, never)).rejects.toMatchObject({ kind: "transient" });
  first.bucket.fate = () => "right";
  const made = first.store.entries()[0]?.[1];
  expect((await openCluster(first, none, never)).uid).toBe(decodeCluster(made ?? new Uint8Array(), "").uid);
});

test("another uid than the expected one is refused", async () => {
  const { uid } = await openCluster(parts(), none, never);
  const other = parts();
  other.store.poke(CLUSTER_KEY, encodeCluster(identity));
  await expect(openCluster(other, { uid }, never)).rejects.toMatchObject({
    code: "ForeignCluster",
    kind: "invalid",
    details: { found: "abc", expected: uid },
  });
});

test("a member that belongs to a cluster never makes a new one in an empty bucket", async () => {
  const empty = parts();
  await expect(openCluster(empty, { uid: "abc" }, never)).rejects.toMatchObject({
    code: "ClusterMissing",
    kind: "invalid",
  });
  expect(empty.store.entries()).toEqual([]);
});

test("any single bit flipped, any truncation, or anything else is refused", () => {
  const bytes = encodeCluster(identity);
  expect(decodeCluster(bytes, "x")).toEqual(identity);
  const corrupt = expect.objectContaining({ code: "ClusterFileCorrupt", kind: "corrupt" });
  for (let bit = 0; bit < (bytes.length - 1) * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    expect(() => decodeCluster(flipped, "x")).toThrow(corrupt);
  }
  for (let length = 0; length < bytes.length - 1; length++) {
    expect(() => decodeCluster(bytes.subarray(0, length), "x")).toThrow(corrupt);
  }
  for (const text of ["null", "[]", "{}", "hello", ""])
    expect(() => decodeCluster(Buffer.from(text), "x")).toThrow(corrupt);
});

test("damaged once on the way it is fetched again; a large object is no identity", async () => {
  const each = parts();
  each.store.poke(CLUSTER_KEY, encodeCluster(identity));
  const get = each.store.get.bind(each.store);
  let flips = 1;
  each.store.get = async (key, call) => {
    const bytes = await get(key, call);
    if (bytes !== undefined && flips-- > 0) bytes[40] = (bytes[40] ?? 0) ^ 1;
    return bytes;
  };
  expect(await openCluster(each, none, never)).toEqual(identity);
  each.store.poke(CLUSTER_KEY, new Uint8Array(100_000));
  await expect(openCluster(each, none, never)).rejects.toMatchObject({ code: "ObjectTooLarge", kind: "corrupt" });
});

test("a newer format says so", async () => {
  const each = parts();
  each.store.poke(CLUSTER_KEY, encodeCluster({ ...identity, formatVersion: 3 }));
  await expect(openCluster(each, none, never)).rejects.toMatchObject({ code: "FormatTooNew", kind: "invalid" });
});

test("one that is being deleted says so, whoever asks, and one that is gone is not made anew by who claims", async () => {
  const each = parts();
  await expect(checkStillThere(each.bucket, identity, never)).rejects.toMatchObject({ code: "ClusterDeleted" });
  each.store.poke(CLUSTER_KEY, encodeCluster(identity));
  await checkStillThere(each.bucket, identity, never);
  const other = { ...identity, uid: "another" };
  await expect(checkStillThere(each.bucket, other, never)).rejects.toMatchObject({ code: "ForeignCluster" });
  each.store.poke(CLUSTER_KEY, encodeCluster(deletedIdentity(identity)));
  for (const look of [openCluster(each, none, never), checkStillThere(each.bucket, identity, never)]) {
    await expect(look).rejects.toMatchObject({ code: "ClusterDeleted", kind: "invalid" });
  }
});
