import { MetaMasterError } from "../../base/errors.js";
import type { RecordState, Refusal } from "./record-framing.js";
import { RecordReader } from "./record-reader.js";
import { decodeVersionEdit, type VersionEdit } from "./version-edit.js";

/** An edit of a million files is about 150 MB. */
const EDIT_BYTES_MAX = 512 * 1024 * 1024;
const GROUP_EDITS_MAX = 1_000_000;

/** What takes effect together: one edit, or a whole atomic group. `end` is the file offset after it. */
export interface ManifestUnit {
  readonly edits: readonly VersionEdit[];
  readonly start: number;
  readonly end: number;
}

/** Reads a MANIFEST as it grows. The contract of offsets and states is RecordReader's. */
export class ManifestCursor {
  readonly file: string;
  readonly #reader: RecordReader;
  #pieces: Uint8Array[] = [];
  #pieceBytes = 0;
  /** Edits of the atomic group that is not complete. */
  #group: VersionEdit[] = [];
  #unitStart: number;
  #units: ManifestUnit[] = [];
  #failure: MetaMasterError | undefined;

  /** `offset`: a unit's end of a MANIFEST read before. */
  constructor(file: string, offset: number = 0) {
    this.file = file;
    this.#unitStart = offset;
    this.#reader = new RecordReader(
      {
        data: (bytes, start, end, first, last, endOffset) => this.#data(bytes, start, end, first, last, endOffset),
        special: (type) => ({ kind: "corrupt", reason: `a record of type ${type}, which only WALs have` }),
      },
      undefined,
      { offset, recycled: false, legacy: offset > 0 },
    );
  }

  get nextOffset(): number {
    return this.#reader.nextOffset;
  }

  /** File offset after the last complete edit or atomic group. */
  get wholeEnd(): number {
    return this.#unitStart;
  }

  get state(): RecordState {
    const state = this.#reader.state;
    if (state.kind !== "clean" || this.#group.length === 0) return state;
    return { kind: "torn", cause: "partial", offset: this.#unitStart, reason: "the atomic group is not complete" };
  }

  /** The units that these bytes completed. */
  feed(bytes: Uint8Array): readonly ManifestUnit[] {
    this.#units = [];
    this.#reader.feed(bytes);
    return this.#units;
  }

  /** The state as an error; undefined while it is an ordinary one. */
  problem(): MetaMasterError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    const state = this.state;
    if (state.kind !== "corrupt" && state.kind !== "unsupported") return undefined;
    const code = state.kind === "corrupt" ? "ManifestCorrupt" : "ManifestUnsupported";
    return new MetaMasterError(
      code,
      state.kind === "corrupt" ? "corrupt" : "invalid",
      `${this.file}, offset ${state.offset}: ${state.reason}`,
      { details: { file: this.file, offset: state.offset } },
    );
  }

  #data(
    bytes: Uint8Array,
    start: number,
    end: number,
    first: boolean,
    last: boolean,
    endOffset: number,
  ): Refusal | undefined {
    if (first) {
      this.#pieces = [];
      this.#pieceBytes = 0;
    }
    this.#pieceBytes += end - start;
    if (this.#pieceBytes > EDIT_BYTES_MAX)
      return { kind: "unsupported", reason: `an edit above ${EDIT_BYTES_MAX} bytes` };
    this.#pieces.push(last ? bytes.subarray(start, end) : bytes.slice(start, end));
    return last ? this.#finish(endOffset) : undefined;
  }

  #finish(endOffset: number): Refusal | undefined {
    const payload = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [];
    try {
      return this.#edit(decodeVersionEdit(payload, `${this.file}, edit that ends at offset ${endOffset}`), endOffset);
    } catch (error) {
      if (!(error instanceof MetaMasterError)) throw error;
      this.#failure = error;
      return { kind: error.kind === "corrupt" ? "corrupt" : "unsupported", reason: error.message };
    }
  }

  /** db/version_edit_handler.cc, AtomicGroupReadBuffer: `remaining` counts down to 0 without another edit in between. */
  #edit(edit: VersionEdit, endOffset: number): Refusal | undefined {
    const before = this.#group.at(-1)?.remainingInGroup;
    if (before === undefined ? (edit.remainingInGroup ?? 0) >= GROUP_EDITS_MAX : edit.remainingInGroup !== before - 1) {
      return { kind: "corrupt", reason: "an atomic group that is not counted down" };
    }
    this.#group.push(edit);
    if ((edit.remainingInGroup ?? 0) > 0) return undefined;
    this.#units.push({ edits: this.#group, start: this.#unitStart, end: endOffset });
    this.#group = [];
    this.#unitStart = endOffset;
    return undefined;
  }
}
