import { messageWithHint } from "../../base/errors.js";
import type { Position } from "../../formats/entry.js";
import type { CheckpointReason } from "../replica.js";
import type { Cut } from "./cut.js";
import type { ShippedDatabase } from "./database.js";
import type { Emitter } from "./emitter.js";
import type { GroupParts } from "./group.js";
import type { Holds } from "./holds.js";
import { CutMoved } from "./plan.js";
import { KeptLinks } from "./plan-links.js";
import { PlannedGroup, type PlanSource } from "./planner.js";
import type { ShipSettings, ShipTools } from "./settings.js";
import type { Snapshotter } from "./snapshotter.js";
import { rejectAll, resolveAll, Waiters, type Batch, type Served, type Waiter } from "./waiters.js";

const RETRY_MS = 50;
/** Checkpoints beside the rounds that were out of date when they were uploaded: then WAL waits for the next one, which has little left to upload. */
const OUTRUN_MAX = 3;

/** A cut whose every byte was checked, and the last hold that it takes account of. */
export interface ObservedCut {
  readonly cut: Cut;
  readonly holds: number;
}

interface Background {
  readonly group: PlannedGroup;
  /** Of `#walBytes`, what the cut had. */
  readonly walBytes: number;
  readonly reason: CheckpointReason;
  readonly startedMs: number;
  readonly callers: Batch<Position>;
  readonly abort: AbortController;
  /** Never rejects. */
  readonly ended: Promise<void>;
  outcome: { readonly error: unknown } | "ready" | undefined;
}

interface Made {
  readonly reason: CheckpointReason;
  readonly startedMs: number;
  readonly callers: Batch<Position>;
  readonly walBytes: number;
}

export interface CheckpointParts {
  readonly settings: ShipSettings;
  readonly tools: ShipTools;
  readonly emitter: Emitter;
  readonly planSource: Omit<PlanSource, "kept">;
  readonly groupParts: GroupParts;
  readonly holds: Holds;
  readonly snapshots: Snapshotter;
  readonly onReady: () => void;
}

/**
 * Checkpoints: those that WAL waits for, and those that are uploaded while WAL goes on being shipped. Everything here happens within the
 * shipper's rounds, except uploads and the storing of snapshots.
 */
export class Checkpoints {
  readonly #parts: CheckpointParts;
  readonly #callers: Waiters<Position>;
  readonly #kept = new KeptLinks();
  readonly #planSource: PlanSource;
  /** Asked before the present cut began. */
  #before: Waiter<Position>[] = [];
  #requested: CheckpointReason | undefined;
  #background: Background | undefined;
  /** Since the last checkpoint. */
  #outrun = 0;
  /** The disk moved on while the last one was begun. */
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #snapshotting: Promise<void> = Promise.resolve();
  #lastMs: number;
  #walBytes = 0;
  #changed = true;
  lastWallMs: number | undefined;
  lastSlot: number | undefined;
  trouble: string | undefined;

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
    this.#callers = new Waiters(parts.tools.clock);
    this.#planSource = { ...parts.planSource, kept: this.#kept };
    this.#lastMs = parts.tools.clock.monotonicMs();
  }

  /** Somebody waits for something that a round would do. */
  get urgent(): boolean {
    if (this.#background !== undefined) return this.#background.outcome !== undefined;
    if (this.#parts.tools.clock.monotonicMs() < this.#notBeforeMs) return false;
    return this.#callers.any || this.#before.length > 0;
  }

  /** True if the image or the disk went on since the last checkpoint. */
  get changed(): boolean {
    return this.#changed;
  }

  request(reason: CheckpointReason, signal: AbortSignal): Promise<Served<Position>> {
    this.#requested = reason;
    return this.#callers.wait(signal);
  }

  /** A cut begins: a checkpoint of it serves who has asked by now. */
  cutBegins(): void {
    this.#before = [...this.#before.filter(({ open }) => open), ...this.#callers.take()];
  }

  walShipped(bytes: number): void {
    this.#walBytes += bytes;
    this.#changed = true;
  }

  /** The MANIFEST of a cut has what the image lacks. */
  manifestGrew(): void {
    this.#changed = true;
  }

  /** A checkpoint that everything waits for: upload, then emit. Throws `CutMoved`. */
  async held(
    cut: ObservedCut,
    databases: readonly ShippedDatabase[],
    reason: CheckpointReason,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#dropBackground();
    const { holds, groupParts, tools } = this.#parts;
    const startedMs = tools.clock.monotonicMs();
    const callers = this.#before.splice(0);
    try {
      const request = { mode: "held" as const, cut: cut.cut, databases, companions: true, holds: cut.holds };
      const group = await PlannedGroup.make(request, this.#planSource, groupParts);
      try {
        await group.upload(signal);
        await this.#emitted(group, { reason, startedMs, callers, walBytes: this.#walBytes });
      } finally {
        await group.close();
      }
      holds.release(group.plan.holds);
    } catch (error) {
      if (error instanceof CutMoved) this.#before.push(...callers);
      else rejectAll(callers, error);
      throw error;
    }
  }

  /** MANIFESTs (with their tables) that must not come after the WAL of the cut, and companions. Throws `CutMoved`. */
  async binding(
    cut: ObservedCut,
    databases: readonly ShippedDatabase[],
    companions: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { holds, groupParts } = this.#parts;
    const request = { mode: "binding" as const, cut: cut.cut, databases, companions, holds: cut.holds };
    const group = await PlannedGroup.make(request, this.#planSource, groupParts);
    try {
      await group.upload(signal);
      if (holds.version !== group.plan.holds) throw new CutMoved("WAL is held");
      await group.emit();
      this.#changed = true;
      // The MANIFEST is past what could not be shipped.
      for (const { database, minimumWal } of group.plan.databases) {
        if (database.wals.problem() !== undefined) await database.wals.forgetBelow(minimumWal);
      }
    } finally {
      await group.close();
    }
  }

  /** After the WAL of `cut` was shipped: emits what is uploaded, starts what is due. */
  async after(cut: ObservedCut, databases: readonly ShippedDatabase[], signal: AbortSignal): Promise<void> {
    await this.#finishBackground();
    if (this.#background !== undefined) return;
    const reason = this.#due();
    if (reason === undefined) return;
    if (this.#outrun < OUTRUN_MAX) return await this.#startBackground(cut, databases, reason, signal);
    this.#parts.tools.logger.warn(
      { reason, tries: this.#outrun },
      "Checkpoints were outrun by the master: WAL waits for this one.",
    );
    await this.held(cut, databases, reason, signal);
  }

  /** The checkpoint under way beside the rounds keeps too much on the disk: another cut keeps less, and what was uploaded counts for it. */
  async giveUp(): Promise<void> {
    await this.#kept.release();
    if (this.#background === undefined) return;
    const { tools } = this.#parts;
    const message = "the spool is full: the checkpoint under way is begun anew";
    this.trouble = `checkpoint: ${message}`;
    tools.logger.warn({ reason: this.#background.reason }, message);
    await this.#dropBackground();
  }

  /** Ends what runs beside the rounds. */
  async stop(error: unknown): Promise<void> {
    await this.#dropBackground();
    await this.#kept.release();
    rejectAll([...this.#before.splice(0), ...this.#callers.take()], error);
    await this.#snapshotting;
  }

  /** Resolves when the snapshots of all checkpoints so far are stored, or failed. */
  async settled(): Promise<void> {
    await this.#snapshotting;
  }

  #due(): CheckpointReason | undefined {
    const { settings, tools } = this.#parts;
    if (tools.clock.monotonicMs() < this.#notBeforeMs) return undefined;
    if (this.#before.length > 0) return this.#requested ?? "OnDemand";
    if (!this.#changed) return undefined;
    if (this.#walBytes >= settings.checkpoint.walBytes) return "WalBytes";
    return tools.clock.monotonicMs() - this.#lastMs >= settings.checkpoint.intervalMs ? "Interval" : undefined;
  }

  async #startBackground(
    cut: ObservedCut,
    databases: readonly ShippedDatabase[],
    reason: CheckpointReason,
    signal: AbortSignal,
  ): Promise<void> {
    const { groupParts, tools, onReady } = this.#parts;
    const request = { mode: "checkpoint" as const, cut: cut.cut, databases, companions: false, holds: cut.holds };
    const startedMs = tools.clock.monotonicMs();
    let group: PlannedGroup;
    try {
      group = await PlannedGroup.make(request, this.#planSource, groupParts);
    } catch (error) {
      // It is still due: a later round tries again with its own cut.
      if (error instanceof CutMoved) {
        this.#outrun++;
        this.#notBeforeMs = tools.clock.monotonicMs() + RETRY_MS;
        return;
      }
      throw error;
    }
    const abort = new AbortController();
    const ended = this.#uploadBeside(group, AbortSignal.any([signal, abort.signal]), (outcome) => {
      background.outcome = outcome;
      onReady();
    });
    const callers = this.#before.splice(0);
    const background: Background = {
      group,
      walBytes: this.#walBytes,
      reason,
      startedMs,
      callers,
      abort,
      ended,
      outcome: undefined,
    };
    this.#background = background;
  }

  async #uploadBeside(
    group: PlannedGroup,
    signal: AbortSignal,
    ended: (outcome: NonNullable<Background["outcome"]>) => void,
  ): Promise<void> {
    try {
      await group.upload(signal);
      ended("ready");
    } catch (error) {
      ended({ error });
    }
  }

  async #finishBackground(): Promise<void> {
    const background = this.#background;
    if (background?.outcome === undefined) return;
    const { group, reason, startedMs, callers, outcome, walBytes } = background;
    this.#background = undefined;
    try {
      if (outcome !== "ready") throw outcome.error;
      if (this.#parts.holds.version !== group.plan.holds) throw new CutMoved("WAL is held");
      await this.#emitted(group, { reason, startedMs, callers, walBytes });
    } catch (error) {
      if (error instanceof CutMoved) {
        this.#outrun++;
        this.#before.push(...callers);
        return;
      }
      rejectAll(callers, error);
      this.trouble = `checkpoint: ${messageWithHint(error)}`;
      throw error;
    } finally {
      await group.close();
    }
  }

  async #dropBackground(): Promise<void> {
    const background = this.#background;
    if (background === undefined) return;
    this.#background = undefined;
    background.abort.abort(new CutMoved("another checkpoint comes first"));
    await background.ended;
    await background.group.close();
    this.#before.push(...background.callers);
  }

  async #emitted(group: PlannedGroup, made: Made): Promise<void> {
    const { tools } = this.#parts;
    const said = await group.emit();
    for (const { database, minimumWal } of group.plan.databases) await database.wals.forgetBelow(minimumWal);
    this.#outrun = 0;
    this.#lastMs = tools.clock.monotonicMs();
    this.#walBytes = Math.max(0, this.#walBytes - made.walBytes);
    this.#changed = this.#walBytes > 0;
    this.#snapshotting = this.#complete(said, made, this.#snapshotting);
  }

  /** Beside the rounds: waits until the group is durable, stores the snapshot, tells the callers. Never rejects. */
  async #complete(said: boolean, made: Made, before: Promise<void>): Promise<void> {
    const { reason, startedMs, callers } = made;
    const { emitter, tools, snapshots } = this.#parts;
    try {
      await emitter.settled();
      const position = tools.writer.position;
      this.lastSlot = position.slot;
      this.lastWallMs = tools.clock.wallMs();
      await before;
      if (said || callers.length > 0) await this.#snapshot(snapshots);
      this.trouble = undefined;
      const tookMs = tools.clock.monotonicMs() - startedMs;
      tools.metrics.checkpointed(reason, tookMs);
      if (said) {
        tools.logger.info({ reason, slot: position.slot, tookMs: Math.round(tookMs) }, "A checkpoint is durable.");
      }
      resolveAll(callers, position);
    } catch (error) {
      rejectAll(callers, error);
    }
  }

  /** A snapshot that can't be stored makes restores longer, nothing else: the checkpoint stands. */
  async #snapshot(snapshots: Snapshotter): Promise<void> {
    try {
      await snapshots.store(this.#parts.emitter.signal);
    } catch (error) {
      this.trouble = `snapshot: ${messageWithHint(error)}`;
      this.#parts.tools.logger.warn({ err: error }, "The snapshot of a checkpoint could not be stored.");
    }
  }
}
