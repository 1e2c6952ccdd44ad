import { eachParallel } from "../../base/each-parallel.js";
import { MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import type { Bucket } from "../../bucket/bucket.js";
import { bytesSource } from "../../bucket/byte-source.js";
import { pagesOf } from "../../bucket/pages.js";
import { CLUSTER_KEY, logKey } from "../../formats/entry.js";
import { deletedIdentity, encodeCluster, isDeleted, readIdentity } from "../cluster-identity.js";
import type { ClusterIdentity } from "../log.js";
import {
  endsUpTo,
  expectNobody,
  fence,
  saidGoodbye,
  type FenceComponents,
  type Life,
  type LifeSettings,
} from "./fence.js";
import { folders, isOurs } from "./objects.js";
import type { Survey } from "./survey.js";

export interface PurgeSettings extends LifeSettings {
  readonly evenIfAlive: boolean;
  /** Who deletes, for people. */
  readonly by: string;
  /** After the fence, where nobody said that it ended: by then every put that was under way has landed, milliseconds. */
  readonly settleMs: number;
  readonly parallel: number;
}

export interface PurgeComponents extends FenceComponents {
  readonly logger: Logger;
  readonly life: Life;
  readonly onDeleted: (objects: number, bytes: number) => void;
  /** How many puts and deletes of this process were tried again so far: each may have an earlier try that is still on its way. */
  readonly triedAgain: () => number;
}

export interface Purged {
  readonly objects: number;
  readonly bytes: number;
}

/** So many are deleted between two looks at whose they are. */
const DELETED_AT_ONCE = 200;
/** What comes in while it is deleted is deleted, too; but not for ever. */
const ROUNDS = 10;

/**
 * Removes a cluster. The order is what makes it safe to die anywhere:
 * 1. the end goes into the log: no master's barrier is answered any more, members that run halt;
 * 2. the identity is replaced by one that says "deleted": members that start refuse, whatever is left;
 * 3. everything else goes, the end of the log last, then the identity. A second run goes on from any of these.
 *
 * Stores delete by key, whoever's it is: this process may have slept while a second run finished and the next cluster began here. So before each step it looks whether the prefix is still the
 * survey's cluster's. Throws `ForeignCluster`, or `PurgeIncomplete` where there is none any more.
 *
 * As long as the identity is there nobody begins anything: what an earlier try of a request may still do is waited for before it goes, or it would be done to the next cluster.
 */
export async function purge(
  survey: Survey,
  settings: PurgeSettings,
  components: PurgeComponents,
  signal: AbortSignal,
): Promise<Purged> {
  const { bucket, clock, logger, triedAgain } = components;
  const { identity, begun } = survey;
  if (identity === undefined) return { objects: 0, bytes: 0 };
  const { uid } = identity;
  const settle = async (): Promise<void> => {
    logger.info({}, `waiting ${settings.settleMs / 1000} s for what may still be under way to the bucket`);
    await clock.sleep(settings.settleMs, signal);
  };
  const still = async (): Promise<void> => await expectBeingDeleted(bucket, uid, signal);
  const emptied = async (keep: readonly string[]): Promise<Purged> =>
    await empty(components, { parallel: settings.parallel, keep: new Set(keep), still }, signal);
  const ends = await closeLog(survey, uid, settings, components, signal);
  // Of an earlier run nobody knows.
  let landed = begun ? -1 : 0;
  if (!begun) {
    if (!isQuiet(survey, ends)) {
      landed = triedAgain();
      await settle();
    }
    await expectStill(bucket, uid, signal);
    await bucket.put(CLUSTER_KEY, bytesSource(encodeCluster(deletedIdentity(identity))), { signal });
  }
  const last = ends.map(logKey);
  let { objects, bytes } = await emptied(last);
  for (const key of last) {
    await still();
    await bucket.delete(key, { signal });
    objects += 1;
  }
  while (landed !== triedAgain()) {
    landed = triedAgain();
    await settle();
    const late = await emptied([]);
    objects += late.objects;
    bytes += late.bytes;
  }
  await still();
  await bucket.delete(CLUSTER_KEY, { signal });
  if (landed !== triedAgain()) await settle();
  return { objects: objects + 1, bytes };
}

/** The last primary said that it ended, and nobody has written since: nothing is under way. */
function isQuiet({ end }: Survey, [first]: readonly number[]): boolean {
  return !end.fenced && saidGoodbye(end, undefined) && first === end.slot + 1;
}

/** The slots that hold the end of the log. */
async function closeLog(
  { begun, end }: Survey,
  uid: string,
  settings: PurgeSettings,
  components: PurgeComponents,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const { by } = settings;
  // Once deleting has begun it may be gone already, with everything else.
  if (begun && (end.slot < 0 || end.fenced)) return await endsUpTo(components.bucket, uid, end, signal);
  const evenIfAlive = settings.evenIfAlive || begun;
  if (!evenIfAlive) await expectNobody(components, components.life, end, settings, signal);
  await expectStill(components.bucket, uid, signal);
  return await fence(components, { uid, by, evenIfAlive }, end, signal);
}

interface Emptying {
  readonly parallel: number;
  readonly keep: ReadonlySet<string>;
  /** Rejects where what is listed may be another cluster's. */
  readonly still: () => Promise<void>;
}

async function empty(
  { bucket, onDeleted }: PurgeComponents,
  { parallel, keep, still }: Emptying,
  signal: AbortSignal,
): Promise<{ objects: number; bytes: number }> {
  const done = { objects: 0, bytes: 0 };
  for (let round = 1, found = true; found; round++) {
    if (round > ROUNDS) throw incomplete(bucket.url);
    found = false;
    for (const folder of folders) {
      for await (const page of pagesOf(bucket, folder, signal)) {
        const ours = page.filter(({ key }) => isOurs(key) && !keep.has(key));
        if (ours.length === 0) continue;
        found = true;
        for (let from = 0; from < ours.length; from += DELETED_AT_ONCE) {
          const some = ours.slice(from, from + DELETED_AT_ONCE);
          await still();
          await eachParallel(some, parallel, signal, ({ key }) => bucket.delete(key, { signal }));
        }
        done.objects += ours.length;
        done.bytes += ours.reduce((sum, { size }) => sum + size, 0);
        onDeleted(done.objects, done.bytes);
      }
    }
  }
  return done;
}

/** Throws where the prefix is no longer this cluster's. */
async function expectStill(bucket: Bucket, uid: string, signal: AbortSignal): Promise<ClusterIdentity> {
  const found = await readIdentity(bucket, signal);
  if (found?.uid === uid) return found;
  if (found === undefined) {
    throw new MetaMasterError(
      "PurgeIncomplete",
      "conflict",
      `Another purge has removed ${CLUSTER_KEY} from ${bucket.url}.`,
      {
        hint: "Nothing is left to do, or run the same command once more: it looks at what there is now.",
      },
    );
  }
  throw new MetaMasterError(
    "ForeignCluster",
    "invalid",
    `${bucket.url} belongs to the cluster ${found.uid} by now, no longer to ${uid}: another purge has removed that. Nothing more is deleted.`,
    { details: { found: found.uid, expected: uid }, hint: "Check `bucket.url`: is the new cluster meant to be there?" },
  );
}

async function expectBeingDeleted(bucket: Bucket, uid: string, signal: AbortSignal): Promise<void> {
  if (!isDeleted(await expectStill(bucket, uid, signal))) throw incomplete(bucket.url);
}

function incomplete(url: string): MetaMasterError {
  return new MetaMasterError("PurgeIncomplete", "conflict", `New objects appear in ${url} while it is being emptied.`, {
    hint: "A process still writes there: stop it, then run the same command once more.",
  });
}
