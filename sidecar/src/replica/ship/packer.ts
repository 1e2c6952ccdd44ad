import type { EntryKind, Operation, SequenceRange } from "../../formats/entry.js";
import { MetaMasterError, messageOf } from "../../base/errors.js";
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
  #committed = false;

  constructor(emitter: Emitter, settings: PackerSettings) {
    this.#emitter = emitter;
    this.#settings = settings;
  }

  get isGroup(): boolean {
    return this.#settings.group;
  }

  /**
   * Runs what may fail while a group is being built. Once a part of a group is in the log only its end may follow, so a failure then ends
   * this epoch: `GroupUnfinished` (fenced; a new claim voids the part).
   */
  async guard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#settings.group || !this.#committed) throw error;
      throw new MetaMasterError(
        "GroupUnfinished",
        "fenced",
        `A group of entries can't be completed: ${messageOf(error)}. It is void with the next claim.`,
        { cause: error, hint: "The member claims a new epoch and ships again; look at the disk if this repeats." },
      );
    }
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
    // WAL pieces count as shipped once they are here.
    if (operation.type === "append") this.#committed = true;
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
    this.#committed = true;
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
