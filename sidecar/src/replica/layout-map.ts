import { MetaMasterError } from "../base/errors.js";
import type { ImagePath } from "../formats/entry.js";
import { imagePathFault } from "../formats/image-path.js";
import { parseFileName, type FileName } from "../formats/rocksdb/file-names.js";
import type { DatabaseLocation, Layout, LayoutMap } from "./layout.js";

export const COMPANIONS_ROOT = "@companions";
const WAL_SUFFIX = "@wal";

/** A directory whose files an image names: `root` is the first part of their image paths. */
export interface ImageRoot {
  readonly root: string;
  /** Absolute. */
  readonly directory: string;
  readonly database: DatabaseLocation;
  /** It holds the database's WALs and nothing else. */
  readonly walOnly: boolean;
}

/** What a name directly in a database's directory is to us. */
export type DatabaseFileKind = "append" | "immutable" | "small";

const kinds: Readonly<Record<FileName["type"], DatabaseFileKind | undefined>> = {
  wal: "append",
  manifest: "append",
  table: "immutable",
  blob: "immutable",
  current: "small",
  options: "small",
  identity: "small",
  lock: undefined,
  infoLog: undefined,
  temporary: undefined,
  auxiliary: undefined,
};

/** `name` relative to the database's directory; undefined: not part of an image (LOCK, LOG, temporary and foreign files). */
export function databaseFileKind(name: string): DatabaseFileKind | undefined {
  const parsed = parseFileName(name);
  return parsed === undefined ? undefined : kinds[parsed.type];
}

/**
 * Names of the image to paths on this disk and back. Strict: what an image names lies in a configured database under a name that RocksDB gives, or is a
 * companion that is neither such a file nor ours (`.metamaster`). No path leads out; that no directory on the way is a symbolic link is `Directories`' part.
 */
export class ImageLayout implements LayoutMap {
  readonly layout: Layout;
  readonly roots: readonly ImageRoot[];
  readonly #byRoot: ReadonlyMap<string, ImageRoot>;
  readonly #byDirectory: ReadonlyMap<string, ImageRoot>;

  constructor(layout: Layout) {
    this.layout = layout;
    this.roots = layout.databases.flatMap((database) => {
      const { name, path, walPath } = database;
      const main = { root: name, directory: path, database, walOnly: false };
      if (walPath === undefined || walPath === path) return [main];
      return [main, { root: name + WAL_SUFFIX, directory: walPath, database, walOnly: true }];
    });
    this.#byRoot = new Map(this.roots.map((root) => [root.root, root]));
    this.#byDirectory = new Map(this.roots.map((root) => [root.directory, root]));
  }

  toLocal(file: ImagePath): string {
    const fault = imagePathFault(file);
    if (fault !== undefined) throw invalid(file, fault);
    const slash = file.indexOf("/");
    const [first, rest] = [file.slice(0, slash), file.slice(slash + 1)];
    if (first === COMPANIONS_ROOT) return this.#companion(file, rest);
    const root = this.#byRoot.get(first);
    if (root === undefined) throw notConfigured(first);
    const kind = databaseFileKind(rest);
    if (kind === undefined) throw invalid(file, "is no file that RocksDB keeps in a database");
    if (root.walOnly && parseFileName(rest)?.type !== "wal") throw invalid(file, "is no WAL");
    return `${root.directory}/${rest}`;
  }

  /** Throws unless all that the image holds has its place here: what a configuration leaves out would be shipped as removed. */
  check(files: Iterable<ImagePath>): void {
    for (const file of files) this.toLocal(file);
  }

  /** Where the database's directory is that holds this file of the image; undefined for companions. */
  rootOf(file: ImagePath): ImageRoot | undefined {
    return this.#byRoot.get(file.slice(0, file.indexOf("/")));
  }

  /** The image path of a local file; undefined if it can't be part of an image. */
  toImage(local: string): ImagePath | undefined {
    for (const { root, directory, walOnly } of this.roots) {
      if (!local.startsWith(`${directory}/`)) continue;
      const rest = local.slice(directory.length + 1);
      const kind = databaseFileKind(rest);
      if (kind !== undefined && (!walOnly || parseFileName(rest)?.type === "wal")) return `${root}/${rest}`;
    }
    const { dataDirectory } = this.layout;
    if (!local.startsWith(`${dataDirectory}/`)) return undefined;
    const file = `${COMPANIONS_ROOT}/${local.slice(dataDirectory.length + 1)}`;
    return imagePathFault(file) === undefined && !this.#isDatabaseFile(local) ? file : undefined;
  }

  #companion(file: ImagePath, rest: string): string {
    const local = `${this.layout.dataDirectory}/${rest}`;
    if (this.#byDirectory.has(local)) throw invalid(file, "is a database's directory");
    if (this.#isDatabaseFile(local)) throw invalid(file, "is a file of a database");
    for (const { directory } of this.roots) {
      if (directory.startsWith(`${local}/`)) throw invalid(file, "holds a database");
    }
    return local;
  }

  /** A name that RocksDB uses, directly in a database's directory (or its `archive`), also one that is never part of an image. */
  #isDatabaseFile(local: string): boolean {
    return this.roots.some(
      ({ directory }) =>
        local.startsWith(`${directory}/`) && parseFileName(local.slice(directory.length + 1)) !== undefined,
    );
  }
}

function notConfigured(root: string): MetaMasterError {
  const [, name = root, suffix] = /^(.*?)(@wal)?$/.exec(root) ?? [];
  const lacking =
    suffix === undefined
      ? `a database ${JSON.stringify(name)}`
      : `WALs of ${JSON.stringify(name)} in a directory of their own`;
  return new MetaMasterError(
    "DatabaseNotConfigured",
    "invalid",
    `The history holds ${lacking}, which this member's configuration does not name.`,
    {
      hint: "Give `databases` the names that they had, and the same on every member: nothing was touched. To give one up for good, begin another prefix with `bootstrap: Adopt`.",
      details: { database: name },
    },
  );
}

function invalid(file: ImagePath, fault: string): MetaMasterError {
  const shown = file.length > 200 ? `${file.slice(0, 200)}...` : file;
  return new MetaMasterError(
    "ImagePathInvalid",
    "corrupt",
    `The history names the file ${JSON.stringify(shown)}, which ${fault}.`,
    {
      hint: "Are `databases`, their names and `companions` the same on every member? If they are, a writer broke a rule: report it.",
      details: { file: shown },
    },
  );
}
