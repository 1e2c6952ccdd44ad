import { createHash, type Hash } from "node:crypto";
import { eachParallel } from "../base/each-parallel.js";
import { MetaMasterError, hasCode, isKind } from "../base/errors.js";
import type { FileHandle, FileSystem } from "../base/file-system.js";
import { release } from "../base/release.js";
import type { Logger } from "../base/log.js";
import type { Bucket } from "../bucket/bucket.js";
import { MIB, type Digest } from "../formats/entry.js";
import type { LocalFolders } from "./local-folders.js";
import { RangePool } from "./range-pool.js";

export interface FetchSettings {
  /** One get of a larger object asks for so much. */
  readonly rangeBytes: number;
  /** Ranges on their way or waiting to be written, of all files together: times `rangeBytes` it bounds the memory. */
  readonly parallelRanges: number;
  /** Files at a time. */
  readonly parallelFiles: number;
}

export const fetchDefaults: FetchSettings = { rangeBytes: 8 * MIB, parallelRanges: 8, parallelFiles: 4 };

export interface FetchWanted {
  readonly key: string;
  readonly size: number;
  readonly sha256: Digest;
  readonly permissions: number;
}

export interface FetchComponents {
  readonly fs: FileSystem;
  readonly bucket: Bucket;
  readonly folders: LocalFolders;
  readonly logger: Logger;
}

const REREAD_BYTES = MIB;

/**
 * Brings objects that name their content to `.metamaster/incoming/<sha256>`: hashed while they are written, made durable, and only then given that name. What
 * a killed run had of one is gone on with; nothing is fetched twice, except an object that fails its check: once.
 */
export class TableFetcher {
  readonly #parts: FetchComponents;
  readonly #settings: FetchSettings;
  readonly #pool: RangePool;
  readonly #running = new Map<Digest, Promise<string>>();

  constructor(parts: FetchComponents, settings: FetchSettings = fetchDefaults) {
    this.#parts = parts;
    this.#settings = settings;
    this.#pool = new RangePool(settings.parallelRanges);
  }

  /**
   * The path of the verified, durable file; it is the caller's to move. `onBytes`: as bytes arrive (negative when they have to come again).
   * Throws `TableMissing`, `TableCorrupt` (corrupt), what the bucket and the file system throw.
   */
  fetch(wanted: FetchWanted, signal: AbortSignal, onBytes: (bytes: number) => void = () => undefined): Promise<string> {
    const running = this.#running.get(wanted.sha256);
    if (running !== undefined) return running;
    const mine = this.#fetch(wanted, signal, onBytes).finally(() => this.#running.delete(wanted.sha256));
    this.#running.set(wanted.sha256, mine);
    return mine;
  }

  /** All of them, `parallelFiles` at a time; the first failure ends the others. */
  async fetchAll(
    wanted: readonly FetchWanted[],
    signal: AbortSignal,
    onBytes?: (bytes: number) => void,
  ): Promise<void> {
    await eachParallel(wanted, this.#settings.parallelFiles, signal, async (each, inner) => {
      await this.fetch(each, inner, onBytes);
    });
  }

  /** Removes what was fetched or begun and is not wanted by digest. */
  async clear(keep: ReadonlySet<Digest> = new Set()): Promise<void> {
    const { fs, folders } = this.#parts;
    if ((await fs.stat(folders.incoming)) === undefined) return;
    for (const { name } of await fs.list(folders.incoming)) {
      if (!keep.has(name.replace(/\.part$/, ""))) await fs.removeTree(`${folders.incoming}/${name}`);
    }
  }

  async #fetch(wanted: FetchWanted, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<string> {
    const { fs, folders, logger } = this.#parts;
    const path = `${folders.incoming}/${wanted.sha256}`;
    const part = `${path}.part`;
    signal.throwIfAborted();
    await fs.makeDirectory(folders.incoming);
    const there = await fs.stat(path);
    if (there?.kind === "file" && there.size === wanted.size) {
      onBytes(wanted.size);
      return path;
    }
    for (let again = false; ; again = true) {
      let counted = 0;
      const count = (bytes: number): void => {
        counted += bytes;
        onBytes(bytes);
      };
      try {
        const { resumed } = await this.#toPart(part, wanted, signal, count);
        if (resumed === "bad") throw corrupt(wanted, "the part that was kept of it does not fit");
        await fs.rename(part, path);
        return path;
      } catch (error) {
        if (!isKind(error, "corrupt")) throw error;
        // What is wrong may have been the way here, or a part that a power failure left: once more from the start.
        onBytes(-counted);
        await fs.unlink(part);
        if (again) throw error;
        logger.warn({ err: error, key: wanted.key }, `${wanted.key} fails its check, fetching it once more`);
      }
    }
  }

  async #toPart(
    part: string,
    wanted: FetchWanted,
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
  ): Promise<{ readonly resumed: "no" | "good" | "bad" }> {
    const { fs } = this.#parts;
    const file = await fs.open(part, "readWrite", wanted.permissions & 0o777);
    try {
      const hash = createHash("sha256");
      const start = await this.#resume(file, wanted, hash, signal);
      onBytes(start);
      await this.#ranges(file, wanted, start, hash, signal, onBytes);
      if (hash.digest("hex") !== wanted.sha256) {
        if (start > 0) return { resumed: "bad" };
        throw corrupt(wanted, "its sha256 is another one");
      }
      await file.sync();
      return { resumed: start > 0 ? "good" : "no" };
    } finally {
      await file.close();
    }
  }

  /** Hashes what an earlier run left; returns its size. Parts are written in order, so they have no holes. */
  async #resume(file: FileHandle, wanted: FetchWanted, hash: Hash, signal: AbortSignal): Promise<number> {
    const { size } = await file.stat();
    if (size === 0) return 0;
    if (size > wanted.size) {
      await file.truncate(0);
      return 0;
    }
    const slice = new Uint8Array(Math.min(REREAD_BYTES, size));
    for (let offset = 0; offset < size;) {
      signal.throwIfAborted();
      const got = await file.read(slice.subarray(0, Math.min(slice.length, size - offset)), offset);
      if (got === 0) return offset;
      hash.update(slice.subarray(0, got));
      offset += got;
    }
    return size;
  }

  async #ranges(
    file: FileHandle,
    wanted: FetchWanted,
    start: number,
    hash: Hash,
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    const { rangeBytes } = this.#settings;
    const stop = new AbortController();
    const inner = AbortSignal.any([signal, stop.signal]);
    const ahead: Promise<Uint8Array>[] = [];
    let asked = start;
    // An empty object has nothing to fetch.
    const more = (): boolean => asked < wanted.size && ahead.length < this.#pool.places;
    try {
      for (let offset = start; offset < wanted.size;) {
        while (more()) {
          const length = Math.min(rangeBytes, wanted.size - asked);
          const range = this.#range(wanted, asked, length, inner);
          // Waited for below in order; when an earlier one fails nobody does.
          range.catch(() => undefined);
          ahead.push(range);
          asked += length;
        }
        const bytes = await ahead[0];
        if (bytes === undefined) break;
        const written = file.write(bytes, offset);
        hash.update(bytes);
        await written;
        offset += bytes.length;
        onBytes(bytes.length);
        release(bytes);
        await ahead.shift();
        this.#pool.give();
      }
    } finally {
      stop.abort(new Error("no longer needed"));
      for (const range of ahead) {
        await range.then(
          () => this.#pool.give(),
          () => undefined,
        );
      }
    }
  }

  /** Holds a place of the pool once it resolves; none if it rejects. */
  async #range(wanted: FetchWanted, offset: number, length: number, signal: AbortSignal): Promise<Uint8Array> {
    await this.#pool.take();
    try {
      signal.throwIfAborted();
      const { key } = wanted;
      // One byte more at the end tells an object that is too long.
      const ask = offset + length === wanted.size ? length + 1 : length;
      const bytes = await this.#parts.bucket.get(key, { signal, maxBytes: ask, range: { offset, length: ask } });
      if (bytes === undefined) throw missing(wanted);
      if (bytes.length !== length) {
        throw corrupt(wanted, bytes.length > length ? "it is longer" : `it ends at ${offset + bytes.length}`);
      }
      return bytes;
    } catch (error) {
      this.#pool.give();
      if (hasCode(error, "ObjectTooLarge")) throw corrupt(wanted, "it is longer");
      throw error;
    }
  }
}

function corrupt({ key, size, sha256 }: FetchWanted, why: string): MetaMasterError {
  return new MetaMasterError(
    "TableCorrupt",
    "corrupt",
    `The object ${key} is not the file of ${size} bytes that the log names: ${why}.`,
    {
      hint: "Nothing of it was used. Bring the object back from the bucket's versions, or from a member that has the file (its sha256 tells).",
      details: { key, size, sha256 },
    },
  );
}

function missing({ key, size, sha256 }: FetchWanted): MetaMasterError {
  return new MetaMasterError("TableMissing", "corrupt", `The object ${key} that the log names is not in the bucket.`, {
    hint: "Something deleted it: bring it back from the bucket's versions, or from a member that has the file (its sha256 tells).",
    details: { key, size, sha256 },
  });
}
