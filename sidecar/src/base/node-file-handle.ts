import { readSync, type BigIntStats } from "node:fs";
import type { FileHandle as NativeHandle } from "node:fs/promises";
import type { EntryKind, FileHandle, FileStat } from "./file-system.js";
import { fileError } from "./node-file-errors.js";

/**
 * Reads up to this size are made in this thread: the newest records of a WAL are in the kernel's memory and cost some microseconds, a trip to
 * the thread pool takes 0.1 to 0.3 ms.
 */
const SYNC_BYTES_MAX = 16 * 1024;

/** An open file of the operating system. */
export class NodeFileHandle implements FileHandle {
  readonly #native: NativeHandle;
  readonly #path: string;

  constructor(native: NativeHandle, path: string) {
    this.#native = native;
    this.#path = path;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < target.length) {
      const bytesRead = await this.#try("read", () => this.#readSome(target.subarray(done), position + done));
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  async #readSome(target: Uint8Array, position: number): Promise<number> {
    if (target.length <= SYNC_BYTES_MAX) return readSync(this.#native.fd, target, 0, target.length, position);
    const { bytesRead } = await this.#native.read(target, 0, target.length, position);
    return bytesRead;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await this.#try("write to", () =>
        this.#native.write(bytes, done, bytes.length - done, position + done),
      );
      done += bytesWritten;
    }
  }

  truncate(size: number): Promise<void> {
    return this.#try("cut", () => this.#native.truncate(size));
  }

  sync(): Promise<void> {
    return this.#try("make durable", () => this.#native.sync());
  }

  async stat(): Promise<FileStat> {
    return toStat(await this.#try("look at", () => this.#native.stat({ bigint: true })));
  }

  close(): Promise<void> {
    return this.#try("close", () => this.#native.close());
  }

  async #try<T>(doing: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw fileError(error, doing, this.#path);
    }
  }
}

export function toStat(stats: BigIntStats): FileStat {
  const kind: EntryKind = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other";
  return {
    size: Number(stats.size),
    modifiedNs: stats.mtimeNs,
    inode: stats.ino,
    device: stats.dev,
    links: Number(stats.nlink),
    permissions: Number(stats.mode & 0o7777n),
    kind,
  };
}
