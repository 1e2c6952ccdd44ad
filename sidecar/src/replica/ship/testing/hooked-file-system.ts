import type { DirectoryEntry, FileHandle, FileStat, FileSystem, Watch } from "../../../base/file-system.js";

export type FileCall = "stat" | "list" | "open" | "readFile" | "link" | "unlink";

/** A file system on which the test may do something, or fail, just before a call. */
export class HookedFileSystem implements FileSystem {
  readonly #fs: FileSystem;
  before: (call: FileCall, path: string) => Promise<void> | void = () => undefined;
  /** Links and watches made so far. */
  links = 0;

  constructor(fs: FileSystem) {
    this.#fs = fs;
  }

  async stat(path: string): Promise<FileStat | undefined> {
    await this.before("stat", path);
    return await this.#fs.stat(path);
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    await this.before("list", path);
    return await this.#fs.list(path);
  }

  async open(path: string, mode: "read" | "readWrite" | "createExclusive", permissions?: number): Promise<FileHandle> {
    await this.before("open", path);
    return await this.#fs.open(path, mode, permissions);
  }

  async readFile(path: string, maxBytes: number): Promise<Uint8Array> {
    await this.before("readFile", path);
    return await this.#fs.readFile(path, maxBytes);
  }

  async writeFileAtomic(path: string, bytes: Uint8Array, permissions?: number): Promise<void> {
    await this.#fs.writeFileAtomic(path, bytes, permissions);
  }

  async link(existing: string, created: string): Promise<void> {
    await this.before("link", existing);
    this.links++;
    await this.#fs.link(existing, created);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#fs.rename(from, to);
  }

  async unlink(path: string): Promise<void> {
    await this.before("unlink", path);
    await this.#fs.unlink(path);
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#fs.makeDirectory(path);
  }

  async removeTree(path: string): Promise<void> {
    await this.#fs.removeTree(path);
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#fs.syncDirectory(path);
  }

  async freeBytes(path: string): Promise<number> {
    return await this.#fs.freeBytes(path);
  }

  watch(directories: readonly string[], onChange: () => void): Watch {
    return this.#fs.watch(directories, onChange);
  }
}
