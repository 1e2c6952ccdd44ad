import { MetaMasterError } from "../../base/errors.js";
import type { Bucket } from "../../bucket/bucket.js";
import { pagesOf } from "../../bucket/pages.js";
import { CLUSTER_KEY, LOG_PREFIX } from "../../formats/entry.js";
import { isDeleted, readIdentity } from "../cluster-identity.js";
import type { ClusterIdentity } from "../log.js";
import { slotOfLogKey } from "../log-reader.js";
import { NO_END, readEntryAt, type LogEnd } from "./log-end.js";
import { folders, isOurs, othersIn, type Others } from "./objects.js";

/** What a purge would find; nothing is written for it. */
export interface Survey {
  readonly url: string;
  /** Undefined: no cluster is here. */
  readonly identity: ClusterIdentity | undefined;
  /** An earlier purge has begun to delete. */
  readonly begun: boolean;
  readonly end: LogEnd;
  /** MetaMaster's by their names. */
  readonly objects: number;
  readonly bytes: number;
  /** Stay. */
  readonly others: Others;
}

/**
 * Throws `ForeignCluster`, `FormatTooNew`, `ClusterFileCorrupt`, and `HistoryMissing` (invalid) for objects without an identity, which may be anybody's.
 */
export async function surveyPrefix(bucket: Bucket, signal: AbortSignal): Promise<Survey> {
  const identity = await readIdentity(bucket, signal);
  const others = await othersIn(bucket, signal);
  let objects = 0;
  let bytes = 0;
  let example: string | undefined;
  let madeMeanwhile = false;
  // Sorted by slot, as they are listed.
  const entries: { first?: string; last?: string } = {};
  for (const folder of [CLUSTER_KEY, ...folders]) {
    for await (const page of pagesOf(bucket, folder, signal)) {
      for (const { key, size } of page) {
        if (!isOurs(key)) continue;
        objects += 1;
        bytes += size;
        madeMeanwhile ||= key === CLUSTER_KEY;
        const isEntry = key.startsWith(LOG_PREFIX);
        example = isEntry ? (example ?? key) : key;
        if (!isEntry) continue;
        entries.first ??= key;
        entries.last = key;
      }
    }
  }
  const counted = { url: bucket.url, objects, bytes, others };
  if (identity === undefined) {
    // It came while this was looking.
    if (madeMeanwhile) return await surveyPrefix(bucket, signal);
    if (example !== undefined) throw noIdentity(bucket.url, objects, example);
    return { ...counted, identity, begun: false, end: NO_END };
  }
  return { ...counted, identity, begun: isDeleted(identity), end: await endOf(entries, bucket, identity.uid, signal) };
}

/** The log's newest entry, having looked whose the oldest one is, too. */
async function endOf(
  { first, last }: { readonly first?: string; readonly last?: string },
  bucket: Bucket,
  uid: string,
  signal: AbortSignal,
): Promise<LogEnd> {
  if (first === undefined || last === undefined) return NO_END;
  await readEntryAt(bucket, slotOfLogKey(first, bucket.url), uid, signal);
  return await readEntryAt(bucket, slotOfLogKey(last, bucket.url), uid, signal);
}

function noIdentity(url: string, objects: number, example: string): MetaMasterError {
  return new MetaMasterError(
    "HistoryMissing",
    "invalid",
    `${url} holds ${objects} objects such as ${example}, but no ${CLUSTER_KEY}: whose they are can't be told. Nothing was deleted.`,
    {
      details: { objects, example },
      hint: "Check `bucket.url`. If they are what is left of a cluster that nobody needs, delete them with the store's own tools.",
    },
  );
}

export function nothingHere({ url, others }: Survey): MetaMasterError {
  const [first] = others.keys;
  const found =
    first === undefined
      ? "nothing"
      : `${others.whole ? "" : "at least "}${others.count} other objects such as ${first}`;
  return new MetaMasterError(
    "HistoryMissing",
    "invalid",
    `There is no cluster in ${url}: it holds ${found}. Nothing was deleted.`,
    { hint: "Check `bucket.url`. Where it may have been deleted before: --if-exists." },
  );
}
