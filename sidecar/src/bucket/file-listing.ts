import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ListPage } from "./bucket.js";
import { errnoOf } from "./file-errors.js";
import { isKeySegment } from "./keys.js";

interface Query {
  readonly prefix: string;
  readonly startAfter: string | undefined;
  readonly limit: number;
}

interface Entry {
  /** Ends in a slash for a folder, so that the order of entries is the byte order of the keys below them. */
  readonly key: string;
  readonly path: string;
  readonly folder: boolean;
}

/** One page of a folder tree as keys in byte order. Names that can't be keys (temporary files, `.nfs...`) are not objects. */
export async function listFiles(root: string, query: Query, signal: AbortSignal): Promise<ListPage> {
  const objects: { key: string; size: number }[] = [];
  for await (const entry of walk(root, "", query, signal)) {
    if (objects.length === query.limit) return { objects, more: true };
    const found = await stat(entry.path).catch(absent);
    if (found?.isFile() === true) objects.push({ key: entry.key, size: found.size });
  }
  return { objects, more: false };
}

async function* walk(directory: string, below: string, query: Query, signal: AbortSignal): AsyncGenerator<Entry> {
  signal.throwIfAborted();
  for (const entry of await entriesOf(directory, below)) {
    if (!mayMatch(entry, query)) continue;
    if (entry.folder) yield* walk(entry.path, entry.key, query, signal);
    else yield entry;
  }
}

async function entriesOf(directory: string, below: string): Promise<Entry[]> {
  // A folder below the root that vanished meanwhile is empty; a missing root is an error of the caller's.
  const names = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if (below !== "") return absent(error) ?? [];
    throw error;
  });
  const entries = names
    .filter((entry) => isKeySegment(entry.name) && (entry.isFile() || entry.isDirectory()))
    .map((entry) => ({
      key: below + entry.name + (entry.isDirectory() ? "/" : ""),
      path: join(directory, entry.name),
      folder: entry.isDirectory(),
    }));
  return entries.toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

function mayMatch({ key, folder }: Entry, { prefix, startAfter }: Query): boolean {
  if (folder) {
    // Any key below it begins with `key`.
    if (!key.startsWith(prefix) && !prefix.startsWith(key)) return false;
    return startAfter === undefined || key > startAfter || startAfter.startsWith(key);
  }
  return key.startsWith(prefix) && (startAfter === undefined || key > startAfter);
}

function absent(error: unknown): undefined {
  const errno = errnoOf(error);
  if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
  throw error;
}
