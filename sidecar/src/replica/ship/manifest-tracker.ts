import { MetaMasterError } from "../../base/errors.js";
import type { FileHandle, FileSystem } from "../../base/file-system.js";
import { classify } from "../../formats/rocksdb/classify-edit.js";
import { blobFileName, tableFileName } from "../../formats/rocksdb/file-names.js";
import { ManifestCursor, type ManifestUnit } from "../../formats/rocksdb/manifest-cursor.js";
import { ManifestState } from "../../formats/rocksdb/manifest-state.js";
import type { ManifestMark } from "./cut.js";

const READ_BYTES = 1024 * 1024;

/** A table or blob file of the MANIFEST; the size of a blob file is not in it. */
export interface LiveFile {
  readonly name: string;
  readonly size: number | undefined;
}

type Covers = (first: bigint, last: bigint) => boolean;

/** Follows a database's MANIFEST, and the next one when it rolls over. */
export class ManifestTracker {
  readonly #fs: FileSystem;
  readonly #directory: string;
  #name = "";
  #inode = 0n;
  #handle: FileHandle | undefined;
  #cursor = new ManifestCursor("");
  #state = new ManifestState("");
  #lastBindingEnd = 0;
  #firstFree: number | undefined;
  /** Grows with every MANIFEST that is begun. */
  generation = 0;

  constructor(fs: FileSystem, directory: string) {
    this.#fs = fs;
    this.#directory = directory;
  }

  /** The MANIFEST that was followed last; "" before the first. */
  get name(): string {
    return this.#name;
  }

  /** After the last whole edit or atomic group. */
  get wholeEnd(): number {
    return this.#cursor.wholeEnd;
  }

  /** WALs with smaller numbers are no part of the database. */
  get minimumWal(): number {
    return this.#state.walFloor();
  }

  /** Is the mark's another MANIFEST than the one followed so far? */
  isNew(mark: ManifestMark): boolean {
    return mark.name !== this.#name || mark.inode !== this.#inode;
  }

  /** Is it another file under the name that was followed so far? */
  isOther(mark: ManifestMark): boolean {
    return mark.name === this.#name && (mark.inode !== this.#inode || mark.size < this.#cursor.wholeEnd);
  }

  /** The first file number that was free when this MANIFEST was begun. */
  get firstFreeNumber(): number {
    return this.#firstFree ?? 0;
  }

  /** Reads the next mark's MANIFEST from its beginning. */
  forget(): void {
    this.#name = "";
  }

  /**
   * Reads up to the mark. `covers`: does the WAL up to the same cut hold all these sequence numbers. All of a new MANIFEST is binding:
   * it comes with a checkpoint.
   */
  async follow(mark: ManifestMark, covers: Covers, signal: AbortSignal): Promise<void> {
    const isNew = this.isNew(mark);
    if (isNew) await this.#begin(mark);
    const scratch = new Uint8Array(Math.min(READ_BYTES, Math.max(0, mark.size - this.#cursor.nextOffset)));
    for (;;) {
      signal.throwIfAborted();
      const offset = this.#cursor.nextOffset;
      const want = Math.min(scratch.length, mark.size - offset);
      if (want <= 0) break;
      const got = await this.#read(scratch.subarray(0, want), offset);
      for (const unit of this.#cursor.feed(scratch.subarray(0, got))) this.#take(unit, isNew, covers);
      const problem = this.#cursor.problem();
      if (problem !== undefined) throw problem;
      if (this.#cursor.nextOffset <= offset) break;
    }
  }

  /** Is there a binding edit after `offset`? */
  bindsAfter(offset: number): boolean {
    return this.#lastBindingEnd > offset;
  }

  /** Throws `FilesElsewhere` (invalid) if tables lie in other directories. */
  liveFiles(): LiveFile[] {
    // Checks what can't be replicated.
    this.#state.liveFiles();
    const files: LiveFile[] = [];
    for (const { number, size } of this.#state.tables()) files.push({ name: tableFileName(number), size });
    for (const number of this.#state.blobFiles()) files.push({ name: blobFileName(number), size: undefined });
    return files;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async #begin(mark: ManifestMark): Promise<void> {
    await this.close();
    const path = `${this.#directory}/${mark.name}`;
    this.#handle = await this.#fs.open(path, "read");
    this.generation++;
    this.#name = mark.name;
    this.#inode = mark.inode;
    this.#cursor = new ManifestCursor(path);
    this.#state = new ManifestState(path);
    this.#lastBindingEnd = 0;
    this.#firstFree = undefined;
  }

  #take(unit: ManifestUnit, isNew: boolean, covers: Covers): void {
    const { kind } = isNew ? { kind: "binding" } : classify(unit, { state: this.#state, walCovers: covers });
    if (kind === "binding") this.#lastBindingEnd = unit.end;
    this.#state.apply(unit);
    for (const { nextFileNumber } of unit.edits) this.#firstFree ??= nextFileNumber;
  }

  async #read(target: Uint8Array, offset: number): Promise<number> {
    this.#handle ??= await this.#fs.open(`${this.#directory}/${this.#name}`, "read");
    const got = await this.#handle.read(target, offset);
    if (got === target.length) return got;
    throw new MetaMasterError(
      "ManifestShrank",
      "corrupt",
      `${this.#directory}/${this.#name} ends at ${offset + got}, but it held ${offset + target.length} bytes when it was measured.`,
      { hint: "Somebody truncated or replaced it while it was shipped; only the master may write there." },
    );
  }
}
