import { MetaMasterError } from "../base/errors.js";
import type { ImagePath, Operation, Position, ReadEntry } from "./entry.js";
import type { ImageFile, ImageState } from "./image.js";

function invalid(slot: number, reason: string): MetaMasterError {
  return new MetaMasterError(
    "HistoryInvalid",
    "corrupt",
    `the entry in slot ${slot} can't follow what came before: ${reason}`,
    {
      details: { slot },
      hint: "Run `metamaster verify` on the bucket and report this: a writer broke a rule.",
    },
  );
}

/** The state of all files, advanced entry by entry. Every operation is checked against what is there (docs/decisions/0004). */
export class Image {
  #position: Position;
  #epoch: number;
  readonly #files: Map<ImagePath, ImageFile>;
  readonly #sequences: Map<string, string>;
  readonly #garbage: Map<string, number>;
  readonly #users = new Map<string, number>();
  readonly #group = new GroupAssembler();

  constructor(state: ImageState) {
    this.#position = state.position;
    this.#epoch = state.epoch;
    this.#files = new Map(state.files);
    this.#sequences = new Map(state.sequences);
    this.#garbage = new Map(state.garbage);
    for (const file of this.#files.values()) if (file.kind === "table") this.#use(file.key);
  }

  /** The last entry that was folded in; entries of an open group count only with its last. */
  get position(): Position {
    return this.#position;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get files(): ReadonlyMap<ImagePath, ImageFile> {
    return this.#files;
  }

  /** A copy that later entries don't change. */
  state(): ImageState {
    return {
      position: this.#position,
      epoch: this.#epoch,
      files: new Map(this.#files),
      sequences: new Map(this.#sequences),
      garbage: new Map(this.#garbage),
    };
  }

  /** Takes the next entry in. Returns the entries that took effect with it: none while a group is open, several when it closes. */
  push(entry: ReadEntry): readonly ReadEntry[] {
    const { slot, epoch, kind } = entry.header;
    if (kind === "claim" ? epoch !== this.#epoch + 1 : epoch !== this.#epoch) {
      throw invalid(slot, `epoch ${epoch} (${kind}) follows epoch ${this.#epoch}`);
    }
    const effective = this.#group.push(entry);
    for (const part of effective) {
      for (const operation of part.operations) this.#apply(operation, part.header.slot);
      for (const { database, last } of part.header.sequences) this.#sequences.set(database, last);
    }
    this.#epoch = epoch;
    if (!this.#group.open) this.#position = entry.position;
    return effective;
  }

  #apply(operation: Operation, slot: number): void {
    switch (operation.type) {
      case "append":
        return this.#append(operation, slot);
      case "write":
        return this.#set(
          operation.file,
          { kind: "small", permissions: operation.permissions, bytes: operation.bytes.slice() },
          slot,
        );
      case "table": {
        const { size, sha256, key, permissions } = operation;
        return this.#set(operation.file, { kind: "table", size, sha256, key, permissions }, slot);
      }
      case "directory":
        return this.#set(operation.file, { kind: "directory", permissions: operation.permissions }, slot);
      case "remove":
        if (!this.#files.has(operation.file)) throw invalid(slot, `it removes ${operation.file}, which isn't there`);
        return this.#drop(operation.file, slot);
      case "trim":
        for (const key of operation.keys) {
          if (this.#users.has(key)) throw invalid(slot, `it dooms ${key}, which is in use`);
          this.#garbage.delete(key);
        }
        return undefined;
      case "handover":
        return undefined;
    }
  }

  #append(operation: Extract<Operation, { type: "append" }>, slot: number): void {
    const known = this.#files.get(operation.file);
    if (known !== undefined && known.kind !== "append")
      throw invalid(slot, `it appends to ${operation.file}, which is no WAL or MANIFEST`);
    const size = known?.size ?? 0;
    if (operation.offset !== size)
      throw invalid(slot, `it appends to ${operation.file} at ${operation.offset}, which has ${size} bytes`);
    const grown = size + operation.bytes.length;
    this.#files.set(
      operation.file,
      known === undefined ? { kind: "append", size: grown, firstSlot: slot } : { ...known, size: grown },
    );
  }

  #set(path: ImagePath, file: ImageFile, slot: number): void {
    const known = this.#files.get(path);
    if (known?.kind === "append") throw invalid(slot, `it replaces ${path}, which only grows`);
    // Use before drop: a file that keeps its object must not make it garbage.
    if (file.kind === "table") this.#use(file.key);
    if (known !== undefined) this.#drop(path, slot);
    this.#files.set(path, file);
  }

  #drop(path: ImagePath, slot: number): void {
    const file = this.#files.get(path);
    this.#files.delete(path);
    if (file?.kind !== "table") return;
    const users = (this.#users.get(file.key) ?? 0) - 1;
    if (users > 0) {
      this.#users.set(file.key, users);
      return;
    }
    this.#users.delete(file.key);
    this.#garbage.set(file.key, slot);
  }

  #use(key: string): void {
    this.#users.set(key, (this.#users.get(key) ?? 0) + 1);
    this.#garbage.delete(key);
  }
}

/**
 * Entries that say `more` take effect together with the first `wal` or `checkpoint` entry of their epoch that doesn't, or, if a claim
 * comes first, never (docs/decisions/0005). Other kinds neither form nor close a group.
 */
export class GroupAssembler {
  #pending: ReadEntry[] = [];

  get open(): boolean {
    return this.#pending.length > 0;
  }

  push(entry: ReadEntry): readonly ReadEntry[] {
    const { kind, more } = entry.header;
    if (kind === "claim") {
      this.#pending = [];
      return [];
    }
    if (kind !== "wal" && kind !== "checkpoint") return [entry];
    this.#pending.push(entry);
    if (more) return [];
    const effective = this.#pending;
    this.#pending = [];
    return effective;
  }
}

/** Slots before it are not needed to build the files of this image; one past the position if none is. */
export function oldestSlotNeeded(image: ImageState): number {
  let oldest = image.position.slot + 1;
  for (const file of image.files.values()) {
    if (file.kind === "append" && (file.base === undefined || file.base.size < file.size))
      oldest = Math.min(oldest, file.firstSlot);
  }
  return oldest;
}

/** Every object key that the image's files refer to. */
export function keysOf(image: Pick<ImageState, "files">): Set<string> {
  const keys = new Set<string>();
  for (const file of image.files.values()) {
    if (file.kind === "table") keys.add(file.key);
    else if (file.kind === "append" && file.base !== undefined) keys.add(file.base.key);
  }
  return keys;
}
