import { MetaMasterError, hasCode, messageOf } from "../base/errors.js";
import type { Position, ReadEntry } from "../formats/entry.js";
import { oldestSlotNeeded } from "../formats/image-fold.js";
import { EMPTY_IMAGE, type ImageState } from "../formats/image.js";
import type { Snapshot } from "../formats/snapshot.js";
import type { ReplicaTools } from "./tools.js";

/** Where in history. An entry is taken in whole or not at all; entries that belong together likewise. */
export type RestoreTarget =
  /** Everything that is in the log now. */
  | { readonly kind: "end" }
  /** Up to and with that slot. */
  | { readonly kind: "slot"; readonly slot: number }
  /** Nothing of that database beyond the sequence number. */
  | { readonly kind: "sequence"; readonly database: string; readonly sequence: bigint }
  /** Up to the first entry that its writer's clock dates later. */
  | { readonly kind: "time"; readonly wallMs: number };

/** The snapshots of the bucket. */
export interface SnapshotShelf {
  /** Slots, ascending. */
  list(signal: AbortSignal): Promise<readonly number[]>;
  /** Undefined if it is gone. Throws `SnapshotCorrupt` after having fetched it twice. */
  read(slot: number, signal: AbortSignal): Promise<Snapshot | undefined>;
}

/** Is this entry beyond the target? */
export function isBeyond(target: RestoreTarget, { header, position }: ReadEntry): boolean {
  if (target.kind === "slot") return position.slot > target.slot;
  if (target.kind === "time") return header.wallTimeMs > target.wallMs;
  if (target.kind === "end") return false;
  const { database, sequence } = target;
  return header.sequences.some((range) => range.database === database && BigInt(range.last) > sequence);
}

/** Can nothing behind this position be in the target? */
export function isReached(target: RestoreTarget, { slot }: Position): boolean {
  return target.kind === "slot" && slot >= target.slot;
}

function covers(target: RestoreTarget, snapshot: Snapshot): boolean {
  if (target.kind === "slot") return snapshot.position.slot <= target.slot;
  if (target.kind === "time") return snapshot.wallTimeMs <= target.wallMs;
  return target.kind === "end" || BigInt(snapshot.sequences.get(target.database) ?? "0") <= target.sequence;
}

export interface RestoreBase {
  readonly image: ImageState;
  /** What is wrong if the log right after it turns out to be deleted. */
  readonly ifTrimmed: MetaMasterError | undefined;
}

/**
 * Where a restore begins: the newest snapshot that is not beyond the target, else the beginning of history, if the log still has it. A damaged snapshot, or
 * one whose log is trimmed, is passed over, with a warning: an older one and the log hold the same.
 */
export async function pickBase(
  tools: ReplicaTools,
  shelf: SnapshotShelf,
  target: RestoreTarget,
  signal: AbortSignal,
): Promise<RestoreBase> {
  const slots = await shelf.list(signal);
  let damaged: MetaMasterError | undefined;
  for (const slot of slots.toReversed()) {
    if (target.kind === "slot" && slot > target.slot) continue;
    try {
      const snapshot = await shelf.read(slot, signal);
      if (snapshot === undefined) continue;
      checkCluster(tools, snapshot, slot);
      if (!covers(target, snapshot)) continue;
      const lacks = await lacksLog(tools, snapshot, signal);
      if (lacks === undefined) return { image: snapshot, ifTrimmed: damaged };
      damaged = lacks;
      tools.logger.warn({ err: lacks, slot }, `${messageOf(lacks)} An older snapshot is used.`);
    } catch (error) {
      if (!hasCode(error, "SnapshotCorrupt")) throw error;
      damaged = error;
      tools.logger.warn({ err: error, slot }, `${messageOf(error)} An older snapshot is used.`);
    }
  }
  return { image: EMPTY_IMAGE, ifTrimmed: damaged ?? tooOld(slots[0]) };
}

/** A primary that stores a snapshot while it trims may store one that needs what is trimmed; older ones are kept then. */
async function lacksLog(
  { reader }: ReplicaTools,
  snapshot: Snapshot,
  signal: AbortSignal,
): Promise<MetaMasterError | undefined> {
  const { slot } = snapshot.position;
  const oldest = oldestSlotNeeded(snapshot);
  if (oldest > slot || (await reader.read(oldest, signal)) !== undefined) return undefined;
  return new MetaMasterError(
    "LogGap",
    "corrupt",
    `The entry in slot ${oldest} is missing, and the snapshot at slot ${slot} needs it.`,
    {
      hint: "Something deleted it: bring it back from the bucket's versions, or restore from another snapshot.",
      details: { slot: oldest },
    },
  );
}

/** Nothing is no state of a cluster: whoever asks for a time before its first entry is told so. */
export function checkNotBefore(target: RestoreTarget, { position }: ImageState): void {
  if (target.kind !== "time" || position.slot >= 0) return;
  const asked = new Date(target.wallMs).toISOString();
  throw new MetaMasterError("TargetTooOld", "invalid", `The history begins after ${asked}.`, {
    hint: "See `metamaster log list --from 0` for when it begins.",
    details: { time: asked },
  });
}

function tooOld(oldestSlot: number | undefined): MetaMasterError {
  const kept = oldestSlot === undefined ? "there is no snapshot" : `its oldest snapshot is at slot ${oldestSlot}`;
  return new MetaMasterError("TargetTooOld", "invalid", `The bucket does not keep the history so far back: ${kept}.`, {
    hint: "See `metamaster snapshot list` for what can be restored; `retention` decides how much is kept.",
    details: { oldestSlot },
  });
}

function checkCluster({ reader }: ReplicaTools, snapshot: Snapshot, slot: number): void {
  if (snapshot.cluster === reader.cluster.uid) return;
  throw new MetaMasterError(
    "ForeignCluster",
    "invalid",
    `The snapshot at slot ${slot} belongs to the cluster ${snapshot.cluster}, not to ${reader.cluster.uid}.`,
    {
      hint: "Give every cluster a prefix of its own in the bucket.",
      details: { slot, cluster: snapshot.cluster },
    },
  );
}
