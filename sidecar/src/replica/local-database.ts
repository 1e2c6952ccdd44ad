import { MetaMasterError, hasCode, messageOf } from "../base/errors.js";
import type { FileSystem } from "../base/file-system.js";
import {
  CURRENT_BYTES_MAX,
  oldTableFileName,
  parseCurrent,
  parseFileName,
  tableFileName,
} from "../formats/rocksdb/file-names.js";
import { ManifestCursor } from "../formats/rocksdb/manifest-cursor.js";
import { ManifestState } from "../formats/rocksdb/manifest-state.js";
import type { DatabaseLocation } from "./layout.js";

const STEP_BYTES = 1024 * 1024;

/** A database as its own files describe it. */
export interface LocalDatabase {
  readonly location: DatabaseLocation;
  /** Name of the MANIFEST that CURRENT names. */
  readonly manifest: string;
  readonly manifestNumber: number;
  readonly manifestSize: number;
  /** Offset after its last whole edit or atomic group. */
  readonly manifestEnd: number;
  readonly state: ManifestState;
}

/** Undefined: there is no CURRENT. Throws `ImageIncomplete` (corrupt) where RocksDB could not open it either. */
export async function readLocalDatabase(
  fs: FileSystem,
  location: DatabaseLocation,
): Promise<LocalDatabase | undefined> {
  const current = await readCurrent(fs, location);
  if (current === undefined) return undefined;
  const path = `${location.path}/${current.name}`;
  const state = new ManifestState(path);
  const cursor = new ManifestCursor(path);
  let file;
  try {
    file = await fs.open(path, "read");
  } catch (error) {
    if (!hasCode(error, "FileNotFound")) throw error;
    throw incomplete(location, `CURRENT names ${current.name}, which is not there`, { file: path });
  }
  try {
    const { size } = await file.stat();
    const slice = new Uint8Array(Math.min(STEP_BYTES, Math.max(1, size)));
    for (let offset = 0; offset < size;) {
      const got = await file.read(slice.subarray(0, Math.min(slice.length, size - offset)), offset);
      if (got === 0) break;
      for (const unit of cursor.feed(slice.subarray(0, got))) state.apply(unit);
      if (cursor.nextOffset <= offset) break;
      offset = cursor.nextOffset;
    }
    const problem = cursor.problem();
    if (problem !== undefined) throw incomplete(location, messageOf(problem), { file: path }, problem);
    return {
      location,
      manifest: current.name,
      manifestNumber: current.number,
      manifestSize: size,
      manifestEnd: cursor.wholeEnd,
      state,
    };
  } catch (error) {
    if (hasCode(error, "ManifestCorrupt")) throw incomplete(location, error.message, { file: path }, error);
    throw error;
  } finally {
    await file.close();
  }
}

/** Every table and blob file that the MANIFEST names is there, with its size. Throws `ImageIncomplete`. */
export async function proveLiveFiles(fs: FileSystem, { location, state }: LocalDatabase): Promise<void> {
  const sizes = new Map<string, number>();
  for (const { name, kind } of await fs.list(location.path)) {
    const parsed = parseFileName(name);
    if (kind !== "file" || (parsed?.type !== "table" && parsed?.type !== "blob")) continue;
    const stat = await fs.stat(`${location.path}/${name}`);
    if (stat !== undefined) sizes.set(name, stat.size);
  }
  const live = new Set(state.liveFiles());
  for (const { number, size } of state.tables()) {
    live.delete(tableFileName(number));
    const name = sizes.has(tableFileName(number)) ? tableFileName(number) : oldTableFileName(number);
    const found = sizes.get(name);
    if (found === undefined)
      throw incomplete(location, `table ${tableFileName(number)} is missing`, { file: tableFileName(number) });
    if (BigInt(found) !== BigInt(size)) {
      throw incomplete(location, `table ${name} has ${found} bytes, ${size} by the MANIFEST`, { file: name });
    }
  }
  for (const name of live) {
    if (!sizes.has(name)) throw incomplete(location, `blob file ${name} is missing`, { file: name });
  }
}

export function incomplete(
  location: DatabaseLocation,
  hole: string,
  details: Readonly<Record<string, string | number>> = {},
  cause?: unknown,
): MetaMasterError {
  return new MetaMasterError(
    "ImageIncomplete",
    "corrupt",
    `The database ${location.name} in ${location.path} is not whole: ${hole}.`,
    {
      ...(cause === undefined ? {} : { cause }),
      hint: "No master is started on it. The disk is compared with the log again; if that doesn't mend it, `metamaster verify` says what the bucket lacks.",
      details: { database: location.name, path: location.path, ...details },
    },
  );
}

async function readCurrent(
  fs: FileSystem,
  location: DatabaseLocation,
): Promise<{ name: string; number: number } | undefined> {
  const path = `${location.path}/CURRENT`;
  try {
    return parseCurrent(await fs.readFile(path, CURRENT_BYTES_MAX), path);
  } catch (error) {
    if (hasCode(error, "FileNotFound")) return undefined;
    if (hasCode(error, "CurrentFileInvalid") || hasCode(error, "FileTooLarge"))
      throw incomplete(location, messageOf(error), { file: path }, error);
    throw error;
  }
}
