import { MetaMasterError, hasCode } from "../base/errors.js";
import type { ImagePath } from "../formats/entry.js";
import type { ImageState } from "../formats/image.js";
import { parseCurrent, parseFileName } from "../formats/rocksdb/file-names.js";
import { proveStandalone } from "./continuity.js";
import type { LocalDatabase } from "./local-database.js";
import type { ImageLayout } from "./layout-map.js";
import { FileDigests } from "./ship/digests.js";
import type { ReplicaTools } from "./tools.js";

/**
 * Undefined if the disk is whole by itself and lacks nothing of the image but what its own MANIFESTs say is obsolete; else what is wrong: a power failure took
 * bytes that had been shipped, or a file is gone.
 */
export async function findDamage(tools: ReplicaTools, image: ImageState): Promise<MetaMasterError | undefined> {
  let databases: readonly LocalDatabase[];
  try {
    databases = await proveStandalone(tools);
  } catch (error) {
    if (hasCode(error, "ImageIncomplete")) return error;
    throw error;
  }
  const byName = new Map(databases.map((database) => [database.location.name, database]));
  for (const [path, file] of image.files) {
    const root = tools.layout.rootOf(path);
    if (root === undefined) continue;
    const database = byName.get(root.database.name);
    if (database === undefined) return damage(path, "is in the log, but the disk has no such database");
    const name = path.slice(path.indexOf("/") + 1);
    if (file.kind === "small" && name === "CURRENT") {
      const { number } = parseCurrent(file.bytes, path);
      if (number > database.manifestNumber)
        return damage(path, `names MANIFEST ${number} in the log, and an older one on the disk`);
    }
    if (file.kind !== "append") continue;
    const stat = await tools.fs.stat(tools.layout.toLocal(path));
    if (stat === undefined) {
      if (!isObsolete(database, name)) return damage(path, "is in the log, and gone from the disk");
    } else if (stat.size < file.size)
      return damage(path, `has ${stat.size} bytes on the disk and ${file.size} in the log`);
  }
  return undefined;
}

/**
 * A companion that was shipped and that the disk doesn't hold as it was. In one boot of the machine the master did that, and it is shipped; after another boot nothing tells it from
 * what a power failure took: to ship it would take from all members what a barrier may have acknowledged.
 */
export async function findLostCompanion(
  tools: ReplicaTools,
  image: ImageState,
  signal: AbortSignal,
): Promise<ImagePath | undefined> {
  const digests = new FileDigests(tools.fs);
  for (const [path, file] of image.files) {
    if (tools.layout.rootOf(path) !== undefined) continue;
    const local = tools.layout.toLocal(path);
    const stat = await tools.fs.stat(local);
    if (stat === undefined || (stat.kind === "directory") !== (file.kind === "directory")) return path;
    if (file.kind === "small") {
      if (stat.size !== file.bytes.length) return path;
      if (Buffer.compare(await tools.fs.readFile(local, stat.size), file.bytes) !== 0) return path;
    } else if (file.kind === "table") {
      if (stat.size !== file.size || (await digests.of(local, stat, signal)).sha256 !== file.sha256) return path;
    }
  }
  return undefined;
}

/** Does the database's own MANIFEST say that nobody needs this WAL or MANIFEST any more? */
function isObsolete(database: LocalDatabase, name: string): boolean {
  const parsed = parseFileName(name);
  if (parsed?.type === "manifest") return parsed.number < database.manifestNumber;
  return parsed?.type === "wal" && (parsed.archived || parsed.number < database.state.walFloor());
}

/** Image files whose shipped bytes are to be compared with the disk's. */
export function localAppends(layout: ImageLayout, image: ImageState): Map<ImagePath, number> {
  const files = new Map<ImagePath, number>();
  for (const [path, file] of image.files)
    if (file.kind === "append" && layout.rootOf(path) !== undefined) files.set(path, file.size);
  return files;
}

function damage(path: ImagePath, what: string): MetaMasterError {
  return new MetaMasterError("LocalDamaged", "corrupt", `${path} ${what}.`, {
    hint: "The bucket wins: the files are repaired from it, and what the disk holds beyond it goes to quarantine.",
    details: { file: path },
  });
}
