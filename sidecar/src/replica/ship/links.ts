import { MetaMasterError, hasCode } from "../../base/errors.js";
import type { FileStat, FileSystem } from "../../base/file-system.js";
import { directoriesOf, type Layout } from "../layout.js";
import { Turn } from "./turn.js";

const LINKS_FOLDER = ".metamaster/links";

export interface SpoolBytes {
  /** Links and copies of WALs that are not shipped whole. */
  readonly wals: number;
  /** Tables and other files that checkpoints under way need. */
  readonly plans: number;
}

/**
 * Hard links under `<data>/.metamaster/links/<database>/<file>` that keep a file's bytes after the master deleted it. A link costs no
 * bytes while the original is there. One flat folder per database; companions have the folder `@companions`.
 */
export class Links {
  readonly #fs: FileSystem;
  readonly #root: string;
  readonly #folders: readonly string[];
  readonly #layout: Layout;
  readonly #held = new Set<string>();
  /** How many plans need a table's link. */
  readonly #users = new Map<string, number>();
  /** A link must not go between being found there and being counted. */
  readonly #turn = new Turn();

  constructor(fs: FileSystem, layout: Layout) {
    this.#fs = fs;
    this.#layout = layout;
    this.#root = `${layout.dataDirectory}/${LINKS_FOLDER}`;
    this.#folders = [...layout.databases.map(({ name }) => name), "@companions"];
  }

  pathOf(folder: string, file: string): string {
    return `${this.#root}/${folder}/${file}`;
  }

  has(folder: string, file: string): boolean {
    return this.#held.has(this.pathOf(folder, file));
  }

  /**
   * Makes the folders and drops what an earlier run left, except files that `keep` wants (WALs it did not get to ship); returns
   * their names by folder. Throws `CrossDevice` (invalid) if a database lies where no link can reach it.
   */
  async prepare(keep: (folder: string, file: string) => boolean): Promise<ReadonlyMap<string, readonly string[]>> {
    const kept = new Map<string, string[]>();
    await this.#fs.makeDirectory(`${this.#layout.dataDirectory}/.metamaster`);
    await this.#fs.makeDirectory(this.#root);
    for (const folder of this.#folders) {
      const path = `${this.#root}/${folder}`;
      await this.#fs.makeDirectory(path);
      for (const { name } of await this.#fs.list(path)) {
        if (keep(folder, name)) {
          this.#held.add(`${path}/${name}`);
          kept.set(folder, [...(kept.get(folder) ?? []), name]);
        } else await this.#fs.unlink(`${path}/${name}`);
      }
    }
    await this.#checkDevices();
    return kept;
  }

  /** Idempotent; a link of that name to another inode is replaced. `FileNotFound` if `original` is gone. */
  async make(folder: string, file: string, original: string): Promise<string> {
    const path = this.pathOf(folder, file);
    try {
      await this.#fs.link(original, path);
    } catch (error) {
      if (hasCode(error, "CrossDevice")) throw crossDevice(original, this.#root, error);
      if (!hasCode(error, "FileExists")) throw error;
      const [there, wanted] = await Promise.all([this.#fs.stat(path), this.#fs.stat(original)]);
      if (wanted !== undefined && there?.inode !== wanted.inode) {
        await this.#fs.unlink(path);
        await this.#fs.link(original, path);
      }
    }
    this.#held.add(path);
    return path;
  }

  /**
   * Like `make`, for a file that several plans may need at once; `release` as often as this. What a plan holds already is not looked at again: its bytes are there,
   * also if the original is gone by now. `anew`: names may have come to mean other files since.
   */
  hold(folder: string, file: string, original: string, anew: boolean): Promise<string> {
    return this.#turn.take(async () => {
      const path = this.pathOf(folder, file);
      const users = this.#users.get(path) ?? 0;
      if (users === 0 || anew) await this.make(folder, file, original);
      this.#users.set(path, users + 1);
      return path;
    });
  }

  release(folder: string, file: string): Promise<void> {
    return this.#turn.take(async () => {
      const path = this.pathOf(folder, file);
      const users = (this.#users.get(path) ?? 1) - 1;
      if (users > 0) {
        this.#users.set(path, users);
        return;
      }
      this.#users.delete(path);
      await this.drop(folder, file);
    });
  }

  /** A copy kept in the folder instead of a link (recycled WALs) counts and goes like a link. */
  adopt(folder: string, file: string): void {
    this.#held.add(this.pathOf(folder, file));
  }

  async drop(folder: string, file: string): Promise<void> {
    const path = this.pathOf(folder, file);
    if (!this.#held.has(path)) return;
    await this.#fs.unlink(path);
    this.#held.delete(path);
  }

  /** Bytes on the disk that only our links keep. */
  async spoolBytes(): Promise<SpoolBytes> {
    const bytes = { wals: 0, plans: 0 };
    for (const path of this.#held) {
      const stat = await this.#fs.stat(path);
      if (stat?.links === 1) bytes[this.#users.has(path) ? "plans" : "wals"] += stat.size;
    }
    return bytes;
  }

  async #checkDevices(): Promise<void> {
    const own = await this.#fs.stat(this.#root);
    for (const directory of directoriesOf(this.#layout.databases)) {
      const stat: FileStat | undefined = await this.#fs.stat(directory);
      if (stat !== undefined && own !== undefined && stat.device !== own.device) {
        throw crossDevice(directory, this.#root, undefined);
      }
    }
  }
}

function crossDevice(path: string, root: string, cause: unknown): MetaMasterError {
  return new MetaMasterError(
    "CrossDevice",
    "invalid",
    `${path} is on another file system than ${root}, so no hard link can keep its files until they are shipped.`,
    {
      cause,
      hint: "Put the data directory and every database and WAL directory on one file system (one volume).",
      details: { path, links: root },
    },
  );
}
