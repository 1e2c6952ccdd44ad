import { MetaMasterError } from "../base/errors.js";
import type { ImagePath, Operation, Position, ReadEntry } from "./entry.js";
import type { ImageFile, ImageState, PendingTrim } from "./image.js";

type OperationOf<T extends Operation["type"]> = Extract<Operation, { readonly type: T }>;

function invalid(slot: number, reason: string): MetaMasterError {
  return new MetaMasterError(
    "HistoryInvalid",
    "corrupt",
    `The entry in slot ${slot} can't follow what came before: ${reason}.`,
    {
      details: { slot },
      hint: "Nothing of it was applied. Run `metamaster verify` on the bucket and report this: a writer broke a rule.",
    },
  );
}

/**
 * The state of all files, advanced entry by entry: a pure fold over the log (docs/decisions/0004). Every operation is checked against what
 * is there; an entry (or group) that fails changes nothing.
 */
export class Image {
  #position: Position;
  /** Slot of the last entry that was pushed. */
  #seen: number;
  #epoch: number;
  #trimmedThrough: number;
  #claims: readonly number[];
  #trims: readonly PendingTrim[];
  readonly #files: Map<ImagePath, ImageFile>;
  readonly #sequences: Map<string, string>;
  readonly #garbage: Map<string, number>;
  /** How many files refer to an object. */
  readonly #users = new Map<string, number>();
  readonly #doomed = new Set<string>();
  readonly #group = new GroupAssembler();
  /** Trims between the parts of an open group: the state at a position must not know of what lies behind it. */
  #waiting: ReadEntry[] = [];
  #undo: (() => void)[] = [];

  constructor(state: ImageState) {
    this.#position = state.position;
    this.#seen = state.position.slot;
    this.#epoch = state.epoch;
    this.#trimmedThrough = state.trimmedThrough;
    this.#claims = state.claims;
    this.#trims = state.trims;
    this.#files = new Map(state.files);
    this.#sequences = new Map(state.sequences);
    this.#garbage = new Map(state.garbage);
    for (const { keys } of state.trims) for (const key of keys) this.#doomed.add(key);
    for (const file of this.#files.values()) {
      if (file.kind === "table") this.#users.set(file.key, (this.#users.get(file.key) ?? 0) + 1);
    }
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
      claims: this.#claims,
      trimmedThrough: this.#trimmedThrough,
      trims: this.#trims,
    };
  }

  /**
   * Takes the next entry in. Returns the entries that took effect with it: none while a group is open, several when it closes. Throws
   * `HistoryInvalid` (corrupt), after which the image is as it was, but an open group is lost: start again from `state()`.
   */
  push(entry: ReadEntry): readonly ReadEntry[] {
    const { slot, epoch, kind } = entry.header;
    if (slot <= this.#seen) throw invalid(slot, `slot ${this.#seen} was taken in already`);
    if (kind === "claim" ? epoch !== this.#epoch + 1 : epoch !== this.#epoch) {
      throw invalid(slot, `epoch ${epoch} (${kind}) follows epoch ${this.#epoch}`);
    }
    const effective = this.#group.push(entry);
    this.#seen = slot;
    if (this.#group.open) {
      if (kind === "trim") this.#waiting.push(entry);
      return effective;
    }
    const due = [...this.#waiting, ...effective].toSorted((a, b) => a.header.slot - b.header.slot);
    this.#waiting = [];
    this.#fold(due);
    if (kind === "claim") this.#claims = [...this.#claims, slot];
    this.#epoch = epoch;
    this.#position = entry.position;
    return effective;
  }

  #fold(entries: readonly ReadEntry[]): void {
    this.#undo = [];
    try {
      for (const { header, operations } of entries) {
        for (const operation of operations) this.#apply(operation, header.slot);
        for (const { database, last } of header.sequences) this.#put(this.#sequences, database, last);
      }
    } catch (error) {
      for (const step of this.#undo.toReversed()) step();
      throw error;
    } finally {
      this.#undo = [];
    }
  }

  #apply(operation: Operation, slot: number): void {
    switch (operation.type) {
      case "append":
        return this.#append(operation, slot);
      case "write": {
        const { file, permissions, bytes } = operation;
        return this.#replace(file, { kind: "small", permissions, bytes: new Uint8Array(bytes) }, slot);
      }
      case "table":
        return this.#table(operation, slot);
      case "directory":
        return this.#replace(operation.file, { kind: "directory", permissions: operation.permissions }, slot);
      case "remove":
        if (!this.#files.has(operation.file)) throw invalid(slot, `it removes ${operation.file}, which isn't there`);
        return this.#drop(operation.file, slot);
      case "trim":
        return this.#trim(operation, slot);
      case "handover":
        return undefined;
    }
  }

  #append({ file, offset, bytes }: OperationOf<"append">, slot: number): void {
    const known = this.#files.get(file);
    if (known !== undefined && known.kind !== "append") {
      throw invalid(slot, `it appends to ${file}, which is no WAL or MANIFEST`);
    }
    const size = known?.size ?? 0;
    if (offset !== size) throw invalid(slot, `it appends to ${file} at ${offset}, which has ${size} bytes`);
    const grown = size + bytes.length;
    if (!Number.isSafeInteger(grown)) throw invalid(slot, `${file} becomes too large`);
    const next = known ?? { kind: "append", firstSlot: slot };
    this.#put(this.#files, file, { ...next, size: grown });
  }

  #table({ file, size, sha256, key, permissions }: OperationOf<"table">, slot: number): void {
    if (this.#doomed.has(key)) throw invalid(slot, `it refers to ${key}, which is doomed`);
    const table: ImageFile = { kind: "table", size, sha256, key, permissions };
    this.#replace(file, table, slot);
    this.#put(this.#users, key, (this.#users.get(key) ?? 0) + 1);
    this.#put(this.#garbage, key, undefined);
  }

  #replace(path: ImagePath, file: ImageFile, slot: number): void {
    const known = this.#files.get(path);
    if (known?.kind === "append") throw invalid(slot, `it replaces ${path}, which only grows`);
    if (known !== undefined) this.#drop(path, slot);
    this.#put(this.#files, path, file);
  }

  #drop(path: ImagePath, slot: number): void {
    const file = this.#files.get(path);
    this.#put(this.#files, path, undefined);
    if (file?.kind !== "table") return;
    const users = (this.#users.get(file.key) ?? 0) - 1;
    this.#put(this.#users, file.key, users > 0 ? users : undefined);
    if (users <= 0) this.#put(this.#garbage, file.key, slot);
  }

  #trim({ fromSlot, throughSlot, keys, executedThrough }: OperationOf<"trim">, slot: number): void {
    if (throughSlot >= slot || fromSlot > throughSlot + 1) {
      throw invalid(slot, `it trims slots ${fromSlot} to ${throughSlot}`);
    }
    const [trims, through, doomed] = [this.#trims, this.#trimmedThrough, [...keys]];
    for (const key of keys) {
      if (this.#users.has(key)) throw invalid(slot, `it dooms ${key}, which is in use`);
      this.#put(this.#garbage, key, undefined);
    }
    const executed = trims.filter((each) => each.slot <= executedThrough);
    this.#undo.push(() => {
      this.#trims = trims;
      this.#trimmedThrough = through;
      for (const key of doomed) this.#doomed.delete(key);
      for (const each of executed) for (const key of each.keys) this.#doomed.add(key);
    });
    for (const each of executed) for (const key of each.keys) this.#doomed.delete(key);
    for (const key of keys) this.#doomed.add(key);
    this.#trims = [...trims.filter((each) => each.slot > executedThrough), { slot, throughSlot, keys }];
    this.#trimmedThrough = Math.max(through, throughSlot);
  }

  /** Undefined deletes. Remembers how to take it back. */
  #put<V>(map: Map<string, V>, key: string, value: V | undefined): void {
    const before = map.get(key);
    this.#undo.push(() => (before === undefined ? map.delete(key) : map.set(key, before)));
    if (value === undefined) map.delete(key);
    else map.set(key, value);
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
export function oldestSlotNeeded(image: Pick<ImageState, "files" | "position">): number {
  let oldest = image.position.slot + 1;
  for (const file of image.files.values()) {
    if (file.kind === "append" && (file.base === undefined || file.base.size < file.size)) {
      oldest = Math.min(oldest, file.firstSlot);
    }
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
