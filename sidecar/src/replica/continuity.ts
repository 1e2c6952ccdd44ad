import { eachParallel } from "../base/each-parallel.js";
import type { FileSystem } from "../base/file-system.js";
import { MetaMasterError } from "../base/errors.js";
import type { ImagePath } from "../formats/entry.js";
import type { ImageFile, ImageState } from "../formats/image.js";
import { parseFileName } from "../formats/rocksdb/file-names.js";
import type { DatabaseLocation } from "./layout.js";
import { databaseFileKind, type ImageLayout } from "./layout-map.js";
import { incomplete, proveLiveFiles, readLocalDatabase, type LocalDatabase } from "./local-database.js";
import { readWalTail } from "./wal-tail.js";

const STATS_PARALLEL = 16;

export interface ProofParts {
  readonly fs: FileSystem;
  readonly layout: ImageLayout;
}

/**
 * Proof that the disk holds exactly the image and that a RocksDB which opens it misses nothing: it opens without a word where a WAL is missing. Throws `ImageIncomplete`
 * (corrupt), which names the hole.
 */
export async function proveExact(parts: ProofParts, image: ImageState): Promise<void> {
  await proveFiles(parts, image);
  for (const location of parts.layout.layout.databases) {
    await proveNothingElse(parts, location, image);
    const database = await readLocalDatabase(parts.fs, location);
    if (database === undefined) {
      const left = [...image.files.keys()].find(
        (path) => parts.layout.rootOf(path)?.database.name === location.name && isData(path),
      );
      if (left !== undefined) throw incomplete(location, `${left} is there, but no CURRENT`);
      continue;
    }
    if (database.manifestEnd !== database.manifestSize) {
      throw incomplete(
        location,
        `${database.manifest} ends at ${database.manifestSize}, in the middle of an edit or atomic group`,
      );
    }
    await proveLiveFiles(parts.fs, database);
    await proveWals(parts, database, image);
  }
}

/**
 * Proof that what is on the disk is whole by itself: of a database that is ahead of the image, or was never replicated. What a crash leaves at the end of a
 * WAL or MANIFEST is RocksDB's own business.
 */
export async function proveStandalone(parts: ProofParts): Promise<LocalDatabase[]> {
  const databases: LocalDatabase[] = [];
  for (const location of parts.layout.layout.databases) {
    const database = await readLocalDatabase(parts.fs, location);
    if (database === undefined) {
      const directory = await parts.fs.stat(location.path);
      const names = directory === undefined ? [] : await parts.fs.list(location.path);
      const left = names.find(({ name }) => ["table", "blob", "manifest"].includes(parseFileName(name)?.type ?? ""));
      if (left !== undefined) throw incomplete(location, `${left.name} is there, but no CURRENT`, { file: left.name });
      continue;
    }
    await proveLiveFiles(parts.fs, database);
    databases.push(database);
  }
  return databases;
}

function isData(path: ImagePath): boolean {
  const kind = databaseFileKind(path.slice(path.indexOf("/") + 1));
  return kind === "append" || kind === "immutable";
}

async function proveFiles({ fs, layout }: ProofParts, image: ImageState): Promise<void> {
  await eachParallel(image.files, STATS_PARALLEL, new AbortController().signal, async ([path, file]) => {
    const local = layout.toLocal(path);
    const stat = await fs.stat(local);
    const wanted = file.kind === "directory" ? "directory" : "file";
    if (stat?.kind !== wanted) throw hole(path, local, stat === undefined ? "is missing" : `is no ${wanted}`);
    const size = sizeOf(file);
    if (size !== undefined && stat.size !== size)
      throw hole(path, local, `has ${stat.size} bytes, ${size} in the image`);
  });
}

function sizeOf(file: ImageFile): number | undefined {
  if (file.kind === "directory") return undefined;
  return file.kind === "small" ? file.bytes.length : file.size;
}

/** A WAL, MANIFEST or table with a higher number would be read, or refused, by RocksDB; a lower one is no better. */
async function proveNothingElse(
  { fs, layout }: ProofParts,
  location: DatabaseLocation,
  image: ImageState,
): Promise<void> {
  for (const { directory, database } of layout.roots) {
    if (database.name !== location.name || (await fs.stat(directory)) === undefined) continue;
    for (const { name } of await fs.list(directory)) {
      const path = layout.toImage(`${directory}/${name}`);
      if (databaseFileKind(name) === undefined || (path !== undefined && image.files.has(path))) continue;
      throw incomplete(location, `${directory}/${name} is not part of the image`, { file: `${directory}/${name}` });
    }
  }
}

async function proveWals({ fs, layout }: ProofParts, database: LocalDatabase, image: ImageState): Promise<void> {
  const floor = database.state.walFloor();
  for (const [path, file] of image.files) {
    const root = layout.rootOf(path);
    const parsed = parseFileName(path.slice(path.indexOf("/") + 1));
    if (root?.database.name !== database.location.name || parsed?.type !== "wal" || parsed.archived) continue;
    if (file.kind !== "append" || parsed.number < floor || file.size === 0) continue;
    const local = layout.toLocal(path);
    const handle = await fs.open(local, "read");
    try {
      const tail = await readWalTail(handle, local, parsed.number, file.size);
      if (tail.state.kind !== "clean" || tail.wholeEnd !== file.size) {
        const why = tail.state.kind === "clean" ? "" : ` (${tail.state.reason})`;
        throw incomplete(
          database.location,
          `${path} ends at ${file.size} in the middle of a record that begins at ${tail.wholeEnd}${why}`,
          {
            file: path,
            offset: tail.wholeEnd,
          },
        );
      }
    } finally {
      await handle.close();
    }
  }
}

function hole(path: ImagePath, local: string, what: string): MetaMasterError {
  return new MetaMasterError("ImageIncomplete", "corrupt", `${local} (${path}) ${what}.`, {
    hint: "No master is started on it. The disk is compared with the log again, which repairs it from the bucket.",
    details: { file: path, path: local },
  });
}
