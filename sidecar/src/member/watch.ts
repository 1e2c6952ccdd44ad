import type { Position, ReadEntry } from "../formats/entry.js";
import { Image } from "../formats/image-fold.js";
import type { ImageState } from "../formats/image.js";
import type { LogReader } from "../log/log.js";
import type { Follower, Reconciled } from "../replica/replica.js";

/** What a standby watches the log with: a follower, or, where the disk holds more than the log, a mere look at its end. */
export interface Watch {
  readonly reconciled: Reconciled["state"];
  /** The last entry read: where a claim would follow. */
  readonly end: Position;
  readonly epoch: number;
  readonly image: ImageState;
  /** The log went on in a way that the disk can't follow: compare again. */
  readonly stale: boolean;
  /** Entries in order; [] : the end was looked at and nothing was there. */
  poll(signal: AbortSignal): Promise<readonly ReadEntry[]>;
  save(): Promise<void>;
  /** After our own claim: the image that the master will open. */
  seal(claim: Position, epoch: number): Promise<ImageState>;
}

export class FollowerWatch implements Watch {
  readonly reconciled: "Empty" | "Following";
  readonly #follower: Follower;

  constructor(reconciled: "Empty" | "Following", follower: Follower) {
    this.reconciled = reconciled;
    this.#follower = follower;
  }

  get end(): Position {
    return this.#follower.seen;
  }

  get epoch(): number {
    return this.#follower.image.epoch;
  }

  get image(): ImageState {
    return this.#follower.image;
  }

  get stale(): boolean {
    return false;
  }

  poll(signal: AbortSignal): Promise<readonly ReadEntry[]> {
    return this.#follower.poll(signal);
  }

  save(): Promise<void> {
    return this.#follower.save();
  }

  seal(claim: Position, epoch: number): Promise<ImageState> {
    return this.#follower.seal(claim, epoch);
  }
}

function changesImage({ header }: ReadEntry): boolean {
  return header.kind === "claim" || ((header.kind === "wal" || header.kind === "checkpoint") && !header.more);
}

export type SealAhead = (image: ImageState, claim: Position, epoch: number) => Promise<ImageState>;

/** For `Ahead` and `Adoptable`: nothing is applied, since the disk holds what is not in the log yet. */
export class TailWatch implements Watch {
  readonly reconciled: "Ahead" | "Adoptable";
  readonly #reader: LogReader;
  readonly #image: ImageState;
  readonly #seal: SealAhead;
  /** Behind the image; between the parts of an unfinished group they take effect with the claim. */
  readonly #trims: ReadEntry[] = [];
  #end: Position;
  #stale = false;

  constructor(reconciled: "Ahead" | "Adoptable", image: ImageState, reader: LogReader, seal: SealAhead) {
    this.reconciled = reconciled;
    this.#reader = reader;
    this.#image = image;
    this.#seal = seal;
    this.#end = image.position;
  }

  get end(): Position {
    return this.#end;
  }

  get epoch(): number {
    return this.#image.epoch;
  }

  get image(): ImageState {
    return this.#image;
  }

  get stale(): boolean {
    return this.#stale;
  }

  async poll(signal: AbortSignal): Promise<readonly ReadEntry[]> {
    const entries: ReadEntry[] = [];
    // Behind the image may stand an unfinished group of our own epoch, which our claim makes void, and entries that carry nothing. Anything
    // else means that the image isn't the log's end.
    for (;;) {
      const entry = await this.#reader.next(this.#end, signal);
      if (entry === undefined) return entries;
      entries.push(entry);
      this.#end = entry.position;
      if (entry.header.kind === "trim") this.#trims.push(entry);
      if (changesImage(entry) || entry.header.epoch !== this.#image.epoch) {
        this.#stale = true;
        return entries;
      }
    }
  }

  async save(): Promise<void> {
    // Nothing was applied.
  }

  seal(claim: Position, epoch: number): Promise<ImageState> {
    const image = new Image(this.#image);
    for (const trim of this.#trims) image.push(trim);
    return this.#seal(image.state(), claim, epoch);
  }
}
