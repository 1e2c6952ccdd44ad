import type { EntryKind, Operation, SequenceRange } from "../../formats/entry.js";
import type { Emitter } from "./emitter.js";

/** What one operation takes in an entry's body besides its bytes and names, generously. */
const OPERATION_BYTES = 256;

export interface PackerSettings {
  readonly kind: Extract<EntryKind, "wal" | "checkpoint">;
  /** True: all that is added takes effect together. False: each entry by itself, in order. */
  readonly group: boolean;
  readonly bodyBytesMax: number;
}

export interface Added {
  readonly sequences?: SequenceRange | undefined;
  /** Called when the operation's bytes are no longer needed. */
  readonly release?: (() => void) | undefined;
}

/** Fills entries with operations and emits each one as it is full. */
export class Packer {
  readonly #emitter: Emitter;
  readonly #settings: PackerSettings;
  #operations: Operation[] = [];
  #sequences = new Map<string, SequenceRange>();
  #releases: (() => void)[] = [];
  #bytes = 0;
  #emitted = 0;

  constructor(emitter: Emitter, settings: PackerSettings) {
    this.#emitter = emitter;
    this.#settings = settings;
  }

  /** True while the log holds a part of a group whose end was not emitted: nothing else may be emitted then. */
  get open(): boolean {
    return this.#settings.group && this.#emitted > 0 && this.#operations.length > 0;
  }

  /** Bytes that one append operation may carry at most. */
  static bytesMax(bodyBytesMax: number): number {
    return bodyBytesMax - 8 * OPERATION_BYTES;
  }

  /** Resolves once there is room again. */
  async add(operation: Operation, added: Added = {}): Promise<void> {
    const weight = weightOf(operation);
    if (this.#bytes + weight > this.#settings.bodyBytesMax && this.#operations.length > 0) {
      await this.#flush(this.#settings.group);
    }
    this.#operations.push(operation);
    this.#bytes += weight;
    if (added.release !== undefined) this.#releases.push(added.release);
    if (added.sequences !== undefined) this.#merge(added.sequences);
  }

  /** Emits what is left; true if anything was emitted at all. */
  async close(): Promise<boolean> {
    if (this.#operations.length > 0) await this.#flush(false);
    return this.#emitted > 0;
  }

  async #flush(more: boolean): Promise<void> {
    const draft = {
      kind: this.#settings.kind,
      operations: this.#operations,
      sequences: [...this.#sequences.values()],
      more,
    };
    const releases = this.#releases;
    this.#operations = [];
    this.#sequences = new Map();
    this.#releases = [];
    this.#bytes = 0;
    this.#emitted++;
    await this.#emitter.emit(draft, () => {
      for (const release of releases) release();
    });
  }

  #merge(range: SequenceRange): void {
    const known = this.#sequences.get(range.database);
    if (known === undefined) {
      this.#sequences.set(range.database, range);
      return;
    }
    this.#sequences.set(range.database, {
      database: range.database,
      first: BigInt(range.first) < BigInt(known.first) ? range.first : known.first,
      last: BigInt(range.last) > BigInt(known.last) ? range.last : known.last,
    });
  }
}

function weightOf(operation: Operation): number {
  const bytes = operation.type === "append" || operation.type === "write" ? operation.bytes.length : 0;
  const name = "file" in operation ? 3 * operation.file.length : 0;
  const key = operation.type === "table" ? 3 * operation.key.length : 0;
  return OPERATION_BYTES + bytes + name + key;
}
