import { MetaMasterError, hasCode, isKind, messageOf } from "../base/errors.js";
import { MIB, type ImagePath, type Position, type ReadEntry } from "../formats/entry.js";
import type { ImageState } from "../formats/image.js";
import { DiskImage } from "./disk-image.js";
import { EntryStream } from "./entry-stream.js";
import { ImageFolder, type Effect } from "./groups.js";
import type { Follower } from "./replica.js";
import { claimedImage, sealDisk } from "./seal.js";
import { Turn } from "./ship/turn.js";
import type { LocalIdentity, StateStore } from "./state.js";
import type { ReplicaTools, RunIdentity } from "./tools.js";

/** One poll takes at most so much, so that its caller hears of what was read while a long way is caught up. */
const POLL_ENTRIES = 64;
const POLL_BYTES = 32 * MIB;
/** Bytes applied after which the state is saved without being asked: what a crash costs at most to apply again. */
const SAVE_BYTES = 64 * MIB;

export interface FollowerParts {
  readonly tools: ReplicaTools;
  readonly store: StateStore;
  readonly run: RunIdentity;
  /** What the disk holds, exactly and durably. */
  readonly image: ImageState;
  readonly identities: ReadonlyMap<ImagePath, LocalIdentity>;
  /** The bucket does not hold any more what it takes to follow from here: go on from its newest snapshot. */
  readonly onLeftBehind: () => void;
}

/** Follower of replica.ts: applies entries to the disk in the order in which a crash at any point does no harm (disk-image.ts). */
export class DiskFollower implements Follower {
  readonly #parts: FollowerParts;
  readonly #stream: EntryStream;
  readonly #folder: ImageFolder;
  readonly #disk: DiskImage;
  readonly #identities: Map<ImagePath, LocalIdentity>;
  readonly #turn = new Turn();
  /** Folded in and not on the disk yet; more than one only after something failed. */
  readonly #batches: (readonly Effect[])[] = [];
  /** Read, and not returned by a poll yet. */
  #unreported: ReadEntry[] = [];
  #image: ImageState;
  #savedSlot: number;
  #fetched = true;
  /** Why this follower is of no further use. */
  #broken: unknown;

  constructor(parts: FollowerParts) {
    const { tools, image } = parts;
    this.#parts = parts;
    this.#stream = new EntryStream(tools.reader, tools.clock, image.position);
    this.#folder = new ImageFolder(tools.reader, image);
    this.#disk = new DiskImage(tools, image.files);
    this.#identities = new Map(parts.identities);
    this.#image = image;
    this.#savedSlot = image.position.slot;
  }

  get image(): ImageState {
    if (this.#batches.length === 0 && this.#image.position !== this.#folder.image.position)
      this.#image = this.#folder.image.state();
    return this.#image;
  }

  get seen(): Position {
    return this.#stream.position;
  }

  poll(signal: AbortSignal): Promise<readonly ReadEntry[]> {
    return this.#turn.take(async () => {
      try {
        await this.#advance(signal);
      } catch (error) {
        // A table may be deleted long before the entry that names it: by then every kept snapshot does without it.
        if (hasCode(error, "TrimmedAway") || hasCode(error, "TableMissing")) this.#parts.onLeftBehind();
        // What was read is told first; what failed is tried again, and thrown then, by the next call.
        if (this.#unreported.length === 0 || signal.aborted) throw error;
        this.#parts.tools.logger.debug({ err: error }, `a poll ended early: ${messageOf(error)}`);
      }
      const entries = this.#unreported;
      this.#unreported = [];
      return entries;
    });
  }

  save(): Promise<void> {
    return this.#turn.take(() => this.#save());
  }

  seal(claim: Position, epoch: number): Promise<ImageState> {
    return this.#turn.take(async () => {
      this.#check();
      if (this.#batches.length > 0) {
        throw new MetaMasterError("ApplyPending", "transient", "entries that were read are not on this disk yet", {
          hint: "It is tried again.",
        });
      }
      await this.#save();
      await this.#disk.close();
      // Whoever polls on after this has misunderstood: the disk is the master's now.
      this.#broken = new MetaMasterError(
        "FollowerSealed",
        "invalid",
        "this follower has given its disk to the master",
        {
          hint: "This is a defect of MetaMaster: report it.",
        },
      );
      const { tools, store, run } = this.#parts;
      const image = claimedImage(this.#folder.image, claim, epoch);
      await sealDisk({ tools, store, run, image, claim, epoch, disk: this.#disk, exact: true });
      this.#image = image;
      return image;
    });
  }

  async #advance(signal: AbortSignal): Promise<void> {
    this.#check();
    await this.#applyPending(signal);
    let bytes = 0;
    for (let count = 0; count < POLL_ENTRIES && bytes < POLL_BYTES; count++) {
      const entry = await this.#stream.next(signal);
      if (entry === undefined) return this.#atEnd();
      this.#unreported.push(entry);
      bytes += entry.size;
      await this.#take(entry, signal);
    }
  }

  async #take(entry: ReadEntry, signal: AbortSignal): Promise<void> {
    let effects: readonly Effect[];
    try {
      effects = this.#folder.push(entry);
    } catch (error) {
      this.#broken = error;
      throw error;
    }
    if (effects.length > 0) this.#batches.push(effects);
    else if (entry.header.more) await this.#prefetch(entry, signal);
    await this.#applyPending(signal);
    if (this.#disk.unsavedBytes >= SAVE_BYTES || this.#disk.saveSoon) await this.#save();
  }

  async #applyPending(signal: AbortSignal): Promise<void> {
    for (;;) {
      const [batch] = this.#batches;
      if (batch === undefined) return;
      this.#fetched = true;
      await this.#disk.apply(batch, signal);
      this.#batches.shift();
    }
  }

  /** Tables of a group that is not complete yet: they are there when it is. */
  async #prefetch(entry: ReadEntry, signal: AbortSignal): Promise<void> {
    this.#fetched = true;
    try {
      await this.#disk.prefetch(entry.operations, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      this.#parts.tools.logger.warn(
        { err: error },
        `tables could not be fetched ahead, they are tried again: ${messageOf(error)}`,
      );
    }
  }

  /** No entry to come can want what was fetched and not used (a group that a claim made void). */
  async #atEnd(): Promise<void> {
    if (!this.#fetched || this.#stream.position.slot !== this.#folder.image.position.slot) return;
    await this.#disk.fetcher.clear();
    this.#fetched = false;
  }

  async #save(): Promise<void> {
    this.#check();
    const { position, epoch } = this.#folder.image;
    if (this.#batches.length > 0 || position.slot === this.#savedSlot) return;
    const { tools, store, run } = this.#parts;
    try {
      await this.#disk.sync();
    } catch (error) {
      throw this.#lost(error);
    }
    await this.#disk.updateIdentities(this.#identities);
    await store.write({
      cluster: tools.reader.cluster.uid,
      member: run.member,
      runs: [run.nonce],
      role: "follower",
      epoch,
      claim: undefined,
      bootId: run.bootId,
      image: this.#folder.image.state(),
      identities: this.#identities,
    });
    this.#savedSlot = position.slot;
    await this.#disk.saved();
  }

  /**
   * After a failed fsync the kernel may have dropped what it could not write, and the next fsync succeeds without it: nothing applied since the
   * last saved state may be believed. Of kind conflict, since the way out is to compare with the log again.
   */
  #lost(error: unknown): MetaMasterError {
    const lost = new MetaMasterError(
      "SyncFailed",
      "conflict",
      `What was applied could not be made durable: ${messageOf(error)}`,
      {
        cause: error,
        hint: "The files are set back to the last saved state and followed from there. If it lasts the disk is full or failing.",
      },
    );
    if (isKind(error, "invalid")) return lost;
    this.#broken = lost;
    return lost;
  }

  #check(): void {
    if (this.#broken !== undefined) throw this.#broken;
  }
}
