import { constants, lstatSync } from "node:fs";
import * as native from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { hasCode, MetaMasterError } from "./errors.js";
import type { DirectoryEntry, FileHandle, FileStat, FileSystem, Watch } from "./file-system.js";
import { errnoOf, fileError, fileTooLarge, notAFile } from "./node-file-errors.js";
import { NodeFileHandle, toStat } from "./node-file-handle.js";
import { NodeWatch } from "./node-watch.js";

/** A pipe that nobody writes to would block the open for ever; a link could lead anywhere. */
const SAFE = constants.O_NOFOLLOW | constants.O_NONBLOCK;
const READ_STEP_BYTES = 64 * 1024;

/** The operating system's file system (POSIX). */
export class NodeFileSystem implements FileSystem {
  #temporaries = 0;

  /**
   * In this thread: it is answered from the kernel's memory within microseconds, a trip to the thread pool takes 0.1 to 0.3 ms, and a cut
   * makes ten of them while a master waits for its barrier.
   */
  async stat(path: string): Promise<FileStat | undefined> {
    try {
      const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      return found === undefined ? undefined : toStat(found);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw fileError(error, "look at", path);
    }
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    const entries = await attempt("list", path, () => native.readdir(path, { withFileTypes: true }));
    return entries
      .map((entry): DirectoryEntry => ({
        name: entry.name,
        kind: entry.isFile() ? "file" : entry.isDirectory() ? "directory" : "other",
      }))
      .toSorted((left, right) => (left.name < right.name ? -1 : 1));
  }

  async open(path: string, mode: "read" | "readWrite" | "createExclusive", permissions?: number): Promise<FileHandle> {
    const doing = mode === "read" ? "open" : "open for writing";
    if (mode === "createExclusive") return new NodeFileHandle(await create(path, permissions), path);
    const access = mode === "read" ? constants.O_RDONLY : constants.O_RDWR;
    for (;;) {
      try {
        const file = await native.open(path, access | SAFE);
        return new NodeFileHandle(await checkRegular(file, path, doing), path);
      } catch (error) {
        if (mode === "read" || errnoOf(error) !== "ENOENT") throw fileError(error, doing, path);
      }
      try {
        return new NodeFileHandle(await create(path, permissions), path);
      } catch (error) {
        // Somebody created it in between, or it is a link that leads nowhere: the next round says which.
        if (!hasCode(error, "FileExists")) throw error;
      }
    }
  }

  async readFile(path: string, maxBytes: number): Promise<Uint8Array> {
    const file = await this.open(path, "read");
    try {
      const { size } = await file.stat();
      if (size > maxBytes) throw fileTooLarge(path, maxBytes);
      return await readAll(file, path, size, maxBytes);
    } finally {
      await file.close();
    }
  }

  async writeFileAtomic(path: string, bytes: Uint8Array, permissions?: number): Promise<void> {
    const directory = dirname(path);
    const temporary = join(directory, `${basename(path)}.${process.pid}-${this.#temporaries++}.tmp`);
    try {
      // A process of the same id may have died here.
      await this.unlink(temporary);
      const file = await create(temporary, permissions);
      const handle = new NodeFileHandle(file, path);
      try {
        await handle.write(bytes, 0);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await this.rename(temporary, path);
    } catch (error) {
      await native.rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    await this.syncDirectory(directory);
  }

  link(existing: string, created: string): Promise<void> {
    return attempt(`link ${existing} to`, created, () => native.link(existing, created));
  }

  rename(from: string, to: string): Promise<void> {
    return attempt(`rename ${from} to`, to, () => native.rename(from, to));
  }

  async unlink(path: string): Promise<void> {
    try {
      await native.unlink(path);
    } catch (error) {
      if (!isAbsent(error)) throw fileError(error, "remove", path);
    }
  }

  async makeDirectory(path: string): Promise<void> {
    await attempt("create the directory", path, () => makeDirectories(resolve(path)));
  }

  async removeTree(path: string): Promise<void> {
    await attempt("remove", path, () => native.rm(path, { recursive: true, force: true }));
  }

  async syncDirectory(path: string): Promise<void> {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY;
    const directory = await attempt("open the directory", path, () => native.open(path, flags));
    try {
      await attempt("make durable the names in", path, () => directory.sync());
    } finally {
      await directory.close();
    }
  }

  async freeBytes(path: string): Promise<number> {
    const { bavail, bsize } = await attempt("measure the file system of", path, () => native.statfs(path));
    return bavail * bsize;
  }

  watch(directories: readonly string[], onChange: () => void): Watch {
    return new NodeWatch(directories, onChange);
  }
}

async function attempt<T>(doing: string, path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw fileError(error, doing, path);
  }
}

/** Node's own way of doing this goes round and round where a directory takes no others (`/proc`). */
async function makeDirectories(path: string): Promise<void> {
  const made = await makeOne(path);
  if (made === undefined) return;
  const parent = dirname(path);
  if (errnoOf(made) !== "ENOENT" || parent === path) throw made;
  await makeDirectories(parent);
  const again = await makeOne(path);
  if (again !== undefined) throw errnoOf(again) === "ENOENT" ? takesNone(path, again) : again;
}

/** Why not; undefined: it is there. */
async function makeOne(path: string): Promise<unknown> {
  try {
    await native.mkdir(path);
    return undefined;
  } catch (error) {
    return (await isDirectory(path)) ? undefined : error;
  }
}

function takesNone(path: string, cause: unknown): MetaMasterError {
  return new MetaMasterError("FileDenied", "invalid", `Could not create ${path}: no directory can be made there.`, {
    cause,
    hint: "Name a place on a file system that keeps files.",
    details: { path },
  });
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await native.stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === "ENOENT" || errno === "ENOTDIR";
}

async function create(path: string, permissions: number | undefined): Promise<native.FileHandle> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | SAFE;
  const file = await attempt("create", path, () => native.open(path, flags, permissions ?? 0o644));
  if (permissions === undefined) return file;
  try {
    // The process's umask took bits away.
    await attempt("set the permissions of", path, () => file.chmod(permissions));
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function checkRegular(file: native.FileHandle, path: string, doing: string): Promise<native.FileHandle> {
  let regular = false;
  try {
    regular = (await file.stat()).isFile();
  } finally {
    if (!regular) await file.close();
  }
  if (!regular) throw notAFile(path, doing);
  return file;
}

/** `expected` is a hint only: files of /proc say 0, and others may grow meanwhile. */
async function readAll(file: FileHandle, path: string, expected: number, maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let want = expected + 1; ; want = READ_STEP_BYTES) {
    const part = new Uint8Array(Math.min(want, maxBytes - total + 1));
    const got = await file.read(part, total);
    total += got;
    if (total > maxBytes) throw fileTooLarge(path, maxBytes);
    parts.push(part.subarray(0, got));
    if (got < part.length) return concat(parts, total);
  }
}

function concat(parts: readonly Uint8Array[], total: number): Uint8Array {
  const [first] = parts;
  return first !== undefined && first.length === total ? first : Buffer.concat(parts);
}
