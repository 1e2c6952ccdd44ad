import { MetaMasterError } from "../../base/errors.js";
import type { FileStat, FileSystem } from "../../base/file-system.js";
import { imagePathFault } from "../../formats/image-path.js";
import { directoriesOf, type Layout } from "../layout.js";
import { parseGlob, type Glob } from "./glob.js";
import type { Listings } from "./listing.js";

export const COMPANIONS = "@companions";
const COMPANIONS_MAX = 100_000;

export interface Companion {
  /** Relative to the data directory, '/'-separated. */
  readonly path: string;
  readonly local: string;
  readonly stat: FileStat;
}

/** What lies beside the databases at one moment, sorted by path. */
export type CompanionListing = readonly Companion[];

/** True if nothing was added, removed or changed between the two listings. */
export function sameListing(left: CompanionListing, right: CompanionListing): boolean {
  return (
    left.length === right.length &&
    left.every((companion, index) => {
      const other = right[index];
      return other?.path === companion.path && sameFile(companion.stat, other.stat);
    })
  );
}

/** The same content as far as the file system tells. A directory's own time does not count: its entries are listed. */
function sameFile(left: FileStat, right: FileStat): boolean {
  if (left.kind !== right.kind || left.permissions !== right.permissions) return false;
  if (left.kind === "directory") return true;
  return left.inode === right.inode && left.size === right.size && left.modifiedNs === right.modifiedNs;
}

/** Finds the companions on the disk. */
export class CompanionFinder {
  readonly #fs: FileSystem;
  readonly #listings: Listings;
  readonly #layout: Layout;
  readonly #globs: readonly Glob[];
  readonly #databaseDirectories: ReadonlySet<string>;
  readonly #isDatabaseFile: (name: string) => boolean;

  /** `isDatabaseFile`: is this a name that RocksDB gives; such files directly in a database's directory are never companions. */
  constructor(fs: FileSystem, listings: Listings, layout: Layout, isDatabaseFile: (name: string) => boolean) {
    this.#fs = fs;
    this.#listings = listings;
    this.#layout = layout;
    this.#globs = layout.companions.map(parseGlob);
    this.#isDatabaseFile = isDatabaseFile;
    this.#databaseDirectories = new Set(directoriesOf(layout.databases));
  }

  get none(): boolean {
    return this.#globs.length === 0;
  }

  /** The directories to watch: those in which a companion may appear, as far as they are named without wildcards. */
  roots(): string[] {
    return this.#globs.flatMap(({ root }) => {
      const parent = [this.#layout.dataDirectory, ...root.slice(0, -1)].join("/");
      return [parent, [this.#layout.dataDirectory, ...root].join("/")];
    });
  }

  async list(): Promise<CompanionListing> {
    const found = new Map<string, Companion>();
    for (const glob of this.#globs) await this.#walk(glob, glob.root, found);
    return [...found.values()].toSorted((left, right) => (left.path < right.path ? -1 : 1));
  }

  async #walk(glob: Glob, segments: readonly string[], found: Map<string, Companion>): Promise<void> {
    const path = segments.join("/");
    const local = [this.#layout.dataDirectory, ...segments].join("/");
    const stat = path === "" ? undefined : await this.#fs.stat(local);
    if (path !== "" && stat === undefined) return;
    if (stat !== undefined && glob.matches(segments)) this.#add({ path, local, stat }, glob, found);
    if (stat !== undefined && stat.kind !== "directory") return;
    if (!glob.mayMatchBelow(segments) && segments.length > 0) return;
    const inDatabase = this.#databaseDirectories.has(local);
    for (const { name } of await this.#listings.list(local)) {
      if (segments.length === 0 && name === ".metamaster") continue;
      if (inDatabase && this.#isDatabaseFile(name)) continue;
      await this.#walk(glob, [...segments, name], found);
    }
  }

  #add(companion: Companion, glob: Glob, found: Map<string, Companion>): void {
    const { path, stat } = companion;
    const fault =
      stat.kind === "other"
        ? "is neither a file nor a directory (links, sockets and devices can't be replicated)"
        : imagePathFault(`${COMPANIONS}/${path}`);
    if (fault !== undefined) {
      throw new MetaMasterError(
        "CompanionUnsupported",
        "invalid",
        `The companion ${JSON.stringify(path)} (by ${JSON.stringify(glob.pattern)}) ${fault}.`,
        { hint: "Name it more narrowly in `companions`, or remove it.", details: { path } },
      );
    }
    if (found.size >= COMPANIONS_MAX) {
      throw new MetaMasterError("CompanionsTooMany", "invalid", `More than ${COMPANIONS_MAX} companions match.`, {
        hint: "Name them more narrowly in `companions`.",
        details: { pattern: glob.pattern },
      });
    }
    found.set(path, companion);
  }
}
