import type { Bucket } from "../src/bucket/bucket.js";
import { CLUSTER_KEY } from "../src/formats/entry.js";
import { decodeCluster, encodeCluster } from "../src/log/cluster-identity.js";
import { overriding } from "./patching.js";

const foreignUid = "f0".repeat(16);

/** The bucket of one who is sure to be in another cluster. */
export function foreignView(bucket: Bucket): Bucket {
  return overriding(bucket, {
    get: async (key, call) => {
      const bytes = await bucket.get(key, call);
      if (key !== CLUSTER_KEY || bytes === undefined) return bytes;
      try {
        return encodeCluster({ ...decodeCluster(bytes, bucket.url), uid: foreignUid });
      } catch {
        return bytes;
      }
    },
  });
}
