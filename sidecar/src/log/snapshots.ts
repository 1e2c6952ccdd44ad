import type { Clock } from "../base/clock.js";
import type { Compression } from "../base/compression.js";
import { MetaMasterError, isKind } from "../base/errors.js";
import type { Bucket } from "../bucket/bucket.js";
import { pagesOf } from "../bucket/pages.js";
import { SNAPSHOT_PREFIX, snapshotKey, type ImagePath } from "../formats/entry.js";
import { oldestSlotNeeded } from "../formats/image-fold.js";
import type { ImageState } from "../formats/image.js";
import { SNAPSHOT_BYTES_MAX, decodeSnapshot, encodeSnapshot, type Snapshot } from "../formats/snapshot.js";

export interface SnapshotsComponents {
  /** uid. */
  readonly cluster: string;
  readonly bucket: Bucket;
  readonly clock: Clock;
  readonly compression: Compression;
}

/** The snapshots of the bucket. Transient errors are the caller's to try again. */
export class Snapshots {
  readonly #parts: SnapshotsComponents;

  constructor(components: SnapshotsComponents) {
    this.#parts = components;
  }

  /**
   * Only by the primary, of an image whose last entry is durable. Refuses (`SnapshotIncomplete`, conflict) an image that could not be
   * restored because what it needs is doomed. One that is there already for that slot is kept: it says the same.
   */
  async put(image: ImageState, signal: AbortSignal): Promise<void> {
    const { bucket, cluster, clock, compression } = this.#parts;
    await this.#checkWhole(image, signal);
    const wallTimeMs = Math.max(0, Math.trunc(clock.wallMs()));
    const bytes = await encodeSnapshot({ ...image, cluster, wallTimeMs }, compression);
    await bucket.putIfAbsent(snapshotKey(image.position.slot), bytes, { signal });
  }

  /** Slots, ascending; doomed ones that are still there included. */
  async list(signal: AbortSignal): Promise<readonly number[]> {
    const slots: number[] = [];
    for await (const page of pagesOf(this.#parts.bucket, SNAPSHOT_PREFIX, signal)) {
      for (const { key } of page) {
        const slot = slotOf(key);
        if (slot !== undefined) slots.push(slot);
      }
    }
    return slots;
  }

  /** Undefined if it is gone. Throws `SnapshotCorrupt` (corrupt) after having fetched it twice, `ForeignCluster`, `FormatTooNew`. */
  async read(slot: number, signal: AbortSignal): Promise<Snapshot | undefined> {
    for (let look = 1; ; look++) {
      try {
        return await this.#read(slot, signal);
      } catch (error) {
        if (look === 2 || !isKind(error, "corrupt")) throw error;
      }
    }
  }

  async #read(slot: number, signal: AbortSignal): Promise<Snapshot | undefined> {
    const { bucket, compression, cluster } = this.#parts;
    const key = snapshotKey(slot);
    const bytes = await bucket.get(key, { maxBytes: SNAPSHOT_BYTES_MAX, signal });
    if (bytes === undefined) return undefined;
    const snapshot = await decodeSnapshot(bytes, key, compression);
    if (snapshot.cluster !== cluster) {
      throw new MetaMasterError(
        "ForeignCluster",
        "invalid",
        `${key} belongs to the cluster ${snapshot.cluster}, this member to ${cluster}.`,
        { details: { key, found: snapshot.cluster }, hint: "Give every cluster a prefix of its own in the bucket." },
      );
    }
    if (snapshot.position.slot === slot) return snapshot;
    throw new MetaMasterError("SnapshotCorrupt", "corrupt", `${key} holds the snapshot of ${snapshot.position.slot}.`, {
      details: { key, slot: snapshot.position.slot },
      hint: "Objects below snapshots/ were copied or renamed; bring the right ones back from the bucket's versions.",
    });
  }

  /** What a snapshot needs besides itself must neither be doomed nor missing: nobody would notice before a restore. */
  async #checkWhole(image: ImageState, signal: AbortSignal): Promise<void> {
    const { slot } = image.position;
    const oldest = oldestSlotNeeded(image);
    if (oldest <= image.trimmedThrough) {
      throw incomplete(slot, `it needs slots from ${oldest}, those up to ${image.trimmedThrough} are trimmed`);
    }
    const doomed = new Set(image.trims.flatMap(({ keys }) => keys));
    for (const [path, file] of image.files) {
      const object = file.kind === "append" ? file.base : file.kind === "table" ? file : undefined;
      if (object === undefined) continue;
      if (doomed.has(object.key)) throw incomplete(slot, `${path} needs ${object.key}, which is doomed`);
      if (file.kind === "append") await this.#checkBase(slot, path, object, signal);
    }
  }

  /** A base is outside of what the log accounts for: it was made for an earlier snapshot, perhaps by another member. */
  async #checkBase(
    slot: number,
    path: ImagePath,
    { key, size }: { readonly key: string; readonly size: number },
    signal: AbortSignal,
  ): Promise<void> {
    const found = await this.#parts.bucket.head(key, { signal });
    if (found !== size) throw incomplete(slot, `${path} needs ${key} with ${size} bytes, it has ${found ?? "none"}`);
  }
}

function incomplete(slot: number, why: string): MetaMasterError {
  return new MetaMasterError(
    "SnapshotIncomplete",
    "conflict",
    `A snapshot at slot ${slot} could not be restored: ${why}.`,
    {
      details: { slot },
      hint: "It was not written; the next checkpoint makes another one. If it lasts, report it.",
    },
  );
}

/** Undefined for a key of another form: nobody's snapshot. */
function slotOf(key: string): number | undefined {
  const match = /^([0-9]{20})\.json$/.exec(key.slice(SNAPSHOT_PREFIX.length));
  const slot = Number(match?.[1]);
  return Number.isSafeInteger(slot) ? slot : undefined;
}
