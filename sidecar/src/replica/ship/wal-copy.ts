import type { MetaMasterError } from "../../base/errors.js";
import type { FileHandle, FileSystem } from "../../base/file-system.js";
import { HEADER_BYTES, isRecyclableType, recordType } from "../../formats/rocksdb/record-framing.js";
import { WalCursor } from "../../formats/rocksdb/wal-cursor.js";

/** Enough to see the type of the first record behind a compression record (7 + 4 bytes). */
const PROBE_BYTES = 18;

/** Does the WAL have the record types of a database that recycles its WALs? Undefined: too short to tell. */
export async function probeRecycled(fs: FileSystem, path: string): Promise<boolean | undefined> {
  const file = await fs.open(path, "read");
  try {
    const bytes = new Uint8Array(PROBE_BYTES);
    const got = await file.read(bytes, 0);
    if (got < HEADER_BYTES) return undefined;
    const type = bytes[6]!;
    if (type !== recordType.setCompression) return isRecyclableType(type);
    return got < PROBE_BYTES ? undefined : isRecyclableType(bytes[HEADER_BYTES + 4 + 6]!);
  } finally {
    await file.close();
  }
}

/**
 * A growing copy of a recycled WAL. Its inode will be overwritten under a later number, so a link to it would come to hold other bytes: whole
 * records are copied as they appear. The size of such a file says nothing; its end is where the records of its number end.
 */
export class WalCopy {
  readonly #fs: FileSystem;
  readonly #original: string;
  readonly #copy: string;
  readonly #cursor: WalCursor;
  #source: FileHandle | undefined;
  #target: FileHandle | undefined;
  #written = 0;

  constructor(fs: FileSystem, wal: { readonly number: number; readonly original: string; readonly copy: string }) {
    this.#fs = fs;
    this.#original = wal.original;
    this.#copy = wal.copy;
    this.#cursor = new WalCursor({ fileNumber: wal.number, file: wal.original });
  }

  /** Bytes of the copy: whole records only. */
  get size(): number {
    return this.#written;
  }

  /** What keeps the copy from going on. */
  problem(): MetaMasterError | undefined {
    return this.#cursor.problem();
  }

  /** Copies what is new. The file is held open: what it was renamed to does not matter, what it is overwritten with has another number. */
  async advance(scratch: Uint8Array): Promise<void> {
    await this.#toTheEnd(scratch);
    this.#cursor.rewind();
  }

  async #toTheEnd(scratch: Uint8Array): Promise<void> {
    this.#source ??= await this.#fs.open(this.#original, "read");
    // What an earlier step read and could not write, as on a full disk: nothing new need come for it to be missing.
    await this.#write();
    for (;;) {
      const offset = this.#cursor.nextOffset;
      const got = await this.#source.read(scratch, offset);
      if (got === 0) return;
      this.#cursor.feed(scratch.subarray(0, got));
      await this.#write();
      if (this.#cursor.nextOffset <= offset || this.#cursor.problem() !== undefined) return;
      if (this.#cursor.state.kind === "recycled") return;
    }
  }

  async close(): Promise<void> {
    const handles = [this.#source, this.#target];
    this.#source = undefined;
    this.#target = undefined;
    for (const handle of handles) await handle?.close();
  }

  /** Reads again, since a record may have begun in an earlier step; checks that it was not overwritten in between. */
  async #write(): Promise<void> {
    const end = this.#cursor.wholeEnd;
    if (end <= this.#written || this.#source === undefined) return;
    this.#target ??= await this.#fs.open(this.#copy, "readWrite");
    const step = new Uint8Array(Math.min(end - this.#written, 1024 * 1024));
    while (this.#written < end) {
      const bytes = step.subarray(0, Math.min(step.length, end - this.#written));
      const got = await this.#source.read(bytes, this.#written);
      await this.#target.write(bytes.subarray(0, got), this.#written);
      this.#written += got;
      if (got < bytes.length) return;
    }
  }
}
