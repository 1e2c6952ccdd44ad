import type { Bucket } from "../../bucket/bucket.js";
import { pagesOf } from "../../bucket/pages.js";
import { CLUSTER_KEY, LOG_PREFIX, SNAPSHOT_PREFIX, STANDBY_PREFIX, TABLE_PREFIX } from "../../formats/entry.js";

const PROBE_PREFIX = "probe/";

/** What MetaMaster gives names to, by folder. What else lies there is somebody else's. */
const NAMES: Readonly<Record<string, RegExp>> = {
  [SNAPSHOT_PREFIX]: /^snapshots\/[0-9]{20}\.json$/,
  [TABLE_PREFIX]: /^tables\/[0-9]+\/.+-[0-9a-f]{64}$/,
  [STANDBY_PREFIX]: /^standbys\/[0-9]{20}\/[^/]+$/,
  [PROBE_PREFIX]: /^probe\/[0-9a-f]{24}\/.+$/,
  [LOG_PREFIX]: /^log\/[0-9]{20}$/,
};

/** In the order in which they are emptied. */
export const folders: readonly string[] = Object.keys(NAMES);

export function isOurs(key: string): boolean {
  return key === CLUSTER_KEY || Object.values(NAMES).some((name) => name.test(key));
}

const OTHERS_SHOWN = 20;
/** Of somebody else's so many are counted at most: a prefix may be the root of a bucket of millions. */
const OTHERS_COUNTED = 1000;

export interface Others {
  /** The first ones, in byte order. */
  readonly keys: readonly string[];
  readonly count: number;
  /** False: there are more. */
  readonly whole: boolean;
}

/** What lies below the prefix and is not MetaMaster's. */
export async function othersIn(bucket: Bucket, signal: AbortSignal): Promise<Others> {
  const keys: string[] = [];
  let count = 0;
  for await (const page of pagesOf(bucket, "", signal)) {
    for (const { key } of page) {
      if (isOurs(key)) continue;
      count += 1;
      if (keys.length < OTHERS_SHOWN) keys.push(key);
      if (count === OTHERS_COUNTED) return { keys, count, whole: false };
    }
  }
  return { keys, count, whole: true };
}
