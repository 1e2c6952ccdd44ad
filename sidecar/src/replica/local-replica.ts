import type { Position } from "../formats/entry.js";
import { Image } from "../formats/image-fold.js";
import type { ImageState } from "../formats/image.js";
import { DiskImage } from "./disk-image.js";
import { DiskFollower } from "./follow.js";
import type { Follower, Reconciled } from "./replica.js";
import { Reconciler, type ReconcileParts, type ReconcileResult, type ReconcileSettings } from "./reconcile.js";
import { claimedImage, sealDisk } from "./seal.js";

/** One member's disk as the member uses it: compare it with the log, follow, or make it ready for a master. */
export class LocalReplica {
  readonly #parts: ReconcileParts;
  readonly #reconciler: Reconciler;
  #last: ReconcileResult | undefined;
  /** The last follower could not go on from where the disk is. */
  #leftBehind = false;

  constructor(parts: ReconcileParts, settings: ReconcileSettings) {
    this.#parts = parts;
    this.#reconciler = new Reconciler(parts, settings);
  }

  async reconcile(signal: AbortSignal): Promise<Reconciled> {
    this.#last = undefined;
    this.#last = await this.#reconciler.run(signal, this.#leftBehind);
    this.#leftBehind = false;
    return this.#last.reconciled;
  }

  /** `image` is the last `Following` one, or the empty one. */
  makeFollower(image: ImageState): Follower {
    const { tools, store, run } = this.#parts;
    const identities = this.#last?.identities ?? new Map<never, never>();
    const onLeftBehind = (): void => {
      this.#leftBehind = true;
    };
    return new DiskFollower({ tools, store, run, image, identities, onLeftBehind });
  }

  /** For a disk that is `Ahead` or `Adoptable`, after our own claim: a master may open it, and what it holds beyond `image` is shipped first. */
  async sealAhead(image: ImageState, claim: Position, epoch: number): Promise<ImageState> {
    const { tools, store, run } = this.#parts;
    const disk = new DiskImage(tools, new Map());
    await disk.staging.clear();
    const claimed = claimedImage(new Image(image), claim, epoch);
    await sealDisk({ tools, store, run, image: claimed, claim, epoch, disk, exact: false });
    return claimed;
  }
}
