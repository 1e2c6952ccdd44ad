import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { SystemClock } from "../../base/system-clock.js";
import { SystemRandom } from "../../base/system-random.js";
import { FileBucket } from "../../bucket/file-bucket.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import { JumpingClock } from "../../bucket/testing/test-clock.js";
import { transferDefaults } from "../../bucket/transfer.js";
import { CLUSTER_KEY, logKey } from "../../formats/entry.js";
import { deletedIdentity, encodeCluster, readCluster } from "../cluster-identity.js";
import { CLUSTER, FaultyBucket, header, never, poke, side } from "../testing/log-bench.js";
import { fill, identity, keysIn, purgeAll, purgeContract } from "../testing/purge-contract.js";
import { nothingHere, surveyPrefix } from "./survey.js";

purgeContract("a bucket in memory", async () => {
  const bucket = new MemoryBucket();
  return { bucket, other: bucket, dispose: async () => undefined };
});

purgeContract("a folder", async () => {
  const root = await mkdtemp(join(tmpdir(), "mm-purge-"));
  const open = (): Promise<FileBucket> =>
    FileBucket.open(
      { ...transferDefaults, root, prefix: "p", temporaryMaxAgeMs: 3_600_000 },
      { clock: new SystemClock(), random: new SystemRandom() },
    );
  return { bucket: await open(), other: await open(), dispose: () => rm(root, { recursive: true }) };
});

async function refusal(store: MemoryBucket, code: string, message: string): Promise<void> {
  const before = store.entries().map(([key]) => key);
  await expect(purgeAll(store)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  expect(store.entries().map(([key]) => key)).toEqual(before);
}

describe("refused, with nothing written", () => {
  const text = Buffer.from("x");

  test("an entry of another cluster, first or last", async () => {
    for (const slot of [0, 4]) {
      const store = new MemoryBucket();
      await fill(store);
      await store.delete(logKey(slot), {});
      await poke(store, {
        header: header({ slot, cluster: "c2", previous: slot === 0 ? "" : "0".repeat(64) }),
        operations: [],
      });
      await refusal(store, "ForeignCluster", `${logKey(slot)} in memory://test belongs to the cluster c2`);
    }
  });

  test("an entry, or an identity, of a newer format", async () => {
    const store = new MemoryBucket();
    await fill(store);
    store.poke(CLUSTER_KEY, encodeCluster({ ...identity, formatVersion: 3 }));
    await refusal(store, "FormatTooNew", "format 3");
  });

  test("objects with our names but no identity, one that is damaged", async () => {
    const store = new MemoryBucket();
    await fill(store);
    await store.delete(CLUSTER_KEY, {});
    await refusal(store, "HistoryMissing", "but no cluster.json");
    store.poke(CLUSTER_KEY, text);
    await refusal(store, "ClusterFileCorrupt", "can't be believed");
  });

  test("a prefix without a cluster says what it holds", async () => {
    const store = new MemoryBucket("memory://wrong");
    expect(nothingHere(await surveyPrefix(store, never)).message).toContain("it holds nothing");
    store.poke("backups/1", text);
    store.poke("log/readme", text);
    expect(nothingHere(await surveyPrefix(store, never)).message).toContain("2 other objects such as backups/1");
    expect(await purgeAll(store)).toEqual({ objects: 0, bytes: 0 });
    expect(store.entries()).toHaveLength(2);
  });

  test("a lease that is renewed, and one that nobody can read", async () => {
    const store = new MemoryBucket();
    await fill(store);
    let renewals = 0;
    const renewing = { life: async () => `m-0 at ${++renewals}` };
    await expect(purgeAll(store, {}, renewing)).rejects.toMatchObject({ code: "ClusterAlive" });
    await fill(store, "heartbeat");
    const crashed = new MemoryBucket();
    await fill(crashed, "heartbeat");
    await expect(purgeAll(crashed, {}, { life: "Unknown" })).rejects.toMatchObject({
      code: "ClusterAlive",
      message: expect.stringContaining("m1, who wrote last, did not say that it ended"),
    });
    expect(crashed.entries()).toHaveLength(19);
    // Held for ever by somebody who is dead.
    await purgeAll(crashed, {}, { life: async () => "m-0 at noon" });
    expect(await keysIn(crashed)).toHaveLength(4);
  });

  test("whoever writes between the look and the fence", async () => {
    const store = new MemoryBucket();
    const end = await fill(store);
    const other = side(store, new JumpingClock(), "m2");
    const bucket = new FaultyBucket(store);
    bucket.gate = async (call) => {
      if (call === "putIfAbsent") await other.claim(end, 3, never);
    };
    await expect(purgeAll(bucket)).rejects.toMatchObject({
      code: "ClusterAlive",
      message: expect.stringContaining("a claim of member m2 came into slot 5"),
    });
  });
});

test("nothing is waited for where the last primary said that it ended; else a lease, and what may be under way", async () => {
  for (const [last, sleeps] of [
    ["release", []],
    ["heartbeat", [1000, 1000, 1000, 1000, 1000, 1000, 40_000]],
  ] as const) {
    const store = new MemoryBucket();
    await fill(store, last);
    const clock = new JumpingClock();
    await purgeAll(store, {}, { clock });
    expect(clock.slept).toEqual(sleeps);
  }
});

test("what an earlier try may still do is waited for as long as nobody can begin anything there", async () => {
  const store = new MemoryBucket();
  for (const [again, sleeps] of [
    ["tables/1/db/000001.sst-", 1],
    [logKey(5), 1],
    [CLUSTER_KEY, 1],
    ["nothing", 0],
  ] as const) {
    await fill(store);
    const clock = new JumpingClock();
    const bucket = new FaultyBucket(store);
    let tries = 0;
    let identityGoneAt = -1;
    bucket.gate = async (call, key) => {
      if (call !== "delete") return;
      if (key.startsWith(again)) tries += 1;
      if (key === CLUSTER_KEY) identityGoneAt = clock.slept.length;
    };
    // What comes while it waits goes, too.
    const late = `tables/9/db/1-${"f".repeat(64)}`;
    clock.sleep = async (ms) => {
      clock.slept.push(ms);
      if (again !== CLUSTER_KEY) store.poke(late, Buffer.from("x"));
    };
    await purgeAll(bucket, {}, { clock, triedAgain: () => tries });
    expect(clock.slept).toEqual(Array.from({ length: sleeps }, () => 40_000));
    expect(identityGoneAt).toBe(again === CLUSTER_KEY ? 0 : sleeps);
    expect(await keysIn(store)).toHaveLength(4);
  }
});

test("what somebody wrote between the look and the fence may not be the last that is under way", async () => {
  const store = new MemoryBucket();
  const end = await fill(store);
  const other = side(store, new JumpingClock(), "m2");
  const bucket = new FaultyBucket(store);
  const clock = new JumpingClock();
  let claimed = false;
  bucket.gate = async (call) => {
    if (call === "putIfAbsent" && !claimed) {
      claimed = true;
      await other.claim(end, 3, never);
    }
  };
  await purgeAll(bucket, { evenIfAlive: true }, { clock });
  expect(clock.slept).toEqual([40_000]);
});

test("a cluster that begins while the prefix is looked at is a cluster", async () => {
  const store = new MemoryBucket();
  const bucket = new FaultyBucket(store);
  bucket.gate = async (call) => {
    if (call === "list" && store.entries().length === 0) store.poke(CLUSTER_KEY, encodeCluster(identity));
  };
  expect(await surveyPrefix(bucket, never)).toMatchObject({ identity, objects: 1 });
});

test("what is written while it is deleted is deleted, too; what never stops is told", async () => {
  const store = new MemoryBucket();
  await fill(store);
  const bucket = new FaultyBucket(store);
  let late = 3;
  bucket.gate = async (call, key) => {
    if (call === "delete" && key.startsWith("tables/") && late-- > 0)
      store.poke(`tables/9/db/1-${"f".repeat(63)}${late}`, Buffer.from("x"));
  };
  await purgeAll(bucket);
  expect(await keysIn(store)).toHaveLength(4);
  await fill(store);
  let count = 0;
  bucket.gate = async (call, key) => {
    if (call === "delete" && key.startsWith("tables/"))
      store.poke(`tables/9/db/${count++}-${"f".repeat(64)}`, Buffer.from("x"));
  };
  await expect(purgeAll(bucket)).rejects.toMatchObject({ code: "PurgeIncomplete" });
  await expect(readCluster(store, never)).rejects.toMatchObject({ code: "ClusterDeleted" });
});

test("a hole in the log of a cluster that is being deleted is no damage", async () => {
  const store = new MemoryBucket();
  const end = await fill(store);
  store.poke(CLUSTER_KEY, encodeCluster(deletedIdentity(identity)));
  await store.delete(logKey(2), {});
  for (const key of ["snapshots/00000000000000000001.json", "snapshots/7.json"]) await store.delete(key, {});
  const { reader } = side(store, new JumpingClock(), "m3");
  expect(reader.cluster.uid).toBe(CLUSTER);
  await expect(reader.findGap(2, never)).rejects.toMatchObject({ code: "ClusterDeleted" });
  expect(end.slot).toBe(4);
});
