import { sha256Hex } from "../base/sha256.js";
import type { Clock } from "../base/clock.js";
import { MetaMasterError, hasCode } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket } from "../bucket/bucket.js";
import { clusterDeleted } from "../formats/end-entry.js";
import { CLUSTER_KEY } from "../formats/entry.js";
import { Check, parseJson } from "../formats/image-json.js";
import type { ClusterIdentity } from "./log.js";

const CLUSTER_FORMAT = 1;
/** Of a cluster that is being deleted: a release that does not know it refuses it, too. */
const DELETED_FORMAT = 2;
const CLUSTER_BYTES_MAX = 4096;

export interface ClusterComponents {
  readonly bucket: Bucket;
  readonly clock: Clock;
  readonly random: Random;
  /** Awaited before anything is put. */
  readonly beforeCreation?: (signal: AbortSignal) => Promise<void>;
}

export interface ClusterExpectation {
  /** The uid that this member's disk belongs to; undefined if it belongs to none yet. */
  readonly uid: string | undefined;
}

/**
 * Whose bucket this is; made now if nobody has. Throws `ForeignCluster` (invalid) if the uid is not the expected one, `ClusterMissing`
 * (invalid) if one is expected and there is none, `ClusterFileCorrupt`, `FormatTooNew`, and the bucket's own errors.
 */
export async function openCluster(
  components: ClusterComponents,
  { uid }: ClusterExpectation,
  signal: AbortSignal,
): Promise<ClusterIdentity> {
  const found = (await readCluster(components.bucket, signal)) ?? (await create(components, uid, signal));
  if (uid === undefined || found.uid === uid) return found;
  throw foreign(components.bucket.url, found.uid, uid);
}

function foreign(url: string, found: string, expected: string): MetaMasterError {
  return new MetaMasterError(
    "ForeignCluster",
    "invalid",
    `${url} belongs to the cluster ${found}, this member's data to ${expected}.`,
    {
      details: { found, expected },
      hint: "Check bucket and prefix. To let this member join that cluster, move its data directory away first.",
    },
  );
}

/** Undefined if there is none. A damaged one is fetched once more. Throws `ClusterDeleted` (invalid) if it is being deleted. */
export async function readCluster(bucket: Bucket, signal: AbortSignal): Promise<ClusterIdentity | undefined> {
  const found = await readIdentity(bucket, signal);
  if (found !== undefined && isDeleted(found)) throw clusterDeleted(`${CLUSTER_KEY} in ${bucket.url}`);
  return found;
}

/** As `readCluster`, but also of a cluster that is being deleted. */
export async function readIdentity(bucket: Bucket, signal: AbortSignal): Promise<ClusterIdentity | undefined> {
  for (let look = 1; ; look++) {
    try {
      const bytes = await bucket.get(CLUSTER_KEY, { maxBytes: CLUSTER_BYTES_MAX, signal });
      return bytes === undefined ? undefined : decodeCluster(bytes, bucket.url);
    } catch (error) {
      if (look === 2 || !(hasCode(error, "ClusterFileCorrupt") || hasCode(error, "ObjectTooLarge"))) throw error;
    }
  }
}

async function create(
  { bucket, clock, random, beforeCreation }: ClusterComponents,
  expected: string | undefined,
  signal: AbortSignal,
): Promise<ClusterIdentity> {
  if (expected !== undefined) {
    throw new MetaMasterError(
      "ClusterMissing",
      "invalid",
      `${bucket.url} holds no cluster, but this member's data belongs to the cluster ${expected}.`,
      {
        details: { expected },
        hint: "Check bucket and prefix. If the bucket's contents are lost: move .metamaster/state.json away and start one member with bootstrap: adopt.",
      },
    );
  }
  await beforeCreation?.(signal);
  const mine: ClusterIdentity = {
    formatVersion: CLUSTER_FORMAT,
    uid: Buffer.from(random.bytes(16)).toString("hex"),
    createdAt: new Date(clock.wallMs()).toISOString(),
  };
  // Whatever the answer: what is there now is what counts.
  await bucket.putIfAbsent(CLUSTER_KEY, encodeCluster(mine), { signal });
  const found = await readCluster(bucket, signal);
  if (found !== undefined) return found;
  throw new MetaMasterError("SlotVanished", "transient", `${CLUSTER_KEY} in ${bucket.url} was there and is gone.`, {
    hint: "It is tried again. If it lasts: something deletes objects below the prefix.",
  });
}

export function isDeleted({ formatVersion }: ClusterIdentity): boolean {
  return formatVersion === DELETED_FORMAT;
}

/** What the identity becomes, in its place, while everything else is deleted. */
export function deletedIdentity(identity: ClusterIdentity): ClusterIdentity {
  return { ...identity, formatVersion: DELETED_FORMAT };
}

/** Is it still this member's cluster's prefix? It may have slept while the cluster was deleted, and whatever is there now is not its own. Throws `ClusterDeleted` and `ForeignCluster` (invalid). */
export async function checkStillThere(bucket: Bucket, { uid }: ClusterIdentity, signal: AbortSignal): Promise<void> {
  const found = await readCluster(bucket, signal);
  if (found === undefined) throw clusterDeleted(`${CLUSTER_KEY} in ${bucket.url} is gone`);
  if (found.uid !== uid) throw foreign(bucket.url, found.uid, uid);
}

function digestOf({ formatVersion, uid, createdAt }: ClusterIdentity): string {
  return sha256Hex(`${formatVersion}\n${uid}\n${createdAt}\n`);
}

export function encodeCluster(identity: ClusterIdentity): Uint8Array {
  const { formatVersion, uid, createdAt } = identity;
  const sha256 = digestOf(identity);
  return Buffer.from(`${JSON.stringify({ metamaster: "cluster", formatVersion, uid, createdAt, sha256 })}\n`);
}

/** Strict. `url` names the bucket in errors. */
export function decodeCluster(bytes: Uint8Array, url: string): ClusterIdentity {
  const fail = (reason: string): MetaMasterError =>
    new MetaMasterError("ClusterFileCorrupt", "corrupt", `${CLUSTER_KEY} in ${url} can't be believed: ${reason}.`, {
      hint: "Something else wrote it or it was damaged: bring it back from the bucket's versions, or use another prefix.",
    });
  const check = new Check(fail);
  const raw = check.object(parseJson(bytes, "it", fail), "it");
  if (raw["metamaster"] !== "cluster") throw fail("it is not MetaMaster's");
  const identity = {
    formatVersion: check.count(raw["formatVersion"], "formatVersion", 1),
    uid: check.text(raw["uid"], "uid", /^[\x21-\x7e]{1,128}$/),
    createdAt: check.text(raw["createdAt"], "createdAt", /^[0-9TZ:.+-]{1,40}$/),
  };
  if (raw["sha256"] !== digestOf(identity)) throw fail("its sha256 doesn't match");
  if (identity.formatVersion > DELETED_FORMAT) {
    throw new MetaMasterError(
      "FormatTooNew",
      "invalid",
      `${url} has format ${identity.formatVersion}, this release knows up to ${CLUSTER_FORMAT}.`,
      {
        details: { formatVersion: identity.formatVersion },
        hint: "Upgrade this member to at least the release that made the cluster.",
      },
    );
  }
  return identity;
}
