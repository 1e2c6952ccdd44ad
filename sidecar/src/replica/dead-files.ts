import { hasCode } from "../base/errors.js";
import { parseFileName, type FileName } from "../formats/rocksdb/file-names.js";
import type { ImagePath } from "../formats/entry.js";
import type { ImageState } from "../formats/image.js";
import { readLocalDatabase, type LocalDatabase } from "./local-database.js";
import type { LocalFile } from "./sweep.js";
import type { ReplicaTools } from "./tools.js";

/**
 * Which of these files no recovery of the databases on this disk would read, by their own CURRENT and MANIFEST: flushed and archived WALs, compacted tables, MANIFESTs and
 * OPTIONS before the newest. RocksDB removes them late, or, killed, not at all. None of a database whose MANIFEST can't be read to its end, and no WAL newer than
 * the image's: that it was flushed since says how much was written beyond the history.
 */
export async function deadFiles(
  { fs, layout }: Pick<ReplicaTools, "fs" | "layout">,
  files: readonly LocalFile[],
  image: ImageState,
): Promise<ReadonlySet<ImagePath>> {
  const dead = new Set<ImagePath>();
  for (const location of layout.layout.databases) {
    const namesIn = (paths: Iterable<ImagePath>): Named[] =>
      [...paths].flatMap((path) => {
        const name = layout.rootOf(path)?.database === location ? nameOf(path) : undefined;
        return name === undefined ? [] : [{ path, name }];
      });
    const own = namesIn(files.map(({ path }) => path));
    const newest = { options: newestOf("options", own), wal: newestOf("wal", namesIn(image.files.keys())) };
    const isDead = await judge(fs, location, newest);
    for (const { path, name } of own) if (isDead(name)) dead.add(path);
  }
  return dead;
}

const nothing = (): boolean => false;

async function judge(
  fs: ReplicaTools["fs"],
  location: LocalDatabase["location"],
  newest: { readonly options: number; readonly wal: number },
): Promise<(name: FileName) => boolean> {
  try {
    const database = await readLocalDatabase(fs, location);
    if (database === undefined || database.manifestEnd !== database.manifestSize) return nothing;
    const live = new Set(database.state.liveFiles().map((name) => nameNumber(name)));
    const { previousLogNumber } = database.state;
    const floor = Math.min(database.state.walFloor(), newest.wal);
    return (name) => {
      if (name.type === "wal") return name.number < floor && name.number !== previousLogNumber;
      if (name.type === "table" || name.type === "blob") return !live.has(name.number);
      if (name.type === "manifest") return name.number < database.manifestNumber;
      return name.type === "options" && name.number < newest.options;
    };
  } catch (error) {
    if (hasCode(error, "ImageIncomplete") || hasCode(error, "FilesElsewhere")) return nothing;
    throw error;
  }
}

interface Named {
  readonly path: ImagePath;
  readonly name: FileName;
}

function newestOf(type: "options" | "wal", names: readonly Named[]): number {
  return names.reduce((newest, { name }) => (name.type === type ? Math.max(newest, name.number) : newest), 0);
}

function nameOf(path: ImagePath): FileName | undefined {
  return parseFileName(path.slice(path.indexOf("/") + 1));
}

/** Tables and blobs take their numbers from one counter. */
function nameNumber(name: string): number | undefined {
  const parsed = parseFileName(name);
  return parsed !== undefined && "number" in parsed ? parsed.number : undefined;
}
