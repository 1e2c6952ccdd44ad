import { expect, test } from "@jest/globals";
import { MemoryBucket } from "../bucket/testing/memory-bucket.js";
import { JumpingClock } from "../bucket/testing/test-clock.js";
import { CLUSTER_KEY } from "../formats/entry.js";
import { deletedIdentity, encodeCluster } from "./cluster-identity.js";
import type { Claim } from "./log.js";
import { whereStillThere } from "./still-there.js";
import { CLUSTER, draft, never, side, START, wal, won, type Side } from "./testing/log-bench.js";

const identity = { formatVersion: 1, uid: CLUSTER, createdAt: "2026-01-01T00:00:00.000Z" };

interface Bench {
  readonly store: MemoryBucket;
  readonly clock: JumpingClock;
  readonly member: Side;
  readonly claim: Claim;
  /** As a purge does it, all at once. */
  empty(): Promise<void>;
}

function bench(): Bench {
  const store = new MemoryBucket();
  store.poke(CLUSTER_KEY, encodeCluster(identity));
  const clock = new JumpingClock();
  const member = side(store, clock, "m1");
  const claim = whereStillThere({ bucket: member.bucket, clock, cluster: identity }, member.claim);
  const empty = async (): Promise<void> => {
    for (const [key] of store.entries()) await store.delete(key, {});
  };
  return { store, clock, member, claim, empty };
}

const looksAt = ({ member: { bucket } }: Bench): number =>
  bucket.calls.filter((call) => call === `get ${CLUSTER_KEY}`).length;

test("a claim that was long on its way, and landed where all is gone, is not won", async () => {
  const at = bench();
  at.member.bucket.gate = (call) => (call === "putIfAbsent" ? at.empty() : undefined);
  await expect(at.claim(START, 1, never)).rejects.toMatchObject({ code: "ClusterDeleted" });
});

test("who writes all the while looks at the identity no more", async () => {
  const at = bench();
  const writer = await won(at.claim, START, 1);
  const before = looksAt(at);
  for (let i = 0; i < 20; i++) {
    at.clock.spend(5000);
    await writer.append(wal("row", 3 * i), never);
    await writer.checkFence(never);
  }
  expect(looksAt(at)).toBe(before);
});

test("after a long silence an append is durable only if the cluster is still there; then the writer has ended", async () => {
  const at = bench();
  const writer = await won(at.claim, START, 1);
  await writer.append(wal("row"), never);
  at.clock.spend(60_000);
  // Nothing has happened, but that the bucket was away; and still is when the identity is read.
  let failures = 2;
  at.member.bucket.fate = (call) => (call === "get" && failures-- > 0 ? "failed" : "right");
  await writer.append(wal("row", 3), never);
  expect(writer.fenced).toBeUndefined();
  at.clock.spend(60_000);
  await at.empty();
  const appends = [wal("row", 6), draft("heartbeat")].map((each) => writer.append(each, never));
  for (const each of appends) await expect(each).rejects.toMatchObject({ code: "ClusterDeleted" });
  expect(writer.fenced).toMatchObject({ code: "ClusterDeleted" });
  await expect(writer.append(wal("row", 9), never)).rejects.toMatchObject({ code: "ClusterDeleted" });
});

test("another cluster in its place is as bad; and an idle writer finds it out by itself", async () => {
  const at = bench();
  const writer = await won(at.claim, START, 1);
  at.clock.spend(60_000);
  await writer.checkFence(never);
  await writer.checkFence(never);
  // Twice at the claim, and once since.
  expect(looksAt(at)).toBe(3);
  at.clock.spend(60_000);
  await at.empty();
  at.store.poke(CLUSTER_KEY, encodeCluster({ ...identity, uid: "another" }));
  await expect(writer.checkFence(never)).rejects.toMatchObject({ code: "ForeignCluster" });
  expect(writer.fenced).toMatchObject({ code: "ForeignCluster" });
  at.store.poke(CLUSTER_KEY, encodeCluster(deletedIdentity(identity)));
  await expect(writer.checkFence(never)).rejects.toMatchObject({ code: "ForeignCluster" });
});
