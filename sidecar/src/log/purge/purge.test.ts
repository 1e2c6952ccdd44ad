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
    const { nonce } = header({}).writer;
    const renewing = { life: async () => ({ mark: `m-0 at ${++renewals}`, runs: [nonce] }) };
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
    await purgeAll(crashed, {}, { life: async () => ({ mark: "m-0 at noon", runs: [nonce] }) });
    expect(await keysIn(crashed)).toHaveLength(4);
  });

  const stranger = "f".repeat(32);
  test.each([
    [
      "that another Kubernetes cluster's member may have written, the Lease here held",
      "wal",
      { mark: "x", runs: [stranger] },
    ],
    ["the same, the Lease here released", "claim", { mark: undefined, runs: [stranger] }],
    ["the same, and no Lease here", "heartbeat", undefined],
  ] as const)("a last entry %s", async (_what, last, lease) => {
    const store = new MemoryBucket();
    await fill(store, last);
    const { wallTimeMs } = header({});
    const when = new Date(wallTimeMs).toISOString();
    const before = store.entries();
    await expect(purgeAll(store, {}, { life: async () => lease })).rejects.toMatchObject({
      code: "ClusterAlive",
      message: expect.stringMatching(
        new RegExp(`m1, who wrote last, .*\\(${last} of m1, ${when}\\), .*another Kubernetes cluster`),
      ),
      hint: expect.stringMatching(/deletionPolicy: Retain.*--even-if-alive/),
    });
    expect(store.entries()).toEqual(before);
    await purgeAll(store, { evenIfAlive: true }, { life: async () => lease });
    expect(await keysIn(store)).toHaveLength(4);
  });

  test("a last entry that can't be read", async () => {
    const store = new MemoryBucket();
    await fill(store);
    store.poke(logKey(4), text);
    const { nonce } = header({}).writer;
    await expect(purgeAll(store, {}, { life: async () => ({ mark: undefined, runs: [nonce] }) })).rejects.toMatchObject(
      {
        code: "ClusterAlive",
        message: expect.stringContaining("what is in slot 4 can't be read"),
      },
    );
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

const wrote = header({}).writer.nonce;
const another = "f".repeat(32);
test.each([
  ["ended in order, the Lease released", "release", { mark: undefined, runs: [another] }],
  [
    "ended in order, and another took the Lease and was killed before its claim",
    "release",
    { mark: "x", runs: [another, wrote] },
  ],
  ["ended in order, before the Lease was deleted", "release", undefined],
  ["were killed, the Lease still held", "wal", { mark: "x", runs: [wrote] }],
  ["were killed, another took the Lease and gave it back", "wal", { mark: undefined, runs: [another, wrote] }],
  ["were killed, another took the Lease and was killed, too", "wal", { mark: "x", runs: [another, wrote] }],
  ["were killed when one had claimed only", "claim", { mark: "x", runs: [wrote, another] }],
] as const)("in Kubernetes nothing is refused where the members %s", async (_how, last, lease) => {
  const store = new MemoryBucket();
  await fill(store, last);
  await purgeAll(store, {}, { life: async () => lease });
  expect(await keysIn(store)).toHaveLength(4);
});

test("in Kubernetes nothing is refused where nobody has ever led", async () => {
  const store = new MemoryBucket();
  for (const lease of [undefined, { mark: undefined, runs: [] }, { mark: "x", runs: [another] }]) {
    store.poke(CLUSTER_KEY, encodeCluster(identity));
    await purgeAll(store, {}, { life: async () => lease });
    expect(await keysIn(store)).toEqual([]);
  }
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

class SleepyClock extends JumpingClock {
  beforeSleep: (ms: number) => Promise<void> = async () => undefined;

  override async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await this.beforeSleep(ms);
    await super.sleep(ms, signal);
  }
}

describe("a purge that slept while another one ended and a new cluster began in the prefix", () => {
  const next = { ...identity, uid: "c9" };

  /** Everything that purge did not see: what is there now. */
  async function begunAnew(store: MemoryBucket): Promise<readonly string[]> {
    await purgeAll(store);
    store.poke(CLUSTER_KEY, encodeCluster(next));
    await poke(store, { header: header({ slot: 0, kind: "claim", cluster: next.uid }), operations: [] });
    const more = [`tables/1/db/000001.sst-${"1".repeat(64)}`, "snapshots/00000000000000000000.json"];
    for (const key of more) store.poke(key, Buffer.from("new"));
    return (await keysIn(store)).toSorted();
  }

  test.each([
    ["while it looked whether anybody lives", "sleep", 1000],
    ["while it waited for what was under way", "sleep", 40_000],
    ["before it looked for tables to delete", "list tables/", 1],
    ["before it looked for tables once more", "list tables/", 2],
    ["before it looked for entries to delete", "list log/", 1],
  ] as const)("takes nothing of it: %s", async (_when, what, which) => {
    const store = new MemoryBucket();
    await fill(store, "heartbeat");
    const slow = new FaultyBucket(store);
    const clock = new SleepyClock();
    let begun: readonly string[] | undefined;
    let count = 0;
    if (what === "sleep") {
      clock.beforeSleep = async (ms) => {
        if (begun === undefined && ms === which) begun = await begunAnew(store);
      };
    } else {
      slow.gate = async (call, key) => {
        const isDeleting = slow.calls.some((each) => each.startsWith("put "));
        if (begun !== undefined || !isDeleting || `${call} ${key}` !== what) return;
        count += 1;
        if (count === which) begun = await begunAnew(store);
      };
    }
    await expect(purgeAll(slow, {}, { clock })).rejects.toMatchObject({ code: "ForeignCluster" });
    expect(begun).toBeDefined();
    expect((await keysIn(store)).toSorted()).toEqual(begun);
    expect(await readCluster(store, never)).toEqual(next);
  });

  test("and where nothing has begun yet it says that another one was there", async () => {
    const store = new MemoryBucket();
    await fill(store, "heartbeat");
    const clock = new SleepyClock();
    clock.beforeSleep = async (ms) => void (ms === 40_000 && (await purgeAll(store)));
    await expect(purgeAll(store, {}, { clock })).rejects.toMatchObject({ code: "PurgeIncomplete" });
    expect(await keysIn(store)).toHaveLength(4);
  });
});
