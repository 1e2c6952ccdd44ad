import { dirname } from "node:path";
import type { FileHandle, FileSystem } from "../base/file-system.js";
import { MIB } from "../formats/entry.js";
import type { Directories } from "./directories.js";
import type { Staging } from "./staging.js";

const OPEN_MAX = 64;
const COPY_BYTES = MIB;

/**
 * The WALs and MANIFESTs that we write. They are changed in place, so one with a second name is copied first: the other name may be a shipper's link, a
 * user's backup, a checkpoint.
 */
export class AppendFiles {
  readonly #fs: FileSystem;
  readonly #directories: Directories;
  readonly #staging: Staging;
  /** Most recently used last. */
  readonly #open = new Map<string, FileHandle>();
  readonly #unsynced = new Set<string>();

  constructor(fs: FileSystem, directories: Directories, staging: Staging) {
    this.#fs = fs;
    this.#directories = directories;
    this.#staging = staging;
  }

  /** Writes at `offset`; what lies there already is overwritten. A file that isn't there begins. */
  async write(path: string, offset: number, bytes: Uint8Array): Promise<void> {
    const file = await this.#file(path);
    this.#unsynced.add(path);
    await file.write(bytes, offset);
  }

  /** Writes only if the file's bytes there are others; true if so. */
  async writeIfDifferent(path: string, offset: number, bytes: Uint8Array): Promise<boolean> {
    const file = await this.#file(path);
    const there = new Uint8Array(bytes.length);
    const got = await file.read(there, offset);
    if (got === bytes.length && Buffer.compare(there, bytes) === 0) return false;
    this.#unsynced.add(path);
    await file.write(bytes, offset);
    return true;
  }

  /** Cuts the file to `size`; a file that isn't there is created (empty). Returns its former size. */
  async cut(path: string, size: number): Promise<number> {
    const file = await this.#file(path);
    const { size: had } = await file.stat();
    if (had <= size) return had;
    this.#unsynced.add(path);
    await file.truncate(size);
    return had;
  }

  /** The file at `path` is another one now, or gone. */
  async forget(path: string): Promise<void> {
    const file = this.#open.get(path);
    this.#open.delete(path);
    this.#unsynced.delete(path);
    await file?.close();
  }

  /** Makes everything written so far survive a power failure. */
  async sync(): Promise<void> {
    for (const path of this.#unsynced) {
      const file = await this.#file(path);
      await file.sync();
      this.#unsynced.delete(path);
    }
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const file of open) await file.close();
  }

  async #file(path: string): Promise<FileHandle> {
    const known = this.#open.get(path);
    if (known !== undefined) {
      this.#open.delete(path);
      this.#open.set(path, known);
      return known;
    }
    await this.#directories.ensure(dirname(path));
    const stat = await this.#fs.stat(path);
    if (stat === undefined) this.#directories.changed(dirname(path));
    else if (stat.links > 1) await breakLink(this.#fs, this.#staging, this.#directories, path);
    const file = await this.#fs.open(path, "readWrite");
    this.#open.set(path, file);
    if (this.#open.size > OPEN_MAX) await this.#closeOldest();
    return file;
  }

  async #closeOldest(): Promise<void> {
    for (const [path, file] of this.#open) {
      // A sync by another handle covers what this one wrote, so `#unsynced` stays.
      this.#open.delete(path);
      await file.close();
      return;
    }
  }
}

/** Gives `path` an inode of its own with the same bytes; the other names keep the old one. */
export async function breakLink(
  fs: FileSystem,
  staging: Staging,
  directories: Directories,
  path: string,
): Promise<void> {
  const source = await fs.open(path, "read");
  try {
    const { size, permissions } = await source.stat();
    const copy = await staging.create(permissions);
    try {
      const slice = new Uint8Array(Math.min(COPY_BYTES, size));
      for (let offset = 0; offset < size;) {
        const got = await source.read(slice, offset);
        if (got === 0) break;
        await copy.file.write(slice.subarray(0, got), offset);
        offset += got;
      }
      await copy.file.sync();
    } finally {
      await copy.file.close();
    }
    await fs.rename(copy.path, path);
    directories.changed(dirname(path));
  } finally {
    await source.close();
  }
}
