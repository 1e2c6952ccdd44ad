import type { Clock } from "../base/clock.js";
import { MetaMasterError, isKind, messageOf } from "../base/errors.js";
import type { Logger } from "../base/log.js";
import type { Bucket } from "../bucket/bucket.js";
import { pagesOf } from "../bucket/pages.js";
import { LOG_PREFIX, SNAPSHOT_PREFIX, TABLE_PREFIX, snapshotKey } from "../formats/entry.js";
import { keysOf, oldestSlotNeeded } from "../formats/image-fold.js";
import type { ImageState, PendingTrim } from "../formats/image.js";
import type { LogWriter } from "./log.js";
import { slotOfLogKey } from "./log-reader.js";
import type { Snapshots } from "./snapshots.js";
import { keptSnapshots, planTrim, slotsNeededFrom, type Retention, type SnapshotFacts } from "./trim.js";

export interface CollectorSettings {
  readonly retention: Retention;
  /** Between two rounds. */
  readonly intervalMs: number;
  /** Between two searches for uploads that nothing ever referred to. */
  readonly sweepIntervalMs: number;
  /** A round deletes at most so many objects; the next one goes on. */
  readonly deletesPerRound: number;
  readonly parallelDeletes: number;
}

export const collectorDefaults: Omit<CollectorSettings, "retention"> = {
  intervalMs: 60_000,
  sweepIntervalMs: 86_400_000,
  deletesPerRound: 10_000,
  parallelDeletes: 8,
};

export interface CollectorComponents {
  readonly bucket: Bucket;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly snapshots: Pick<Snapshots, "list" | "read">;
  /** The primary's pen. */
  readonly writer: Pick<LogWriter, "append">;
  /** The durable image, with every entry of this epoch. */
  readonly image: () => ImageState;
  /** Objects that are stored and that no entry refers to yet. */
  readonly pinnedKeys: () => readonly string[];
}

export interface Round {
  /** A `trim` entry was written. */
  readonly doomed: boolean;
  readonly deleted: number;
}

/**
 * Garbage collection by the primary of one epoch: dooms through the log, deletes after the grace period, counted by this process's own
 * monotonic clock from the moment it saw the `trim` entry (so a clock that steps shortens nothing, and a failover begins it anew).
 */
export class Collector {
  readonly #settings: CollectorSettings;
  readonly #parts: CollectorComponents;
  /** Of the snapshots that were read; undefined for damaged ones. */
  readonly #facts = new Map<number, SnapshotFacts | undefined>();
  /** Monotonic ms at which a `trim` entry was first seen, by its slot. */
  readonly #seenMs = new Map<number, number>();
  #executedThrough = -1;
  #sweptMs: number | undefined;

  constructor(settings: CollectorSettings, components: CollectorComponents) {
    this.#settings = settings;
    this.#parts = components;
  }

  /** Until `signal` aborts (rejects with its reason) or the writer is fenced (rejects). Other trouble is logged and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#parts;
    for (;;) {
      await clock.sleep(this.#settings.intervalMs, signal);
      try {
        await this.round(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (isKind(error, "fenced")) throw error;
        logger.warn({ err: error }, `Garbage is not collected, it is tried again: ${messageOf(error)}`);
      }
    }
  }

  async round(signal: AbortSignal): Promise<Round> {
    await this.#learn(signal);
    const deleted = await this.#execute(signal);
    const doomed = await this.#doom(signal);
    this.#watch();
    return { doomed, deleted };
  }

  /** The trims that are to be carried out, each from the moment it is first seen. */
  #watch(): readonly PendingTrim[] {
    const { trims } = this.#parts.image();
    const slots = new Set(trims.map(({ slot }) => slot));
    for (const slot of this.#seenMs.keys()) if (!slots.has(slot)) this.#seenMs.delete(slot);
    for (const slot of slots) {
      if (!this.#seenMs.has(slot)) this.#seenMs.set(slot, this.#parts.clock.monotonicMs());
    }
    return trims;
  }

  /** Reads the snapshots that are new since the last round. */
  async #learn(signal: AbortSignal): Promise<void> {
    const slots = await this.#parts.snapshots.list(signal);
    for (const slot of this.#facts.keys()) if (!slots.includes(slot)) this.#facts.delete(slot);
    for (const slot of slots) if (!this.#facts.has(slot)) await this.#learnOne(slot, signal);
  }

  async #learnOne(slot: number, signal: AbortSignal): Promise<void> {
    const { logger, snapshots } = this.#parts;
    try {
      const snapshot = await snapshots.read(slot, signal);
      if (snapshot === undefined) return;
      const bases = [...snapshot.files.values()].flatMap((file) =>
        file.kind === "append" && file.base !== undefined ? [file.base.key] : [],
      );
      const { wallTimeMs } = snapshot;
      this.#facts.set(slot, { slot, wallTimeMs, oldestSlotNeeded: oldestSlotNeeded(snapshot), bases });
    } catch (error) {
      if (!isKind(error, "corrupt")) throw error;
      logger.error({ err: error, slot }, `A snapshot can't be restored and doesn't count as kept: ${messageOf(error)}`);
      this.#facts.set(slot, undefined);
    }
  }

  #known(): { snapshots: SnapshotFacts[]; damaged: number[] } {
    const snapshots: SnapshotFacts[] = [];
    const damaged: number[] = [];
    for (const [slot, facts] of this.#facts) {
      if (facts === undefined) damaged.push(slot);
      else snapshots.push(facts);
    }
    return { snapshots: snapshots.toSorted((a, b) => a.slot - b.slot), damaged };
  }

  async #doom(signal: AbortSignal): Promise<boolean> {
    const { clock, writer, image, pinnedKeys, logger } = this.#parts;
    const listed = await this.#sweep(signal);
    // No await between looking and appending: what is not referred to now is not referred to by an entry before this one.
    const facts = {
      ...this.#known(),
      image: image(),
      pinned: new Set(pinnedKeys()),
      listed,
      nowWallMs: clock.wallMs(),
      executedThrough: this.#executedThrough,
    };
    const trim = planTrim(facts, this.#settings.retention);
    if (trim === undefined) return false;
    const appended = await writer.append({ kind: "trim", operations: [trim], sequences: [], more: false }, signal);
    const { throughSlot, keys } = trim;
    const { slot } = appended.position;
    logger.info({ slot, throughSlot, keys: keys.length }, `doomed: slots up to ${throughSlot}, ${keys.length} objects`);
    return true;
  }

  /** Keys below tables/, now and then: uploads of epochs that ended before anything referred to them. */
  async #sweep(signal: AbortSignal): Promise<readonly string[]> {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#sweptMs !== undefined && nowMs - this.#sweptMs < this.#settings.sweepIntervalMs) return [];
    const { epoch } = this.#parts.image();
    const keys: string[] = [];
    await this.#list(TABLE_PREFIX, signal, (page) => {
      for (const key of page) if (!key.startsWith(`${TABLE_PREFIX}${epoch}/`)) keys.push(key);
      return true;
    });
    this.#sweptMs = nowMs;
    return keys;
  }

  /** Carries out the trims whose grace is over, in order; returns the number of objects deleted. */
  async #execute(signal: AbortSignal): Promise<number> {
    const { clock } = this.#parts;
    let deleted = 0;
    for (const trim of this.#watch()) {
      const seenMs = this.#seenMs.get(trim.slot) ?? clock.monotonicMs();
      if (trim.slot <= this.#executedThrough) continue;
      if (clock.monotonicMs() - seenMs < this.#settings.retention.gracePeriodMs) break;
      const room = this.#settings.deletesPerRound - deleted;
      const keys = await this.#deletable(trim, room, signal);
      await this.#delete(keys, signal);
      deleted += keys.length;
      // A full batch: the next round sees what is left.
      if (keys.length >= room) break;
      this.#executedThrough = trim.slot;
    }
    return deleted;
  }

  /** Checked anew against what is there now; at most `room` keys. */
  async #deletable(trim: PendingTrim, room: number, signal: AbortSignal): Promise<readonly string[]> {
    const { image, clock } = this.#parts;
    const now = image();
    const known = this.#known();
    const kept = keptSnapshots(
      { image: now, snapshots: known.snapshots, nowWallMs: clock.wallMs() },
      this.#settings.retention,
    );
    const oldest = kept[0];
    if (oldest === undefined || slotsNeededFrom(kept) <= trim.throughSlot) {
      throw refused(trim, `slots up to ${trim.throughSlot} are needed by a snapshot`);
    }
    const inUse = keysOf(now);
    for (const { bases } of kept) for (const key of bases) inUse.add(key);
    for (const { slot } of kept) inUse.add(snapshotKey(slot));
    const used = trim.keys.find((key) => inUse.has(key));
    if (used !== undefined) throw refused(trim, `${used} is in use`);
    const claims = new Set(now.claims);
    const keys: string[] = [];
    await this.#list(LOG_PREFIX, signal, (page) => {
      for (const key of page) {
        const slot = slotOfLogKey(key, this.#parts.bucket.url);
        if (slot > trim.throughSlot || keys.length >= room) return false;
        if (!claims.has(slot)) keys.push(key);
      }
      return true;
    });
    for (const key of await this.#present(trim.keys, signal)) if (keys.length < room) keys.push(key);
    return keys;
  }

  /** Those of `keys` that are still there; an object that is gone must not count as progress again and again. */
  async #present(keys: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    const wanted = new Set(keys);
    const found: string[] = [];
    for (const prefix of [SNAPSHOT_PREFIX, TABLE_PREFIX]) {
      if (!keys.some((key) => key.startsWith(prefix))) continue;
      await this.#list(prefix, signal, (page) => {
        for (const key of page) if (wanted.has(key)) found.push(key);
        return true;
      });
    }
    return found;
  }

  async #delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    let next = 0;
    const work = async (): Promise<void> => {
      for (let key = keys[next++]; key !== undefined; key = keys[next++]) {
        signal.throwIfAborted();
        await this.#parts.bucket.delete(key, { signal });
      }
    };
    const workers = Array.from({ length: Math.min(this.#settings.parallelDeletes, keys.length) }, work);
    const failed = (await Promise.allSettled(workers)).find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** Page by page until `take` has enough. */
  async #list(prefix: string, signal: AbortSignal, take: (keys: readonly string[]) => boolean): Promise<void> {
    for await (const page of pagesOf(this.#parts.bucket, prefix, signal)) {
      if (!take(page.map(({ key }) => key))) return;
    }
  }
}

function refused(trim: PendingTrim, why: string): MetaMasterError {
  return new MetaMasterError(
    "TrimRefused",
    "conflict",
    `The trim in slot ${trim.slot} is not carried out: ${why}. Nothing was deleted.`,
    {
      details: { slot: trim.slot },
      hint: "It is looked at again. If it lasts: retention was raised after the trim, or report it.",
    },
  );
}
