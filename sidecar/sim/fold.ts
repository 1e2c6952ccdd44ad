import type { Entry, Operation } from "../src/formats/entry.js";
import { Violation } from "./violation.js";

/** One file of an image, with its bytes; a growing file shares what it had before. */
export type FoldedFile =
  | {
      readonly kind: "bytes";
      readonly size: number;
      readonly before: FoldedFile | undefined;
      readonly added: Uint8Array;
    }
  | { readonly kind: "object"; readonly size: number; readonly key: string; readonly bytes: Uint8Array }
  | { readonly kind: "small"; readonly bytes: Uint8Array }
  | { readonly kind: "directory" };

export type Files = ReadonlyMap<string, FoldedFile>;

const joined = new WeakMap<FoldedFile, Uint8Array>();

export function bytesOf(file: FoldedFile): Uint8Array {
  if (file.kind === "directory") return new Uint8Array(0);
  if (file.kind !== "bytes") return file.bytes;
  const parts: Uint8Array[] = [];
  for (let at: FoldedFile | undefined = file; at?.kind === "bytes"; at = at.before) {
    const known = joined.get(at);
    parts.push(known ?? at.added);
    if (known !== undefined) break;
  }
  const bytes = parts.length === 1 ? (parts[0] ?? new Uint8Array(0)) : Buffer.concat(parts.toReversed());
  joined.set(file, bytes);
  return bytes;
}

/** Folds the log into files by the rules of docs/decisions/0004 and 0005, once more and simply: not the product's code. */
export class Fold {
  readonly #objectOf: (key: string) => Uint8Array | undefined;
  #files = new Map<string, FoldedFile>();
  #open: Entry[] = [];

  constructor(objectOf: (key: string) => Uint8Array | undefined) {
    this.#objectOf = objectOf;
  }

  get files(): Files {
    return this.#files;
  }

  /** A group that no entry has closed yet. */
  get open(): boolean {
    return this.#open.length > 0;
  }

  push(entry: Entry): void {
    const { kind, more } = entry.header;
    if (kind === "claim") this.#open = [];
    else if (kind === "wal" || kind === "checkpoint") {
      this.#open.push(entry);
      if (more) return;
      const group = this.#open;
      this.#open = [];
      this.#files = new Map(this.#files);
      for (const each of group) for (const operation of each.operations) this.#apply(operation, each.header.slot);
    }
  }

  #apply(operation: Operation, slot: number): void {
    const bad = (what: string): Violation => new Violation("ImageIsAFold", `slot ${slot}: ${what}`);
    switch (operation.type) {
      case "append": {
        const before = this.#files.get(operation.file);
        const size = before?.kind === "bytes" ? before.size : 0;
        if ((before !== undefined && before.kind !== "bytes") || size !== operation.offset) {
          throw bad(`appends to ${operation.file} at ${operation.offset}, which has ${size} bytes`);
        }
        this.#files.set(operation.file, {
          kind: "bytes",
          size: size + operation.bytes.length,
          before,
          added: operation.bytes.slice(),
        });
        return;
      }
      case "write":
        this.#files.set(operation.file, { kind: "small", bytes: operation.bytes.slice() });
        return;
      case "table": {
        const bytes = this.#objectOf(operation.key);
        if (bytes?.length !== operation.size) {
          throw bad(`refers to ${operation.key} of ${operation.size} bytes; the store has ${String(bytes?.length)}`);
        }
        this.#files.set(operation.file, { kind: "object", size: operation.size, key: operation.key, bytes });
        return;
      }
      case "directory":
        this.#files.set(operation.file, { kind: "directory" });
        return;
      case "remove":
        if (!this.#files.delete(operation.file)) throw bad(`removes ${operation.file}, which is not there`);
        return;
      case "handover":
      case "trim":
    }
  }
}
