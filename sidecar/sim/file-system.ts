import type { DirectoryEntry, FileHandle, FileStat, FileSystem, Watch } from "../src/base/file-system.js";
import { type Disk, type FileNode, fileError } from "./disk.js";
import { never, type Incarnation } from "./incarnation.js";
import type { SeededRandom } from "./random.js";

export interface FileSystemTiming {
  /** Share of the operations that take time at all; the others end in the same instant. */
  readonly slowShare: number;
  /** Milliseconds, uniform. */
  readonly slowMsMax: number;
  readonly watchDelayMsMax: number;
  /** Share of changes that nobody is told of: a watch is a hint. */
  readonly watchLostShare: number;
}

/** A machine's disk as one process sees it: operations take time, end with the process, and may be the last thing it does. */
export class SimulatedFileSystem implements FileSystem {
  readonly #disk: Disk;
  readonly #incarnation: Incarnation;
  readonly #random: SeededRandom;
  readonly #timing: FileSystemTiming;
  #temporaries = 0;

  constructor(disk: Disk, incarnation: Incarnation, random: SeededRandom, timing: FileSystemTiming) {
    this.#disk = disk;
    this.#incarnation = incarnation;
    this.#random = random;
    this.#timing = timing;
  }

  stat(path: string): Promise<FileStat | undefined> {
    return this.#run(() => this.#disk.stat(path));
  }

  list(path: string): Promise<DirectoryEntry[]> {
    return this.#run(() => this.#disk.list(path));
  }

  open(path: string, mode: "read" | "readWrite" | "createExclusive", permissions?: number): Promise<FileHandle> {
    return this.#run(() => {
      const create = mode === "createExclusive" || (mode === "readWrite" && !this.#disk.exists(path));
      const node = create ? this.#disk.create(path, permissions) : this.#disk.file(path);
      return this.#handle(path, node, mode !== "read");
    });
  }

  readFile(path: string, maxBytes: number): Promise<Uint8Array> {
    return this.#run(() => {
      const { data } = this.#disk.file(path);
      if (data.size > maxBytes) {
        throw fileError("FileTooLarge", "invalid", path, `has ${data.size} bytes, at most ${maxBytes} are allowed`);
      }
      return data.view().slice();
    });
  }

  async writeFileAtomic(path: string, bytes: Uint8Array, permissions?: number): Promise<void> {
    const temporary = `${path}.${this.#temporaries++}.tmp`;
    try {
      const file = await this.#run(() => {
        if (this.#disk.exists(temporary)) this.#disk.unlink(temporary);
        return this.#disk.create(temporary, permissions);
      });
      await this.#run(() => this.#disk.write(file, bytes, 0, path));
      await this.#run(() => file.data.sync());
      await this.rename(temporary, path);
    } catch (error) {
      await this.unlink(temporary);
      throw error;
    }
    await this.syncDirectory(path.slice(0, Math.max(1, path.lastIndexOf("/"))));
  }

  link(existing: string, created: string): Promise<void> {
    return this.#run(() => this.#disk.link(existing, created));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#run(() => this.#disk.rename(from, to));
  }

  unlink(path: string): Promise<void> {
    return this.#run(() => this.#disk.unlink(path));
  }

  makeDirectory(path: string): Promise<void> {
    return this.#run(() => this.#disk.makeDirectory(path));
  }

  removeTree(path: string): Promise<void> {
    return this.#run(() => this.#disk.removeTree(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#run(() => this.#disk.syncDirectory(path));
  }

  freeBytes(_path: string): Promise<number> {
    return this.#run(() => Math.min(this.#disk.freeBytes, Number.MAX_SAFE_INTEGER));
  }

  watch(directories: readonly string[], onChange: () => void): Watch {
    let told = false;
    let closed = false;
    const changed = (): void => {
      if (told || closed || !this.#incarnation.alive || this.#random.chance(this.#timing.watchLostShare)) return;
      told = true;
      this.#incarnation.after(this.#random.float() * this.#timing.watchDelayMsMax, () => {
        told = false;
        if (!closed) onChange();
      });
    };
    const ends = directories.map((directory) => this.#disk.watch(directory, changed));
    return {
      close: () => {
        closed = true;
        for (const end of ends) end?.();
      },
    };
  }

  #handle(path: string, node: FileNode, writable: boolean): FileHandle {
    let open = true;
    const check = (writes: boolean): void => {
      if (!open) throw fileError("FileSystemFailure", "transient", path, "bad file descriptor: it was closed");
      if (writes && !writable) throw fileError("FileSystemFailure", "transient", path, "was opened for reading only");
    };
    return {
      read: (target, position) =>
        this.#run(() => {
          check(false);
          const part = node.data.view().subarray(position, position + target.length);
          target.set(part);
          return part.length;
        }),
      write: (bytes, position) =>
        this.#run(() => {
          check(true);
          this.#disk.write(node, bytes, position, path);
        }),
      truncate: (size) =>
        this.#run(() => {
          check(true);
          this.#disk.truncate(node, size);
        }),
      sync: () =>
        this.#run(() => {
          check(false);
          node.data.sync();
        }),
      stat: () =>
        this.#run(() => {
          check(false);
          return this.#disk.statOf(node);
        }),
      close: async () => {
        open = false;
      },
    };
  }

  /** `effect` happens at once or a little later, all of it at one instant; never after the process's death. */
  #run<T>(effect: () => T): Promise<T> {
    if (!this.#incarnation.enter()) return never();
    const { slowShare, slowMsMax } = this.#timing;
    return new Promise((resolve, reject) => {
      const act = (): void => {
        try {
          resolve(effect());
        } catch (error) {
          reject(error);
        }
      };
      if (slowShare > 0 && this.#random.chance(slowShare)) {
        this.#incarnation.after(this.#random.float() * slowMsMax, act);
      } else act();
    });
  }
}
