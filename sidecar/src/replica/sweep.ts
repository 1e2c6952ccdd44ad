import { dirname } from "node:path";
import { parseFileName } from "../formats/rocksdb/file-names.js";
import type { ImagePath } from "../formats/entry.js";
import { COMPANIONS_ROOT, databaseFileKind } from "./layout-map.js";
import { CompanionFinder } from "./ship/companions.js";
import { Listings } from "./ship/listing.js";
import type { ReplicaTools } from "./tools.js";

/** A file or directory on this disk that an image may name. */
export interface LocalFile {
  readonly path: ImagePath;
  readonly local: string;
  readonly size: number;
  readonly kind: "file" | "directory";
}

/** Everything on the disk that could be part of an image: files with RocksDB's names in the databases' directories, and companions. */
export async function listLocal(tools: Pick<ReplicaTools, "fs" | "clock" | "layout">): Promise<LocalFile[]> {
  const { fs, clock, layout } = tools;
  const found: LocalFile[] = [];
  for (const { root, directory, walOnly } of layout.roots) {
    for (const name of await databaseNames(tools, directory)) {
      if (databaseFileKind(name) === undefined || (walOnly && parseFileName(name)?.type !== "wal")) continue;
      const stat = await fs.stat(`${directory}/${name}`);
      if (stat?.kind === "file")
        found.push({ path: `${root}/${name}`, local: `${directory}/${name}`, size: stat.size, kind: "file" });
    }
  }
  const finder = new CompanionFinder(
    fs,
    new Listings(fs, clock),
    layout.layout,
    (name) => parseFileName(name) !== undefined,
  );
  for (const { path, local, stat } of await finder.list()) {
    if (stat.kind === "other") continue;
    found.push({ path: `${COMPANIONS_ROOT}/${path}`, local, size: stat.size, kind: stat.kind });
  }
  return found;
}

/** Names in a database's directory, those in `archive/` with that before them. */
async function databaseNames({ fs }: Pick<ReplicaTools, "fs">, directory: string): Promise<string[]> {
  if ((await fs.stat(directory))?.kind !== "directory") return [];
  const names: string[] = [];
  for (const { name, kind } of await fs.list(directory)) {
    if (kind === "file") names.push(name);
    else if (kind === "directory" && name === "archive") {
      for (const archived of await fs.list(`${directory}/archive`)) names.push(`archive/${archived.name}`);
    }
  }
  return names;
}

/** Removes what is not in `keep`, deepest first; returns the directories in which names changed. */
export async function sweep(
  tools: Pick<ReplicaTools, "fs" | "clock" | "layout" | "logger">,
  keep: { has(path: ImagePath): boolean },
): Promise<readonly string[]> {
  const { fs, logger } = tools;
  const extra = (await listLocal(tools)).filter(({ path }) => !keep.has(path));
  const changed = new Set<string>();
  for (const { local, kind } of extra.toSorted((left, right) => (left.local < right.local ? 1 : -1))) {
    if (kind === "file") await fs.unlink(local);
    else if ((await fs.list(local)).length === 0) await fs.removeTree(local);
    else continue;
    changed.add(dirname(local));
  }
  if (extra.length > 0) {
    const files = extra.slice(0, 20).map(({ path }) => path);
    logger.info({ count: extra.length, files }, `removed ${extra.length} files that are not part of the history`);
  }
  return [...changed];
}
