import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { hasCode } from "../../base/errors.js";
import type { Bucket } from "../../bucket/bucket.js";
import { pagesOf } from "../../bucket/pages.js";
import type { ContractSubject } from "../../bucket/testing/bucket-contract.js";
import { JumpingClock } from "../../bucket/testing/test-clock.js";
import { encodeEntry } from "../../formats/entry-codec.js";
import {
  CLUSTER_KEY,
  logKey,
  snapshotKey,
  STANDBY_PREFIX,
  type EntryKind,
  type Position,
} from "../../formats/entry.js";
import { makeClaim } from "../claim.js";
import { encodeCluster, openCluster, readIdentity } from "../cluster-identity.js";
import { BucketLogReader } from "../log-reader.js";
import type { Claim } from "../log.js";
import { isOurs } from "../purge/objects.js";
import { purge, type PurgeComponents, type Purged, type PurgeSettings } from "../purge/purge.js";
import { surveyPrefix } from "../purge/survey.js";
import { whereStillThere } from "../still-there.js";
import {
  CLUSTER,
  compression,
  FaultyBucket,
  header,
  history,
  never,
  SmallRandom,
  START,
  wal,
  won,
} from "./log-bench.js";

export const identity = { formatVersion: 1, uid: CLUSTER, createdAt: "2026-01-01T00:00:00.000Z" };
const purgeSettings: PurgeSettings = {
  evenIfAlive: false,
  by: "test",
  leaseMs: 6000,
  lookMs: 1000,
  settleMs: 40_000,
  parallel: 4,
};
const foreign = ["log/readme.txt", "notes/plan.txt", "snapshots/7.json", "tables/1/db/000001.sst"];

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const say = (): void => undefined;

function components(bucket: Bucket, more: Partial<PurgeComponents> = {}): PurgeComponents {
  return {
    bucket,
    clock: new JumpingClock(),
    logger: { debug: say, info: say, warn: say, error: say },
    life: "Log",
    onDeleted: () => undefined,
    triedAgain: () => 0,
    ...more,
  };
}

export async function purgeAll(
  bucket: Bucket,
  settings: Partial<PurgeSettings> = {},
  more: Partial<PurgeComponents> = {},
): Promise<Purged> {
  return await purge(
    await surveyPrefix(bucket, never),
    { ...purgeSettings, ...settings },
    components(bucket, more),
    never,
  );
}

export async function keysIn(bucket: Bucket): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of pagesOf(bucket, "", never)) keys.push(...page.map(({ key }) => key));
  return keys;
}

/** A cluster's whole prefix, and other people's objects in it. Its last entry is of kind `last`. */
export async function fill(bucket: Bucket, last: EntryKind = "release"): Promise<Position> {
  await bucket.putIfAbsent(CLUSTER_KEY, encodeCluster(identity), {});
  let end = START;
  for (const kind of ["claim", "heartbeat", "claim", "heartbeat", last] as const) {
    const slot = end.slot + 1;
    const entry = await encodeEntry(
      {
        header: header({ slot, kind, previous: end.chain, epoch: slot < 2 ? 1 : 2 }),
        operations: kind === "release" ? [{ type: "handover", to: "", untilMs: 0 }] : [],
      },
      compression,
    );
    await bucket.putIfAbsent(logKey(slot), entry.bytes, {});
    end = { slot, chain: entry.chain };
  }
  const ours = [snapshotKey(1), `probe/${"ab".repeat(12)}/race/1`, `${STANDBY_PREFIX}00000000000000000003/m-2`];
  for (let i = 0; i < 6; i++) ours.push(`tables/1/db/00000${i}.sst-${"0".repeat(63)}${i}`);
  for (const key of [...ours, ...foreign]) await bucket.putIfAbsent(key, bytes(key), {});
  return end;
}

function claimOf(bucket: Bucket): Claim {
  const writer = { member: "late", nonce: "ab".repeat(16) };
  const random = new SmallRandom(5);
  const clock = new JumpingClock();
  const claim = makeClaim(
    { cluster: CLUSTER, writer },
    { bucket, clock, random, compression, onTrouble: () => undefined },
  );
  return whereStillThere({ bucket, clock, cluster: identity }, claim);
}

const readerOf = (bucket: Bucket): BucketLogReader => new BucketLogReader({ cluster: identity, bucket, compression });

/** Calls after the n-th take no effect; the n-th itself does or does not. */
function dyingAfter(bucket: Bucket, calls: number, fate: "lost" | "failed"): FaultyBucket {
  const dying = new FaultyBucket(bucket);
  let count = 0;
  dying.fate = () => {
    count += 1;
    if (count < calls) return "right";
    return count === calls ? fate : "denied";
  };
  return dying;
}

/** Whatever a purge left behind: nobody begins anything there, and nobody takes it for damage that is to be mended. */
async function expectHarmless(bucket: Bucket, end: Position): Promise<void> {
  const now = await readIdentity(bucket, never);
  if (now === undefined) {
    expect((await keysIn(bucket)).filter(isOurs)).toEqual([]);
    return;
  }
  expect(now.uid).toBe(CLUSTER);
  const closed = (await bucket.head(logKey(end.slot + 1), {})) !== undefined;
  const start = openCluster(
    { bucket, clock: new JumpingClock(), random: new SmallRandom(1) },
    { uid: undefined },
    never,
  );
  const claimed = async (): Promise<string> => (await claimOf(bucket)(end, 3, never)).outcome;
  if (now.formatVersion === 2) {
    await expect(start).rejects.toMatchObject({ code: "ClusterDeleted" });
    // One who runs, and slept until now.
    await expect(claimed()).rejects.toMatchObject({ code: "ClusterDeleted" });
    if (closed) await expect(history(readerOf(bucket), end)).rejects.toMatchObject({ code: "ClusterDeleted" });
    return;
  }
  expect(await start).toEqual(identity);
  if (closed) {
    expect(await claimed()).toBe("lost");
    await expect(history(readerOf(bucket))).rejects.toMatchObject({ code: "ClusterDeleted" });
  } else expect(await history(readerOf(bucket))).toHaveLength(end.slot + 1);
}

/** Deleting a cluster, over any bucket. */
export function purgeContract(name: string, make: () => Promise<ContractSubject>): void {
  describe(`purge of ${name}`, () => {
    let subject: ContractSubject;
    let bucket: Bucket;
    beforeAll(async () => {
      subject = await make();
      ({ bucket } = subject);
    }, 60_000);
    afterAll(() => subject?.dispose(), 60_000);

    test("everything of ours goes, everything else stays, and the next cluster begins anew", async () => {
      await fill(bucket);
      const survey = await surveyPrefix(bucket, never);
      expect(survey).toMatchObject({ objects: 15, begun: false, others: { keys: foreign, count: 4, whole: true } });
      const { objects } = await purgeAll(bucket);
      // And the end of the log, which the purge put there.
      expect(objects).toBe(16);
      expect(await keysIn(subject.other)).toEqual(foreign);
      const parts = { bucket, clock: new JumpingClock(), random: new SmallRandom(9) };
      expect((await openCluster(parts, { uid: undefined }, never)).uid).not.toBe(CLUSTER);
      await purgeAll(bucket);
      expect(await keysIn(bucket)).toEqual(foreign);
    }, 60_000);

    test.each(["lost", "failed"] as const)(
      "dying at any request (%s) leaves what a second run finishes, and where nobody begins or repairs anything",
      async (fate) => {
        let died = 0;
        for (let calls = 1, finished = false; !finished; calls++) {
          const end = await fill(bucket, calls % 2 === 0 ? "release" : "heartbeat");
          const dying = dyingAfter(bucket, calls, fate);
          try {
            await purgeAll(dying);
            finished = true;
          } catch (error) {
            if (
              !hasCode(error, "BucketUnavailable") &&
              !hasCode(error, "BucketTimeout") &&
              !hasCode(error, "BucketAccessDenied")
            )
              throw error;
            died += 1;
          }
          await expectHarmless(subject.other, end);
          await purgeAll(bucket);
          expect(await keysIn(subject.other)).toEqual(foreign);
        }
        expect(died).toBeGreaterThan(25);
      },
      300_000,
    );

    test("a living primary is not deleted under its feet; told to, it is fenced first, and no entry of it gets in any more", async () => {
      const end = await fill(bucket, "heartbeat");
      const writer = await won(claimOf(subject.other), end, 3);
      let appended = 0;
      const append = async (): Promise<void> => {
        const text = randomBytes(8).toString("hex");
        await writer.append(wal(text, 16 * appended++), never);
      };
      const watched = new FaultyBucket(bucket);
      // It writes whenever it is looked at.
      watched.gate = (call, key) => (call === "list" && key === "log/" ? append() : undefined);
      const before = await keysIn(bucket);
      await expect(purgeAll(watched)).rejects.toMatchObject({ code: "ClusterAlive", kind: "conflict" });
      expect(await keysIn(bucket)).toEqual(expect.arrayContaining(before));
      const acknowledged: number[] = [];
      const over = new AbortController();
      const master = (async () => {
        while (!over.signal.aborted) {
          await append();
          acknowledged.push(writer.position.slot);
        }
      })();
      const fencedAt = expect(master).rejects.toMatchObject({ code: "Fenced" });
      // What is acknowledged is in the bucket: the first thing that is deleted comes after the last acknowledgement.
      const deleting = new FaultyBucket(bucket);
      let known = -1;
      deleting.gate = (call) => {
        if (call === "delete" && known < 0) known = acknowledged.length;
        return undefined;
      };
      try {
        await purgeAll(deleting, { evenIfAlive: true });
      } finally {
        over.abort();
      }
      await fencedAt;
      expect(acknowledged).toHaveLength(known);
      expect(await keysIn(bucket)).toEqual(foreign);
    }, 120_000);
  });
}
