import { MetaMasterError } from "../base/errors.js";
import type { ImagePath, Operation, Position } from "../formats/entry.js";
import { oldestSlotNeeded } from "../formats/image-fold.js";
import type { ImageFile, ImageState } from "../formats/image.js";
import { EntryStream } from "./entry-stream.js";
import { ImageFolder, type Effect } from "./groups.js";
import { isBeyond, isReached, type RestoreTarget } from "./restore-target.js";
import type { ReplicaTools } from "./tools.js";

/** Takes the bytes of append operations, in order. */
export interface AppendSink {
  append(file: ImagePath, offset: number, bytes: Uint8Array): Promise<void>;
}

/**
 * One pass over the log: from the oldest slot that a WAL or MANIFEST of the base needs, to the target. Gives the bytes of append operations to
 * the sink as they come, and folds what comes after the base into its image. Bytes of a group that never takes effect are among them: those that do come
 * later at the same place, or none do, and then they lie beyond the file's size. Not where a group begins a file anew that there is already: that file's bytes wait
 * for the group's end.
 */
export class LogReplay {
  readonly #tools: ReplicaTools;
  /** Undefined: fold only. */
  readonly #sink: AppendSink | undefined;
  readonly #base: ImageState;
  readonly #target: RestoreTarget;
  readonly #folder: ImageFolder;
  /** Bytes of each append file that were given to the sink (or are its base's), from 0 on. */
  readonly #covered = new Map<ImagePath, number>();
  /** Files that an unfinished group begins anew. */
  readonly #restarted = new Set<ImagePath>();
  #seen: Position;

  constructor(tools: ReplicaTools, sink: AppendSink | undefined, base: ImageState, target: RestoreTarget) {
    this.#tools = tools;
    this.#sink = sink;
    this.#seen = base.position;
    this.#base = base;
    this.#target = target;
    this.#folder = new ImageFolder(tools.reader, base);
    for (const [path, file] of base.files) if (file.kind === "append") this.#covered.set(path, file.base?.size ?? 0);
  }

  /** The image at the target. Throws `LogGap`, `ChainBroken`, `ImageIncomplete` (corrupt), `TargetNotReached` (invalid). */
  async run(signal: AbortSignal): Promise<ImageState> {
    await this.#old(signal);
    this.#restarted.clear();
    await this.#new(signal);
    const image = this.#folder.image.state();
    if (this.#target.kind === "slot" && this.#seen.slot < this.#target.slot) {
      throw new MetaMasterError(
        "TargetNotReached",
        "invalid",
        `The log ends at slot ${this.#seen.slot}, before slot ${this.#target.slot}.`,
        {
          hint: "See `metamaster log list` for what there is.",
          details: { slot: this.#seen.slot },
        },
      );
    }
    if (this.#sink !== undefined) this.#checkCovered(image);
    return image;
  }

  /** The slots up to the base: only bytes of its WALs and MANIFESTs. */
  async #old(signal: AbortSignal): Promise<void> {
    const { reader, clock, progress } = this.#tools;
    const { position, files } = this.#base;
    const oldest = oldestSlotNeeded(this.#base);
    if (this.#sink === undefined || oldest > position.slot) return;
    const first = await reader.read(oldest, signal);
    if (first === undefined) throw gap(oldest, position.slot);
    const stream = new EntryStream(reader, clock, { slot: oldest - 1, chain: first.header.previous });
    for (let slot = oldest; slot <= position.slot; slot++) {
      const entry = await stream.next(signal);
      if (entry === undefined) throw gap(slot, position.slot);
      if (entry.header.kind === "claim") this.#restarted.clear();
      for (const operation of entry.operations) {
        if (operation.type !== "append") continue;
        const file = files.get(operation.file);
        if (file?.kind !== "append" || slot < file.firstSlot) continue;
        // Had it taken effect the file would have a later first slot.
        if (!this.#restarts(operation)) await this.#append(operation, file.base?.size ?? 0);
      }
      progress.report("log", slot - oldest + 1, position.slot - oldest + 1);
    }
    checkChain(stream.position, position);
  }

  async #new(signal: AbortSignal): Promise<void> {
    const { reader, clock } = this.#tools;
    const stream = new EntryStream(reader, clock, this.#base.position);
    // What lies behind the target is not looked at: damage there may be the very reason for the restore.
    while (!isReached(this.#target, stream.position)) {
      const entry = await stream.next(signal);
      if (entry === undefined) return;
      if (isBeyond(this.#target, entry)) return;
      const effects = this.#folder.push(entry);
      this.#seen = entry.position;
      const { kind } = entry.header;
      if (kind === "claim") this.#restarted.clear();
      const open = effects.length === 0;
      for (const operation of entry.operations) {
        if (operation.type !== "append") continue;
        if (open ? this.#restarts(operation) : this.#restarted.has(operation.file)) continue;
        await this.#append(operation, baseSizeOf(this.#base, operation.file));
      }
      if (kind === "wal" || kind === "checkpoint") await this.#begunAnew(effects, signal);
    }
  }

  /** Is it part of a file that its group, not known to take effect, begins in the place of another? */
  #restarts({ file, offset }: AppendOperation): boolean {
    if (offset === 0 && (this.#covered.get(file) ?? 0) > 0) this.#restarted.add(file);
    return this.#restarted.has(file);
  }

  /** The group has taken effect: what waited for it. */
  async #begunAnew(effects: readonly Effect[], signal: AbortSignal): Promise<void> {
    if (effects.length === 0 || this.#restarted.size === 0) return;
    for (const effect of effects) {
      const waits = effect.entry.operations.some((each) => each.type === "append" && this.#restarted.has(each.file));
      for (const operation of waits ? (await effect.load(signal)).operations : []) {
        if (operation.type === "append" && this.#restarted.has(operation.file)) await this.#append(operation, 0);
      }
    }
    this.#restarted.clear();
  }

  async #append({ file, offset, bytes }: AppendOperation, baseSize: number): Promise<void> {
    if (this.#sink === undefined) return;
    const covered = this.#covered.get(file) ?? 0;
    if (offset > covered) throw holeIn(file, covered, offset);
    // At offset 0 the next file of that name begins.
    this.#covered.set(file, Math.max(offset === 0 ? 0 : baseSize, offset + bytes.length));
    await this.#sink.append(file, offset, bytes);
  }

  #checkCovered(image: ImageState): void {
    for (const [path, file] of image.files) {
      const covered = this.#covered.get(path) ?? 0;
      if (file.kind === "append" && covered < file.size) throw holeIn(path, covered, file.size);
    }
  }
}

/** The objects that hold the beginnings of append files. */
export function basesOf(
  image: ImageState,
): { readonly path: ImagePath; readonly base: NonNullable<AppendFile["base"]> }[] {
  return [...image.files].flatMap(([path, file]) =>
    file.kind === "append" && file.base !== undefined ? [{ path, base: file.base }] : [],
  );
}

function baseSizeOf(image: ImageState, path: ImagePath): number {
  const file = image.files.get(path);
  return file?.kind === "append" ? (file.base?.size ?? 0) : 0;
}

type AppendOperation = Extract<Operation, { type: "append" }>;
type AppendFile = Extract<ImageFile, { kind: "append" }>;

function checkChain(found: Position, wanted: Position): void {
  if (found.slot === wanted.slot && found.chain === wanted.chain) return;
  throw new MetaMasterError(
    "ChainBroken",
    "corrupt",
    `The log's entry in slot ${found.slot} is not the one that the snapshot was taken at.`,
    {
      hint: "The bucket holds two histories mixed: something besides MetaMaster wrote or restored objects. Run `metamaster verify`.",
      details: { slot: found.slot, found: found.chain, wanted: wanted.chain },
    },
  );
}

function gap(slot: number, end: number): MetaMasterError {
  return new MetaMasterError(
    "LogGap",
    "corrupt",
    `The entry in slot ${slot} is missing, and the snapshot at slot ${end} needs it.`,
    {
      hint: "Something deleted it: bring it back from the bucket's versions, or restore from another snapshot.",
      details: { slot },
    },
  );
}

function holeIn(path: ImagePath, from: number, to: number): MetaMasterError {
  return new MetaMasterError(
    "ImageIncomplete",
    "corrupt",
    `The log does not hold the bytes ${from} to ${to} of ${path}.`,
    {
      hint: "Run `metamaster verify` on the bucket and report this: a writer broke a rule, or entries were deleted.",
      details: { file: path, from, to },
    },
  );
}
