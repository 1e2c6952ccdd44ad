import { dirname } from "node:path";
import type { FileHandle, FileSystem } from "../base/file-system.js";
import type { Directories } from "./directories.js";
import type { LocalFolders } from "./local-folders.js";

/**
 * New files before they get their names, and old ones whose names are taken: no temporary file ever lies in a database's directory. Emptied at start
 * and whenever a saved state needs none of it.
 */
export class Staging {
  readonly #fs: FileSystem;
  readonly #folder: string;
  #next = 0;
  #ready = false;

  constructor(fs: FileSystem, folders: LocalFolders) {
    this.#fs = fs;
    this.#folder = folders.staging;
  }

  async create(permissions: number): Promise<{ readonly path: string; readonly file: FileHandle }> {
    const path = await this.name();
    return { path, file: await this.#fs.open(path, "createExclusive", permissions & 0o777) };
  }

  /** A name that nothing has. */
  async name(): Promise<string> {
    if (!this.#ready) await this.clear();
    return `${this.#folder}/${this.#next++}`;
  }

  /** Old or new content after any crash; `path` gets a new inode. */
  async replace(directories: Directories, path: string, bytes: Uint8Array, permissions: number): Promise<void> {
    const { path: staged, file } = await this.create(permissions);
    try {
      await file.write(bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await directories.ensure(dirname(path));
    await this.#fs.rename(staged, path);
    directories.changed(dirname(path));
  }

  /** Moves what is at `path` aside: its inode lives on, so no new file can be taken for it, until `clear`. */
  async park(directories: Directories, path: string): Promise<void> {
    await this.#fs.rename(path, await this.name());
    directories.changed(dirname(path));
    directories.forget(path);
  }

  async clear(): Promise<void> {
    await this.#fs.removeTree(this.#folder);
    await this.#fs.makeDirectory(this.#folder);
    this.#ready = true;
  }
}
