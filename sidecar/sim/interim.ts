import type { Clock } from "../src/base/clock.js";
import type { Random } from "../src/base/random.js";
import type { Bucket } from "../src/bucket/bucket.js";
import { bytesSource } from "../src/bucket/byte-source.js";
import { CLUSTER_KEY, SNAPSHOT_PREFIX, snapshotKey } from "../src/formats/entry.js";
import type { ImageState } from "../src/formats/image.js";
import { decodeSnapshot, encodeSnapshot, SNAPSHOT_BYTES_MAX, type Snapshot } from "../src/formats/snapshot.js";
import { inlineCompression } from "./compression.js";
import type { ClusterIdentity } from "../src/log/log.js";

/** Until log/ has it. */
export async function interimCluster(
  bucket: Bucket,
  random: Random,
  clock: Clock,
  signal: AbortSignal,
): Promise<ClusterIdentity> {
  const mine = {
    formatVersion: 1,
    uid: Buffer.from(random.bytes(16)).toString("hex"),
    createdAt: new Date(clock.wallMs()).toISOString(),
  };
  await bucket.putIfAbsent(CLUSTER_KEY, Buffer.from(JSON.stringify(mine)), { signal });
  for (;;) {
    const bytes = await bucket.get(CLUSTER_KEY, { maxBytes: 10_000, signal });
    try {
      const found = JSON.parse(Buffer.from(bytes ?? new Uint8Array()).toString()) as ClusterIdentity;
      if (/^[0-9a-f]{32}$/.test(found.uid)) return found;
    } catch {
      continue;
    }
  }
}

export class InterimSnapshots {
  readonly #cluster: ClusterIdentity;
  readonly #bucket: Bucket;
  readonly #clock: Clock;

  constructor(cluster: ClusterIdentity, bucket: Bucket, clock: Clock) {
    this.#cluster = cluster;
    this.#bucket = bucket;
    this.#clock = clock;
  }

  async put(image: ImageState, signal: AbortSignal): Promise<void> {
    const bytes = await encodeSnapshot(
      { ...image, cluster: this.#cluster.uid, wallTimeMs: this.#clock.wallMs() },
      inlineCompression,
    );
    await this.#bucket.put(snapshotKey(image.position.slot), bytesSource(bytes), { signal });
  }

  async list(signal: AbortSignal): Promise<readonly number[]> {
    const { objects } = await this.#bucket.list(SNAPSHOT_PREFIX, { signal });
    return objects.map(({ key }) => Number(key.slice(SNAPSHOT_PREFIX.length, -".json".length)));
  }

  async read(slot: number, signal: AbortSignal): Promise<Snapshot | undefined> {
    for (let look = 1; ; look++) {
      const bytes = await this.#bucket.get(snapshotKey(slot), { maxBytes: SNAPSHOT_BYTES_MAX, signal });
      if (bytes === undefined) return undefined;
      try {
        return await decodeSnapshot(bytes, snapshotKey(slot), inlineCompression);
      } catch (error) {
        if (look === 2) throw error;
      }
    }
  }
}
