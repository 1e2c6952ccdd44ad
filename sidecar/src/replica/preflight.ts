import { MetaMasterError } from "../base/errors.js";
import { parseFileName } from "../formats/rocksdb/file-names.js";
import type { ImageLayout } from "./layout-map.js";
import { parseGlob } from "./ship/glob.js";
import type { ReplicaTools } from "./tools.js";

/** What lies in a directory besides databases without meaning anything: file systems make it. */
const harmless: ReadonlySet<string> = new Set([".metamaster", "lost+found", ".snapshot"]);
const NAMES_SHOWN = 5;

/**
 * Looks at the configured directories before anything is done with them: true if there is any file of a database. Throws `NotRocksDb`, `PathBlocked`, `CrossDevice`
 * (invalid). A directory that isn't there yet is as good as an empty one.
 */
export async function preflight(tools: Pick<ReplicaTools, "fs" | "layout" | "folders">): Promise<boolean> {
  const { fs, layout, folders } = tools;
  await fs.makeDirectory(folders.root);
  const own = await fs.stat(folders.root);
  let data = false;
  for (const { directory, database, walOnly } of layout.roots) {
    const stat = await fs.stat(directory);
    if (stat === undefined) continue;
    if (stat.kind !== "directory") throw blocked(directory, database.name);
    if (own !== undefined && stat.device !== own.device) throw crossDevice(directory, folders.root);
    const entries = await fs.list(directory);
    const ours = entries.filter(({ name }) => isData(name));
    data ||= ours.length > 0;
    if (ours.length > 0) continue;
    const foreign = entries.filter(({ name }) => !isExpected(layout, directory, name)).map(({ name }) => name);
    if (foreign.length > 0 && !walOnly) throw notRocksDb(directory, database.name, foreign);
  }
  return data;
}

function isData(name: string): boolean {
  const type = parseFileName(name)?.type;
  return type === "wal" || type === "manifest" || type === "current" || type === "table" || type === "blob";
}

/** Names that may lie in an empty database's directory: RocksDB's, ours, and the way to other configured things. */
function isExpected({ layout, roots }: ImageLayout, directory: string, name: string): boolean {
  if (parseFileName(name) !== undefined || name === "archive" || harmless.has(name)) return true;
  const path = `${directory}/${name}`;
  if (roots.some((other) => other.directory === path || other.directory.startsWith(`${path}/`))) return true;
  if (layout.dataDirectory === path || layout.dataDirectory.startsWith(`${path}/`)) return true;
  if (!path.startsWith(`${layout.dataDirectory}/`)) return false;
  const segments = path.slice(layout.dataDirectory.length + 1).split("/");
  return layout.companions.map(parseGlob).some((glob) => glob.matches(segments) || glob.mayMatchBelow(segments));
}

function notRocksDb(directory: string, name: string, foreign: readonly string[]): MetaMasterError {
  const shown = foreign.slice(0, NAMES_SHOWN).join(", ");
  return new MetaMasterError(
    "NotRocksDb",
    "invalid",
    `${directory} holds no RocksDB database, but other files: ${shown}.`,
    {
      hint: `Name the directory of the database in \`databases[].path\`, or an empty one. What lies beside the database belongs in \`companions\`.`,
      details: { path: directory, database: name, files: foreign.length },
    },
  );
}

function blocked(directory: string, name: string): MetaMasterError {
  return new MetaMasterError(
    "PathBlocked",
    "invalid",
    `${directory}, the directory of the database ${name}, is a link, a file or a device.`,
    {
      hint: "Name the real directory: symbolic links are not followed.",
      details: { path: directory, database: name },
    },
  );
}

function crossDevice(path: string, root: string): MetaMasterError {
  return new MetaMasterError(
    "CrossDevice",
    "invalid",
    `${path} is on another file system than ${root}, so no hard link can lead from one to the other.`,
    {
      hint: "Put the data directory and every database and WAL directory on one file system (one volume).",
      details: { path, links: root },
    },
  );
}
