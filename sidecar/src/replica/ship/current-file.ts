import { MetaMasterError, hasCode } from "../../base/errors.js";
import type { FileStat, FileSystem } from "../../base/file-system.js";
import { CURRENT_BYTES_MAX, parseCurrent } from "../../formats/rocksdb/file-names.js";
import type { ManifestMark } from "./cut.js";

const TRIES_MAX = 20;

/** Which MANIFEST a database uses now. CURRENT is read again only when it was replaced. */
export class CurrentFile {
  readonly #fs: FileSystem;
  readonly #directory: string;
  #known: { readonly stat: FileStat; readonly name: string } | undefined;

  constructor(fs: FileSystem, directory: string) {
    this.#fs = fs;
    this.#directory = directory;
  }

  /** Undefined if there is no CURRENT, so no database. Throws `CurrentFileInvalid`, `ManifestMissing` (corrupt). */
  async mark(): Promise<ManifestMark | undefined> {
    let name = "";
    for (let attempt = 1; attempt <= TRIES_MAX; attempt++) {
      const named = await this.#name();
      if (named === undefined) return undefined;
      name = named;
      const stat = await this.#fs.stat(`${this.#directory}/${name}`);
      if (stat !== undefined) return { name, size: stat.size, inode: stat.inode };
      // It rolled over between the two looks.
      this.#known = undefined;
    }
    throw new MetaMasterError(
      "ManifestMissing",
      "corrupt",
      `${this.#directory}/CURRENT names ${name}, but there is no such file.`,
      {
        hint: "RocksDB can't open this directory either; restore it from the bucket.",
        details: { directory: this.#directory, manifest: name },
      },
    );
  }

  async #name(): Promise<string | undefined> {
    const path = `${this.#directory}/CURRENT`;
    const stat = await this.#fs.stat(path);
    if (stat === undefined) return undefined;
    if (this.#known !== undefined && sameInode(this.#known.stat, stat)) return this.#known.name;
    try {
      const { name } = parseCurrent(await this.#fs.readFile(path, CURRENT_BYTES_MAX), path);
      const after = await this.#fs.stat(path);
      if (after !== undefined && sameInode(after, stat)) this.#known = { stat, name };
      return name;
    } catch (error) {
      // Replaced while it was read: the next try sees the new one.
      if (hasCode(error, "FileNotFound")) return "CURRENT";
      throw error;
    }
  }
}

function sameInode(left: FileStat, right: FileStat): boolean {
  return left.inode === right.inode && left.modifiedNs === right.modifiedNs && left.size === right.size;
}
