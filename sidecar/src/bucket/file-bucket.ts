import { link, open, readdir, rename, stat, unlink, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage } from "./bucket.js";
import { bytesSource, readExactly } from "./byte-source.js";
import { withDeadline } from "../base/deadline.js";
import { DurableDirectories, syncDirectory } from "./durable-directories.js";
import { bucketClosed, bucketTimeout, objectTooLarge, type ErrorContext } from "./errors.js";
import { errnoOf, fileBucketError } from "./file-errors.js";
import { listFiles } from "./file-listing.js";
import { checkKeyPrefix, fullKey } from "./keys.js";
import { checkGet, listLimit } from "./limits.js";
import { transferMs, type TransferSettings } from "./transfer.js";

export interface FileBucketSettings extends TransferSettings {
  /** Absolute path of an existing folder that holds nothing but this bucket. */
  readonly root: string;
  /** "" or ending in a slash: a folder below the root. */
  readonly prefix: string;
  /** Temporary files of killed processes are removed once nobody wrote to them for so long. */
  readonly temporaryMaxAgeMs: number;
}

export interface FileBucketComponents {
  readonly clock: Clock;
  readonly random: Random;
}

/** `~` is in no key, so the folder is in no listing and no key can name a file in it. */
const temporaryFolder = "~tmp";
const copyBytes = 1 << 20;

/**
 * A folder as a bucket, for several processes of one machine, or of several over a shared POSIX file system (NFS). An object appears under its
 * key whole and synced, or not at all: it is written to a temporary file, synced, and linked (create) or renamed (replace) to its place,
 * then the folder is synced. The temporary name stays until that is done, so a file with two names may not be on the disk yet: readers
 * sync its folder before they believe in it.
 */
export class FileBucket implements Bucket {
  readonly url: string;
  readonly #settings: FileBucketSettings;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #directories: DurableDirectories;
  /** Another inode under the same path: the file system was unmounted, or the folder replaced. */
  readonly #rootInode: bigint;
  #sweptMs: number | undefined;
  #closed = false;

  private constructor(settings: FileBucketSettings, components: FileBucketComponents, rootInode: bigint) {
    this.url = pathToFileURL(join(settings.root, settings.prefix)).href;
    this.#settings = settings;
    this.#clock = components.clock;
    this.#random = components.random;
    this.#directories = new DurableDirectories(settings.root);
    this.#rootInode = rootInode;
  }

  /** Throws `BucketNotFound` (invalid) if the folder is not there: an empty one made by mistake would look like a lost history. */
  static async open(settings: FileBucketSettings, components: FileBucketComponents): Promise<FileBucket> {
    const found = await stat(settings.root, { bigint: true }).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw fileBucketError(error, { url: pathToFileURL(settings.root).href, operation: "list" });
    });
    if (found?.isDirectory() !== true) throw rootMissing(settings.root, found === undefined);
    return new FileBucket(settings, components, found.ino);
  }

  async putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
    return this.#write("putIfAbsent", key, bytesSource(body), call, async (temporary, path) => {
      const won = await linkedByUs(temporary, path);
      // Also for "exists": what the caller decides from it must not rest on a name that a power failure takes away.
      await syncDirectory(dirname(path));
      return won ? "created" : "exists";
    });
  }

  async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    await this.#write("put", key, source, call, async (temporary, path) => {
      await rename(temporary, path);
      await syncDirectory(dirname(path));
    });
  }

  async get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    const path = this.#path(key);
    checkGet(call);
    const { maxBytes, range } = call;
    const ms = transferMs(this.#settings, range?.length ?? maxBytes);
    return this.#run({ url: this.url, operation: "get", key }, call, ms, async () => {
      const handle = await this.#present(open(path, "r"));
      if (handle === undefined) return undefined;
      try {
        const { size, nlink, isFile } = await statOf(handle);
        if (!isFile) return undefined;
        if (nlink > 1) await syncDirectory(dirname(path));
        const offset = range?.offset ?? 0;
        const length = Math.max(0, Math.min(range?.length ?? size, size - offset));
        if (length > maxBytes) throw objectTooLarge(this.url, key, length, maxBytes);
        return await readFully(handle, offset, length);
      } finally {
        await handle.close();
      }
    });
  }

  async head(key: string, call: CallOptions): Promise<number | undefined> {
    const path = this.#path(key);
    return this.#run({ url: this.url, operation: "head", key }, call, this.#settings.callMs, async () => {
      const found = await this.#present(stat(path));
      if (found?.isFile() !== true) return undefined;
      if (found.nlink > 1) await syncDirectory(dirname(path));
      return found.size;
    });
  }

  async list(prefix: string, call: ListOptions): Promise<ListPage> {
    checkKeyPrefix(prefix);
    const own = this.#settings.prefix;
    const startAfter = call.startAfter === undefined ? undefined : own + call.startAfter;
    const query = { prefix: own + prefix, startAfter, limit: listLimit(call) };
    return this.#run({ url: this.url, operation: "list", key: prefix }, call, this.#settings.callMs, async (signal) => {
      await this.#checkRoot();
      const { objects, more } = await listFiles(this.#settings.root, query, signal);
      return { objects: objects.map(({ key, size }) => ({ key: key.slice(own.length), size })), more };
    });
  }

  async delete(key: string, call: CallOptions): Promise<void> {
    const path = this.#path(key);
    await this.#run({ url: this.url, operation: "delete", key }, call, this.#settings.callMs, async () => {
      const removed = await this.#present(unlink(path).then(() => true));
      if (removed === true) await syncDirectory(dirname(path));
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #path(key: string): string {
    return join(this.#settings.root, fullKey(this.#settings.prefix, key));
  }

  async #run<T>(
    context: ErrorContext,
    call: CallOptions,
    defaultMs: number,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (this.#closed) throw bucketClosed(this.url);
    const ms = call.deadlineMs ?? defaultMs;
    const limits = { signal: call.signal, ms, late: () => bucketTimeout(context, ms) };
    return withDeadline(this.#clock, limits, async (signal) => {
      try {
        return await work(signal);
      } catch (error) {
        signal.throwIfAborted();
        throw fileBucketError(error, context);
      }
    });
  }

  /** Writes a temporary file, lets `place` give it its name, and takes the temporary name away whatever happens. */
  async #write<T>(
    operation: "put" | "putIfAbsent",
    key: string,
    source: ByteSource,
    call: CallOptions,
    place: (temporary: string, path: string) => Promise<T>,
  ): Promise<T> {
    const path = this.#path(key);
    const ms = transferMs(this.#settings, source.size);
    return this.#run({ url: this.url, operation, key }, call, ms, async (signal) => {
      const [temporary, handle] = await this.#createTemporary();
      try {
        try {
          await copyTo(handle, source, signal);
          await handle.sync();
        } finally {
          await handle.close();
        }
        signal.throwIfAborted();
        // Another folder under this name (an older copy put back, the folder below a lost mount) would take it as well.
        await this.#checkRoot();
        return await this.#inFolder(dirname(path), () => place(temporary, path));
      } finally {
        await unlink(temporary).catch((error: unknown) => {
          // Renamed; or swept because this process slept for very long.
          if (errnoOf(error) !== "ENOENT") throw error;
        });
      }
    });
  }

  async #createTemporary(): Promise<[string, FileHandle]> {
    const folder = join(this.#settings.root, temporaryFolder);
    const path = join(folder, Buffer.from(this.#random.bytes(16)).toString("hex"));
    const handle = await this.#inFolder(folder, () => open(path, "wx", 0o666));
    await this.#sweep(folder, handle);
    return [path, handle];
  }

  /** Makes the folder first if need be, and once more if something removed it since this process last looked. */
  async #inFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
    try {
      await this.#directories.ensure(folder);
      return await work();
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
    await this.#checkRoot();
    this.#directories.forget();
    await this.#directories.ensure(folder);
    return work();
  }

  /** Removes what killed processes left. Ages are told by the file system's own clock: `fresh` was made just now. */
  async #sweep(folder: string, fresh: FileHandle): Promise<void> {
    const { temporaryMaxAgeMs } = this.#settings;
    const nowMs = this.#clock.monotonicMs();
    if (this.#sweptMs !== undefined && nowMs - this.#sweptMs < temporaryMaxAgeMs) return;
    this.#sweptMs = nowMs;
    const { mtimeMs: now } = await fresh.stat();
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const found = await this.#present(stat(path));
      if (found !== undefined && now - found.mtimeMs > temporaryMaxAgeMs) await this.#present(unlink(path));
    }
  }

  /** undefined for a file that isn't there, provided that the bucket itself is: an unmounted bucket must not look like an empty one. */
  async #present<T>(answer: Promise<T>): Promise<T | undefined> {
    try {
      return await answer;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== "ENOENT" && errno !== "ENOTDIR") throw error;
      await this.#checkRoot();
      return undefined;
    }
  }

  async #checkRoot(): Promise<void> {
    const { root } = this.#settings;
    const found = await stat(root, { bigint: true }).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    });
    if (found === undefined) throw rootMissing(root, true);
    if (found.ino !== this.#rootInode) throw rootReplaced(this.url, root);
  }
}

function rootMissing(root: string, absent: boolean): MetaMasterError {
  const what = absent ? "does not exist" : "is not a folder";
  return new MetaMasterError("BucketNotFound", "invalid", `The bucket folder ${root} ${what}.`, {
    hint: `Is its file system mounted? If it is to be a new bucket: mkdir -p ${root}`,
    details: { path: root },
  });
}

function rootReplaced(url: string, root: string): MetaMasterError {
  return new MetaMasterError(
    "BucketUnavailable",
    "transient",
    `The bucket ${url} is not the folder it was when it was opened.`,
    { hint: `Mount its file system at ${root} again; if the folder was replaced on purpose, restart MetaMaster.` },
  );
}

/**
 * True if `path` is now a name of our temporary file. The answer of link(2) is not enough: over NFS it may fail with EEXIST although
 * it was our own link that succeeded, when the request was sent twice. The count of names can't lie (open(2), O_EXCL).
 */
async function linkedByUs(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const { nlink } = await stat(temporary);
    if (nlink > 1) return true;
    if (errnoOf(error) !== "EEXIST") throw error;
    if (!(await stat(path)).isFile()) throw Object.assign(new Error(`${path} is a folder`), { code: "EISDIR" });
    return false;
  }
}

async function statOf(handle: FileHandle): Promise<{ size: number; nlink: number; isFile: boolean }> {
  const found = await handle.stat();
  return { size: found.size, nlink: found.nlink, isFile: found.isFile() };
}

async function copyTo(handle: FileHandle, source: ByteSource, signal: AbortSignal): Promise<void> {
  for (let offset = 0; offset < source.size; offset += copyBytes) {
    signal.throwIfAborted();
    const bytes = await readExactly(source, offset, Math.min(copyBytes, source.size - offset));
    for (let written = 0; written < bytes.length;) {
      const answer = await handle.write(bytes, written, bytes.length - written, offset + written);
      written += answer.bytesWritten;
    }
  }
}

async function readFully(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let got = 0; got < length;) {
    const { bytesRead } = await handle.read(bytes, got, length - got, offset + got);
    // Objects never shrink; whoever cut this one did it behind our back, and the digests above will tell.
    if (bytesRead === 0) return bytes.subarray(0, got);
    got += bytesRead;
  }
  return bytes;
}
