import { MetaMasterError, hasCode, isKind, messageWithHint } from "../../base/errors.js";
import type { FileStat } from "../../base/file-system.js";
import type { ByteSource } from "../../bucket/bucket.js";
import { TABLE_PREFIX, type Digest } from "../../formats/entry.js";
import type { FileDigests } from "./digests.js";
import type { ShipTools } from "./settings.js";
import type { Shipped } from "./shipped.js";

const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 15_000;
/** Names in keys keep this much of the file's. */
const NAME_MAX = 80;

/** A file to be brought into the bucket: `local` does not go away nor change until it is there (a link). */
export interface Upload {
  /** The key's folder: a database's name, or `companions`. */
  readonly folder: string;
  readonly file: string;
  readonly local: string;
  readonly stat: FileStat;
}

export interface Uploaded {
  readonly sha256: Digest;
  readonly size: number;
  readonly key: string;
}

/**
 * Brings immutable files into the bucket, bounded in parallel, each at most once: what the image refers to by digest is not uploaded
 * again, nor what this epoch uploaded for a checkpoint that was given up. The digest is part of the key, so a file is read twice; the
 * second time it comes from the page cache.
 */
export class Uploader {
  readonly #tools: ShipTools;
  readonly #digests: FileDigests;
  readonly #shipped: Shipped;
  readonly #parallel: number;
  /** Uploaded by this epoch and not yet seen in the image. */
  readonly #fresh = new Map<Digest, string>();
  /** Keys of this epoch that were in the image: once gone from it a trim may doom them, so they are never written again. */
  readonly #used = new Set<string>();
  readonly #putting = new Set<string>();
  readonly #underWay = new Map<Digest, Promise<void>>();
  trouble: string | undefined;

  constructor(tools: ShipTools, digests: FileDigests, shipped: Shipped, parallel: number) {
    this.#tools = tools;
    this.#digests = digests;
    this.#shipped = shipped;
    this.#parallel = parallel;
  }

  /** Objects that no entry refers to yet but one soon will: a collector must leave them alone. */
  pinnedKeys(): readonly string[] {
    return [...this.#putting, ...this.#fresh.values()];
  }

  /** Told of every key that an emitted entry refers to. */
  referenced(sha256: Digest, key: string): void {
    if (this.#fresh.get(sha256) !== key) return;
    this.#fresh.delete(sha256);
    this.#used.add(key);
  }

  /** May an entry still refer to it? False if the last file that referred to it has left the image meanwhile. */
  valid({ sha256, key }: Uploaded): boolean {
    return this.#fresh.get(sha256) === key || this.#shipped.keyOf(sha256) === key;
  }

  /**
   * All of them, or rejects. Transient trouble is retried for ever, file by file, until `signal` aborts; `done` is called as each is in
   * the bucket. Throws `FileChanged` / `FileNotFound` (take a new cut), invalid and corrupt errors as they are.
   */
  async all(
    uploads: readonly Upload[],
    signal: AbortSignal,
    done: (upload: Upload, uploaded: Uploaded) => void,
  ): Promise<void> {
    const total = uploads.reduce((sum, { stat }) => sum + stat.size, 0);
    let finished = 0;
    let next = 0;
    const failure = new AbortController();
    const both = AbortSignal.any([signal, failure.signal]);
    const work = async (): Promise<void> => {
      for (let upload = uploads[next++]; upload !== undefined; upload = uploads[next++]) {
        const uploaded = await this.#one(upload, both);
        finished += upload.stat.size;
        this.#tools.progress.report("upload", finished, total);
        done(upload, uploaded);
      }
    };
    const workers = Array.from({ length: Math.min(this.#parallel, uploads.length) }, work);
    try {
      await Promise.all(workers);
    } catch (error) {
      failure.abort(error);
      await Promise.allSettled(workers);
      throw error;
    }
  }

  async #one(upload: Upload, signal: AbortSignal): Promise<Uploaded> {
    const { sha256, size } = await this.#digests.of(upload.local, upload.stat, signal);
    // The same content under another name is on its way: one of them is enough.
    for (let other = this.#underWay.get(sha256); other !== undefined; other = this.#underWay.get(sha256)) await other;
    const known = this.#shipped.keyOf(sha256) ?? this.#fresh.get(sha256);
    if (known !== undefined) {
      this.#tools.metrics.tableUploaded(size, true);
      return { sha256, size, key: known };
    }
    const key = this.#keyFor(upload, sha256);
    this.#putting.add(key);
    const put = this.#putUntilThere(key, upload, signal);
    this.#underWay.set(
      sha256,
      put.catch(() => undefined),
    );
    try {
      await put;
      this.#fresh.set(sha256, key);
    } finally {
      this.#underWay.delete(sha256);
      this.#putting.delete(key);
    }
    this.#tools.metrics.tableUploaded(size, false);
    return { sha256, size, key };
  }

  #keyFor({ folder, file }: Upload, sha256: Digest): string {
    const name = file.replace(/[^A-Za-z0-9_.=-]/g, "_").slice(-NAME_MAX);
    const stem = `${TABLE_PREFIX}${this.#tools.writer.epoch}/${folder}/${/^[A-Za-z0-9_]/.test(name) ? name : `_${name}`}`;
    for (let again = 0; ; again++) {
      const key = again === 0 ? `${stem}-${sha256}` : `${stem}-${again}-${sha256}`;
      if (!this.#used.has(key)) return key;
    }
  }

  async #putUntilThere(key: string, upload: Upload, signal: AbortSignal): Promise<void> {
    const { bucket, clock, random, logger } = this.#tools;
    for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(RETRY_MAX_MS, pauseMs * 2)) {
      try {
        await this.#put(key, upload, signal);
        this.trouble = undefined;
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (hasCode(error, "SourceChanged") || hasCode(error, "FileNotFound")) throw fileChanged(upload.local, error);
        if (!isKind(error, "transient")) throw error;
        this.trouble = `upload of ${upload.folder}/${upload.file} to ${bucket.url}: ${messageWithHint(error)}`;
        logger.warn({ key, err: error, pauseMs }, "Uploading a table failed; it is tried again.");
        await clock.sleep(pauseMs * (0.5 + random.float() / 2), signal);
      }
    }
  }

  async #put(key: string, upload: Upload, signal: AbortSignal): Promise<void> {
    const file = await this.#tools.fs.open(upload.local, "read");
    const source: ByteSource = {
      size: upload.stat.size,
      read: async (offset, length) => {
        const bytes = new Uint8Array(length);
        return bytes.subarray(0, await file.read(bytes, offset));
      },
    };
    try {
      await this.#tools.bucket.put(key, source, { signal });
    } finally {
      await file.close();
    }
  }
}

function fileChanged(path: string, cause: unknown): MetaMasterError {
  return new MetaMasterError("FileChanged", "transient", `${path} changed while it was uploaded.`, {
    cause,
    hint: "It is chosen again from a new cut.",
    details: { path },
  });
}
