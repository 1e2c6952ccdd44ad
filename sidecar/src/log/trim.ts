import { TABLE_PREFIX, snapshotKey, type Operation } from "../formats/entry.js";
import { keysOf } from "../formats/image-fold.js";
import type { ImageState } from "../formats/image.js";
import { TRIM_KEYS_MAX } from "../formats/operation-codec.js";

export interface Retention {
  /** The newest snapshots that are kept, at least 1. */
  readonly snapshots: number;
  /** How far back every moment can be restored, milliseconds. */
  readonly windowMs: number;
  /** From dooming to deleting, milliseconds. */
  readonly gracePeriodMs: number;
}

export const retentionDefaults: Retention = { snapshots: 3, windowMs: 0, gracePeriodMs: 3_600_000 };

/** What trimming must know of a snapshot that was read and verified. */
export interface SnapshotFacts {
  readonly slot: number;
  readonly wallTimeMs: number;
  readonly oldestSlotNeeded: number;
  /** Keys of the bases of its WALs and MANIFESTs: the log does not account for these. */
  readonly bases: readonly string[];
}

export interface TrimFacts {
  /** Of the last durable entry. */
  readonly image: ImageState;
  /** Every snapshot of the bucket that can be restored, ascending by slot. */
  readonly snapshots: readonly SnapshotFacts[];
  /** Slots of those that can't be read. */
  readonly damaged: readonly number[];
  /** Uploaded, and an entry may soon refer to them. */
  readonly pinned: ReadonlySet<string>;
  /** Keys found below tables/ by listing, or nothing if that was not done. */
  readonly listed: readonly string[];
  readonly nowWallMs: number;
  readonly executedThrough: number;
}

export type Trim = Extract<Operation, { readonly type: "trim" }>;

/**
 * The snapshots that are kept: the newest ones, those of the window, and the one before the window from which its first moment is
 * restored. Always the newest part of the list. Doomed ones are not among them, nor any that can't be restored.
 */
export function keptSnapshots(
  { image, snapshots, nowWallMs }: Pick<TrimFacts, "image" | "snapshots" | "nowWallMs">,
  retention: Retention,
): readonly SnapshotFacts[] {
  const doomed = new Set(image.trims.flatMap(({ keys }) => keys));
  // One that needs trimmed slots came from a primary that slept: nothing can be restored from it.
  const usable = snapshots.filter(({ oldestSlotNeeded }) => oldestSlotNeeded > image.trimmedThrough);
  const alive = usable.filter(({ slot }) => !doomed.has(snapshotKey(slot)));
  const start = nowWallMs - retention.windowMs;
  const inWindow = alive.findIndex(({ wallTimeMs }) => wallTimeMs >= start);
  // Without a window the last moment is all that must be restorable.
  const forWindow = retention.windowMs === 0 || inWindow < 0 ? alive.length - 1 : inWindow - 1;
  return alive.slice(Math.max(0, Math.min(forWindow, alive.length - Math.max(1, retention.snapshots))));
}

/** Slots from here on are needed by a snapshot that is kept. */
export function slotsNeededFrom(kept: readonly SnapshotFacts[]): number {
  return Math.min(...kept.map(({ oldestSlotNeeded }) => oldestSlotNeeded));
}

/**
 * What can be doomed now; undefined if nothing. Never a claim (they lie in the range but are not deleted), a slot that a kept snapshot
 * needs, nor an object that a kept snapshot or the image refers to, because
 * - an object is garbage only once the image dropped it, and in no kept snapshot only if the oldest of them came after that;
 * - what no fold ever knew (an upload that was given up) belongs to an epoch that is over.
 */
export function planTrim(facts: TrimFacts, retention: Retention): Trim | undefined {
  const { image, snapshots, damaged, executedThrough } = facts;
  const kept = keptSnapshots(facts, retention);
  const oldest = kept[0];
  if (oldest === undefined) return undefined;
  const doomed = new Set(image.trims.flatMap(({ keys }) => keys));
  const inUse = keysOf(image);
  for (const { bases } of kept) for (const key of bases) inUse.add(key);
  for (const key of facts.pinned) inUse.add(key);
  const free = (key: string): boolean => !doomed.has(key) && !inUse.has(key);

  const dropped = snapshots.filter(({ slot }) => slot < oldest.slot);
  const stale = [...dropped.map(({ slot }) => slot), ...damaged.filter((slot) => slot < oldest.slot)];
  const garbage = [...image.garbage].filter(([, slot]) => slot <= oldest.slot).map(([key]) => key);
  const orphans = facts.listed.filter((key) => epochOf(key) < image.epoch && !image.garbage.has(key));
  const bases = dropped.flatMap((each) => each.bases);
  const keys = new Set([...stale.map(snapshotKey), ...garbage, ...bases, ...orphans].filter(free));

  const fromSlot = image.trimmedThrough + 1;
  const throughSlot = Math.max(image.trimmedThrough, slotsNeededFrom(kept) - 1);
  if (keys.size === 0 && throughSlot < fromSlot) return undefined;
  return { type: "trim", fromSlot, throughSlot, keys: [...keys].slice(0, TRIM_KEYS_MAX), executedThrough };
}

/** The epoch that uploaded an object; no number (so never smaller) for keys of another form. */
function epochOf(key: string): number {
  return Number(/^[0-9]+(?=\/)/.exec(key.slice(TABLE_PREFIX.length))?.[0]);
}
