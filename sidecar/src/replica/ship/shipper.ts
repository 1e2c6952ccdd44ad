import { MetaMasterError, hasCode, messageWithHint } from "../../base/errors.js";
import type { Position, ReadEntry } from "../../formats/entry.js";
import { Image } from "../../formats/image-fold.js";
import { parseFileName } from "../../formats/rocksdb/file-names.js";
import type { ImageState } from "../../formats/image.js";
import type { Appended, Draft, LogWriter } from "../../log/log.js";
import { directoriesOf } from "../layout.js";
import type { Barrier, CheckpointReason, ShipStatus, Shipper } from "../replica.js";
import { Buffers } from "../../base/buffers.js";
import { Checkpoints, type ObservedCut } from "./checkpoints.js";
import { CompanionFinder, sameListing, type CompanionListing } from "./companions.js";
import { takeCut } from "./cut.js";
import { ShippedDatabase } from "./database.js";
import { FileDigests } from "./digests.js";
import { GroupCommit } from "./group-commit.js";
import { Emitter } from "./emitter.js";
import { Holds } from "./holds.js";
import { Keeper } from "./keeper.js";
import { Lag } from "./lag.js";
import { Links } from "./links.js";
import { Listings } from "./listing.js";
import { Pacer } from "./pacer.js";
import { Packer } from "./packer.js";
import { CutMoved } from "./plan.js";
import type { ShipComponents, ShipSettings } from "./settings.js";
import { Shipped } from "./shipped.js";
import { barrierFailed, unsettled } from "./ship-errors.js";
import { Snapshotter } from "./snapshotter.js";
import { Uploader } from "./uploader.js";
import { rejectAll, resolveAll, Waiters, type Batch } from "./waiters.js";
import type { WalFile } from "./wal-file.js";
import { shipWal } from "./wal-ship.js";

/** Tries to get through a checkpoint or a cut while the disk moves on, before it is called trouble. */
const MOVES_MAX = 20;

/** Less than this is encoded and cut in a fraction of the time that a put takes. */
const GATHER_BYTES_MAX = 256 * 1024;

/** Ships the primary's files for one epoch: one round after the other, each from one cut. See docs/reference/shipping.md. */
export class PrimaryShipper implements Shipper {
  readonly writer: LogWriter;
  readonly #settings: ShipSettings;
  readonly #parts: ShipComponents;
  /** Ends everything of this epoch. */
  readonly #life = new AbortController();
  /** The durable image. */
  readonly #image: Image;
  /** The image once all that is emitted is durable. */
  readonly #shipped: Shipped;
  readonly #holds: Holds;
  readonly #lag = new Lag();
  readonly #links: Links;
  readonly #databases: readonly ShippedDatabase[];
  readonly #companionFinder: CompanionFinder;
  readonly #emitter: Emitter;
  readonly #uploader: Uploader;
  readonly #snapshotter: Snapshotter;
  readonly #checkpoints: Checkpoints;
  readonly #barriers: Waiters<Position>;
  readonly #groupCommit: GroupCommit;
  readonly #pacer: Pacer;
  readonly #keeper: Keeper;
  readonly #walFiles = new Map<string, WalFile>();
  readonly #buffers: Buffers;
  /** The companions of the image. */
  #companions: CompanionListing | undefined;
  #trouble: string | undefined;
  #emittedBytes = 0;
  #finishing = false;
  #finished = false;
  #prepared = false;
  #running: Promise<void> | undefined;

  constructor(settings: ShipSettings, components: ShipComponents) {
    this.#settings = settings;
    this.#parts = components;
    const { fs, clock, writer, image, logger } = components;
    this.writer = writer;
    this.#image = new Image(image);
    this.#shipped = new Shipped(image);
    this.#holds = new Holds(logger);
    this.#links = new Links(fs, settings.layout);
    this.#barriers = new Waiters(clock);
    this.#groupCommit = new GroupCommit(clock, this.#barriers);
    this.#buffers = new Buffers(settings.entryBodyBytesMax);
    const listings = new Listings(fs, clock);
    this.#companionFinder = new CompanionFinder(
      fs,
      listings,
      settings.layout,
      (name) => parseFileName(name) !== undefined,
    );
    this.#databases = settings.layout.databases.map(
      (location) =>
        new ShippedDatabase(location, {
          tools: components,
          links: this.#links,
          listings,
          shipped: this.#shipped,
          pieceBytesMax: Packer.bytesMax(settings.entryBodyBytesMax),
          onHold: (hold) => this.#holds.raise(hold),
          onTrouble: (message) => (this.#trouble = message),
          onSeen: (bytes) => this.#lag.saw(bytes, clock.monotonicMs()),
          onWaived: (bytes) => this.#lag.settled(bytes),
        }),
    );
    this.#emitter = new Emitter(writer, this.#shipped, {
      signal: this.#life.signal,
      onDurable: (draft, appended) => this.#durable(draft, appended),
    });
    this.#uploader = new Uploader(components, new FileDigests(fs), this.#shipped, settings.transfer.parallel);
    this.#snapshotter = new Snapshotter({
      tools: components,
      image: this.#image,
      store: components.snapshots,
      baseAfterSlots: settings.baseAfterSlots,
      baseAfterBytes: settings.baseAfterBytes,
      toLocal: (file) => this.#databases.map((database) => database.toLocal(file)).find((path) => path !== undefined),
    });
    this.#checkpoints = new Checkpoints({
      settings,
      tools: components,
      emitter: this.#emitter,
      planSource: { fs, links: this.#links, listings, shipped: this.#shipped },
      groupParts: { ...this.#walParts(), all: this.#databases, shipped: this.#shipped, uploader: this.#uploader },
      holds: this.#holds,
      snapshots: this.#snapshotter,
      onReady: () => this.#pacer.wake(),
    });
    this.#pacer = new Pacer(fs, clock, {
      maxDelayMs: settings.wal.maxDelayMs,
      directories: () => this.#directories(),
      peek: () => this.#peek(),
      urgent: () => this.#urgent,
    });
    this.#keeper = new Keeper(clock, {
      databases: this.#databases,
      links: this.#links,
      maxDelayMs: settings.wal.maxDelayMs,
      maxSpoolBytes: settings.wal.maxSpoolBytes,
      groupOpen: () => this.#emitter.groupOpen,
      giveUpCheckpoint: () => this.#checkpoints.giveUp(),
      onTrouble: (message) => (this.#trouble = message),
    });
    this.#holds.raise({ reason: "Start", message: `epoch ${writer.epoch} begins` });
  }

  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#life.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      // Finished: there is nothing more to run.
      if (this.#finished) return;
      await this.#prepare();
      this.#running = this.#loop();
      await this.#running;
    } catch (error) {
      // What can't begin (a database on another file system) may begin later; what was begun ends with its epoch.
      if (this.#running !== undefined || this.#life.signal.aborted) await this.#end(error);
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async barrier(signal: AbortSignal): Promise<Barrier> {
    this.#refuseIfOver();
    const served = this.#barriers.wait(signal);
    this.#pacer.wake();
    const { value, waitedMs } = await served;
    this.#parts.metrics.barrierServed(waitedMs);
    return { position: value, waitedMs };
  }

  async checkpoint(reason: CheckpointReason, signal: AbortSignal): Promise<Position> {
    this.#refuseIfOver();
    const served = this.#checkpoints.request(reason, signal);
    this.#pacer.wake();
    return (await served).value;
  }

  masterStarting(): void {
    this.#holds.raise({ reason: "Reopen", message: "the master starts" });
    this.#pacer.wake();
  }

  async finish(signal: AbortSignal): Promise<Position> {
    this.#refuseIfOver();
    const onAbort = (): void => this.#life.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      this.#finishing = true;
      this.#pacer.wake();
      await this.#running;
      await this.#shipTheRest();
      this.#finished = true;
      const error = new MetaMasterError("ShippingEnded", "invalid", "Everything was shipped; the master has ended.", {
        hint: "Nothing can be written here until this member leads again.",
      });
      await this.#end(error);
      return this.writer.position;
    } catch (error) {
      await this.#end(error);
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  get status(): ShipStatus {
    return {
      durable: this.writer.position,
      durableLagSeconds: this.#lag.seconds(this.#parts.clock.monotonicMs()),
      durableLagBytes: this.#lag.bytes,
      spoolBytes: this.#keeper.spoolBytes,
      lastCheckpointSlot: this.#checkpoints.lastSlot,
      lastCheckpointWallMs: this.#checkpoints.lastWallMs,
      gaps: this.#holds.gaps,
      trouble: this.#trouble ?? this.#uploader.trouble ?? this.#checkpoints.trouble,
    };
  }

  /** An entry that another part of the primary made durable (a trim changes what the image counts as garbage). */
  othersDurable(draft: Draft, appended: Appended): void {
    if (draft.kind !== "wal" && draft.kind !== "checkpoint") this.#fold(draft, appended);
  }

  /** The durable image, with every entry of this epoch; for the collector. */
  get image(): ImageState {
    return this.#image.state();
  }

  /** Objects that are stored and that no entry refers to yet: a collector must leave them alone. */
  pinnedKeys(): readonly string[] {
    return [...this.#uploader.pinnedKeys(), ...this.#snapshotter.pinnedKeys()];
  }

  get #urgent(): boolean {
    return this.#finishing || this.#barriers.any || this.#checkpoints.urgent || this.#holds.current !== undefined;
  }

  async #loop(): Promise<void> {
    const { signal } = this.#life;
    const keeper = this.#keeper.run(signal);
    keeper.catch(() => undefined);
    while (!this.#finishing) {
      const startedMs = this.#parts.clock.monotonicMs();
      const outcome = await this.#round();
      if (this.#finishing) break;
      await this.#pacer.pause(outcome, startedMs, signal);
    }
    this.#keeper.stop();
    await keeper;
  }

  async #prepare(): Promise<void> {
    if (this.#prepared) return;
    const kept = await this.#links.prepare((_, file) => parseFileName(file)?.type === "wal");
    for (const database of this.#databases) {
      for (const name of kept.get(database.name) ?? []) await database.wals.adoptLeftover(name);
    }
    this.#prepared = true;
  }

  /** One cut, shipped. Serves every barrier that was asked for before its cut. Throws only what ends the epoch. */
  async #round(): Promise<"shipped" | "nothing" | "failed"> {
    await this.#emitter.room();
    // The later the cut, the more callers it serves; an entry worth encoding while another is in flight is not held up.
    const more = this.#emitter.busy || this.#groupCommit.expectsMore;
    if (this.#barriers.any && more && (await this.#peek()) < GATHER_BYTES_MAX) {
      await this.#emitter.quiet();
      await this.#groupCommit.gather(this.#life.signal);
    }
    this.#checkAlive();
    const callers = this.#barriers.take();
    const emittedBefore = this.#emittedBytes;
    this.#keeper.roundBegins();
    try {
      const complete = await this.#ship();
      if (!complete) {
        this.#barriers.putBack(callers);
        return "shipped";
      }
      const absent = this.#databases.find((database) => database.absent !== undefined)?.absent;
      if (absent === undefined) void this.#answer(callers);
      else rejectAll(callers, barrierFailed(absent));
      this.#trouble = absent === undefined ? undefined : messageWithHint(absent);
      return this.#emittedBytes > emittedBefore ? "shipped" : "nothing";
    } catch (error) {
      rejectAll(callers, barrierFailed(error));
      this.#checkAlive();
      if (hasCode(error, "GroupUnfinished")) throw error;
      this.#trouble = messageWithHint(error);
      this.#parts.logger.warn({ err: error }, "Shipping met trouble and tries again.");
      return "failed";
    }
  }

  /**
   * Everything of the cut is with the writer: durable once all that was emitted so far is. This is also right when the round had nothing to
   * emit: then every whole record that was on the disk when the caller asked is in entries that are durable, or on their way, in this
   * epoch's chain; a foreign claim after them does not take them back, and one before them makes `settled` reject.
   */
  async #answer(callers: Batch<Position>): Promise<void> {
    try {
      await this.#emitter.settled();
      if (callers.length > 0) this.#groupCommit.answering(callers.length);
      resolveAll(callers, this.writer.position);
      for (const database of this.#databases) await database.wals.tidy();
    } catch (error) {
      rejectAll(callers, barrierFailed(error));
    }
  }

  /** False if WAL came to be held on the way. */
  async #ship(): Promise<boolean> {
    const { signal } = this.#life;
    for (let move = 1; ; move++) {
      try {
        const cut = await this.#cut();
        const hold = this.#holds.current;
        if (hold !== undefined) {
          await this.#checkpoints.held(cut, this.#databases, hold.reason, signal);
          this.#companions = cut.cut.companions;
          this.#throwProblems();
          return this.#holds.current === undefined;
        }
        return await this.#shipCut(cut);
      } catch (error) {
        if (!(error instanceof CutMoved)) throw error;
        if (move >= MOVES_MAX) throw unsettled(MOVES_MAX, error);
      }
    }
  }

  async #shipCut(cut: ObservedCut): Promise<boolean> {
    const { signal } = this.#life;
    const binding = this.#databases.filter((database) => database.binds);
    const companions = this.#companions === undefined || !sameListing(this.#companions, cut.cut.companions);
    if (binding.length > 0 || companions) {
      await this.#checkpoints.binding(cut, binding, companions, signal);
      this.#companions = cut.cut.companions;
    } else {
      const held = (): boolean => this.#holds.version !== cut.holds;
      if (!(await shipWal(this.#databases, cut.cut, this.#walParts(), held))) return false;
    }
    this.#throwProblems();
    if (this.#databases.some((database) => database.manifestGrew)) this.#checkpoints.manifestGrew();
    if (!this.#finishing) await this.#checkpoints.after(cut, this.#databases, signal);
    return true;
  }

  /** Repeated until no hold was raised while it was taken: what holds it names, it takes account of. */
  async #cut(): Promise<ObservedCut> {
    const { clock } = this.#parts;
    const { signal } = this.#life;
    const source = { companions: () => this.#companionFinder.list(), databases: this.#databases };
    for (let move = 1; move <= MOVES_MAX; move++) {
      const holds = this.#holds.version;
      this.#checkpoints.cutBegins();
      const cut = await takeCut(source, clock, signal);
      for (const [index, database] of this.#databases.entries()) {
        const part = cut.databases[index];
        if (part !== undefined) await database.observe(part, signal);
      }
      this.#indexWalFiles();
      if (holds === this.#holds.version) return { cut, holds };
    }
    throw unsettled(MOVES_MAX, undefined);
  }

  /** Damage keeps what follows it from being shipped, and a barrier from being promised, until the master's own flush is past it. */
  #throwProblems(): void {
    for (const { wals } of this.#databases) {
      const problem = wals.problem();
      if (problem !== undefined) throw problem;
      const unclear = wals.unclear();
      if (unclear !== undefined && !this.#finishing) {
        throw new MetaMasterError("WalTailUnclear", "transient", `${unclear}; what follows it can't be shipped yet.`, {
          hint: "If it stays so, the disk or the master damaged its WAL; the next flush of the master gets past it.",
        });
      }
    }
  }

  /** The master is dead: its last whole records, then a checkpoint if anything came since the last one. */
  async #shipTheRest(): Promise<void> {
    const { signal } = this.#life;
    await this.#prepare();
    for (;;) {
      for (const database of this.#databases) database.wals.masterEnded();
      const outcome = await this.#round();
      if (outcome !== "failed" && this.#holds.current === undefined) break;
      await this.#pacer.pause(outcome, this.#parts.clock.monotonicMs(), signal);
    }
    if (this.#checkpoints.changed) await this.#stopCheckpoint();
    await this.#emitter.settled();
    await this.#checkpoints.settled();
    for (const database of this.#databases) await database.wals.tidy();
  }

  async #stopCheckpoint(): Promise<void> {
    const { signal } = this.#life;
    for (;;) {
      try {
        const cut = await this.#cut();
        await this.#checkpoints.held(cut, this.#databases, "Stop", signal);
        return;
      } catch (error) {
        this.#checkAlive();
        if (hasCode(error, "GroupUnfinished")) throw error;
        this.#trouble = messageWithHint(error);
        this.#parts.logger.warn({ err: error }, "The last checkpoint failed and is tried again.");
        await this.#pacer.pause("failed", this.#parts.clock.monotonicMs(), signal);
      }
    }
  }

  async #end(error: unknown): Promise<void> {
    this.#life.abort(error);
    this.#keeper.stop();
    rejectAll(this.#barriers.take(), barrierFailed(error));
    await this.#checkpoints.stop(error);
    for (const database of this.#databases) await database.close();
  }

  #durable(draft: Draft, appended: Appended): void {
    this.#fold(draft, appended);
    this.#groupCommit.putTook(this.#parts.clock.monotonicMs() - appended.sentMs);
    for (const operation of draft.operations) {
      if (operation.type !== "append") continue;
      const file = this.#walFiles.get(operation.file);
      if (file === undefined) continue;
      file.durable = operation.offset + operation.bytes.length;
      this.#lag.settled(operation.bytes.length);
    }
  }

  #fold(draft: Draft, appended: Appended): void {
    this.#image.push(entryOf(draft, appended, this.writer));
    this.#snapshotter.wrote(appended);
  }

  #indexWalFiles(): void {
    this.#walFiles.clear();
    for (const { wals } of this.#databases) for (const file of wals.files) this.#walFiles.set(file.file, file);
  }

  #walParts(): {
    emitter: Emitter;
    buffers: Buffers;
    bodyBytesMax: number;
    onShipped: (database: string, bytes: number) => void;
  } {
    return {
      emitter: this.#emitter,
      buffers: this.#buffers,
      bodyBytesMax: this.#settings.entryBodyBytesMax,
      onShipped: (database, bytes) => {
        this.#emittedBytes += bytes;
        this.#checkpoints.walShipped(bytes);
        this.#parts.metrics.walShipped(database, bytes);
      },
    };
  }

  async #peek(): Promise<number> {
    let bytes = 0;
    for (const { wals } of this.#databases) bytes += await wals.peek();
    return bytes;
  }

  #directories(): string[] {
    const own = directoriesOf(this.#settings.layout.databases);
    return [...new Set([...own, ...this.#companionFinder.roots()])];
  }

  #refuseIfOver(): void {
    if (this.#life.signal.aborted) throw barrierFailed(this.#life.signal.reason);
    this.#checkAlive();
  }

  /** Throws what ends this epoch, if it has ended. */
  #checkAlive(): void {
    if (this.writer.fenced !== undefined) throw this.writer.fenced;
    this.#life.signal.throwIfAborted();
    this.#emitter.check();
  }
}

/** Header fields that folding does not look at are left empty. */
function entryOf(draft: Draft, { position, size }: Appended, writer: LogWriter): ReadEntry {
  const header = {
    version: 1 as const,
    cluster: "",
    slot: position.slot,
    epoch: writer.epoch,
    kind: draft.kind,
    previous: "",
    writer: writer.writer,
    wallTimeMs: 0,
    more: draft.more,
    sequences: draft.sequences,
  };
  return { header, operations: draft.operations, position, size };
}
