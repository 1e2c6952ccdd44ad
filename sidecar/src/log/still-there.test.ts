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

test("a look that fails once does not cost the claim that was won", async () => {
  const at = bench();
  let gets = 0;
  at.member.bucket.fate = (call, key) => (call === "get" && key === CLUSTER_KEY && ++gets === 2 ? "failed" : "right");
  const writer = await won(at.claim, START, 1);
  await writer.append(wal("row"), never);
  expect(gets).toBe(3);
});

test("a bucket that stays away after the claim is told by it, within some seconds", async () => {
  const at = bench();
  let gets = 0;
  at.member.bucket.fate = (call, key) => (call === "get" && key === CLUSTER_KEY && ++gets > 1 ? "failed" : "right");
  const sinceMs = at.clock.monotonicMs();
  await expect(at.claim(START, 1, never)).rejects.toMatchObject({ code: "BucketUnavailable" });
  expect(at.clock.monotonicMs() - sinceMs).toBeLessThan(10_000);
});

test("credentials that are refused when the identity is read are no proof that the cluster is gone: nothing is durable meanwhile, and it is told why", async () => {
  const at = bench();
  const writer = await won(at.claim, START, 1);
  at.clock.spend(60_000);
  let refusals = 3;
  const troubles: (Error | undefined)[] = [];
  at.member.bucket.fate = (call) => {
    if (call !== "get" || refusals-- <= 0) return "right";
    troubles.push(writer.trouble);
    return "denied";
  };
  await expect(writer.append(wal("row"), never)).resolves.toMatchObject({ position: { slot: 1 } });
  expect(troubles.at(-1)).toMatchObject({ code: "BucketAccessDenied" });
  expect(writer.trouble).toBeUndefined();
  expect(writer.fenced).toBeUndefined();
  at.clock.spend(60_000);
  at.member.bucket.fate = (call, key) => (call === "get" && key === CLUSTER_KEY ? "denied" : "right");
  await expect(writer.checkFence(never)).rejects.toMatchObject({ code: "BucketAccessDenied" });
  expect(writer.fenced).toBeUndefined();
});
