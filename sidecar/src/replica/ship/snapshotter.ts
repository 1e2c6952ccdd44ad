import { createHash } from "node:crypto";
import { hasCode, isKind, messageOf, MetaMasterError } from "../../base/errors.js";
import type { ByteSource } from "../../bucket/bucket.js";
import { TABLE_PREFIX, type ImagePath } from "../../formats/entry.js";
import type { Image } from "../../formats/image-fold.js";
import type { ImageFile, ImageState } from "../../formats/image.js";
import type { Appended } from "../../log/log.js";
import { LogBytes } from "./log-bytes.js";
import type { ShipTools, SnapshotStore } from "./settings.js";

const READ_BYTES = 1024 * 1024;
const TRIES_MAX = 5;
const RETRY_MS = 500;

type AppendFile = Extract<ImageFile, { readonly kind: "append" }>;
type Base = NonNullable<AppendFile["base"]>;

export interface SnapshotterParts {
  readonly tools: ShipTools;
  readonly image: Image;
  readonly store: SnapshotStore;
  readonly baseAfterSlots: number;
  readonly baseAfterBytes: number;
  /** Where a WAL or MANIFEST of the image is on this disk; undefined if it is no database's. */
  readonly toLocal: (file: ImagePath) => string | undefined;
}

/** A file is stored whole only if a restore reads so many times its bytes of the log for it: large ones are not stored again and again. */
const WORTH_TIMES = 4;

/**
 * Writes snapshots of the durable image. A WAL or MANIFEST that began long ago would keep all slots since then from being trimmed, and make
 * a restore read all that others wrote there: it gets a base object with what it holds now, and needs only the slots after this
 * snapshot's.
 */
export class Snapshotter {
  readonly #parts: SnapshotterParts;
  readonly #bases = new Map<ImagePath, { readonly base: Base; readonly firstSlot: number; readonly begunAt: number }>();

  readonly #putting = new Set<string>();
  readonly #logBytes: LogBytes;

  constructor(parts: SnapshotterParts) {
    this.#parts = parts;
    this.#logBytes = new LogBytes(parts.baseAfterSlots + 2);
  }

  /** An entry of this epoch became durable. */
  wrote({ position, size }: Appended): void {
    this.#logBytes.wrote(position.slot, size);
  }

  /** Bases that were stored, or are being stored, for snapshots of this epoch: no entry ever refers to them. */
  pinnedKeys(): readonly string[] {
    return [...this.#putting, ...[...this.#bases.values()].map(({ base }) => base.key)];
  }

  /** Of the image as it is at the call; rejects with the reason after a few tries. */
  async store(signal: AbortSignal): Promise<void> {
    const state = this.#parts.image.state();
    const files = new Map(state.files);
    for (const [path, { begunAt }] of this.#bases) {
      const file = files.get(path);
      // Another file of that name begins in another slot: a database that is made anew uses names again.
      if (file?.kind !== "append" || file.firstSlot !== begunAt) this.#bases.delete(path);
    }
    for (const [path, file] of state.files) {
      if (file.kind === "append") files.set(path, await this.#withBase(path, file, state, signal));
    }
    await this.#retry(signal, () => this.#parts.store.put({ ...state, files }, signal));
  }

  async #withBase(path: ImagePath, file: AppendFile, state: ImageState, signal: AbortSignal): Promise<AppendFile> {
    const known = this.#bases.get(path);
    const based: AppendFile = known === undefined ? file : { ...file, base: known.base, firstSlot: known.firstSlot };
    const nextSlot = state.position.slot + 1;
    // The base of an earlier epoch's snapshot goes with that snapshot, and the slots that it stands for are gone: make a new one.
    const stale = (known === undefined && file.base !== undefined) || based.firstSlot <= state.trimmedThrough;
    if (!stale && (based.base?.size === file.size || !this.#isFar(based, nextSlot))) return based;
    const local = this.#parts.toLocal(path);
    if (local === undefined) return based;
    try {
      const base = await this.#retry(signal, () => this.#upload(path, local, file.size, signal));
      this.#bases.set(path, { base, firstSlot: nextSlot, begunAt: file.firstSlot });
      this.#putting.delete(base.key);
      return { ...file, base, firstSlot: nextSlot };
    } catch (error) {
      signal.throwIfAborted();
      // Gone with a rollover or a flush: the next checkpoint removes it from the image too.
      if (!hasCode(error, "FileNotFound")) {
        this.#parts.tools.logger.warn({ file: path, err: error }, `No base could be stored: ${messageOf(error)}`);
      }
      return based;
    }
  }

  #isFar({ firstSlot, size }: AppendFile, nextSlot: number): boolean {
    const { baseAfterSlots, baseAfterBytes } = this.#parts;
    if (nextSlot - firstSlot > baseAfterSlots) return true;
    return firstSlot < nextSlot && this.#logBytes.since(firstSlot) > Math.max(baseAfterBytes, WORTH_TIMES * size);
  }

  async #upload(path: ImagePath, local: string, size: number, signal: AbortSignal): Promise<Base> {
    const { fs, bucket, writer } = this.#parts.tools;
    const file = await fs.open(local, "read");
    try {
      // A WAL that is recycled loses its name before it is written over: what was read while it had it is what it held.
      const { inode } = await file.stat();
      const read = async (offset: number, length: number): Promise<Uint8Array> => {
        const bytes = new Uint8Array(length);
        const got = await file.read(bytes, offset);
        if ((await fs.stat(local))?.inode === inode) return bytes.subarray(0, got);
        throw new MetaMasterError("FileNotFound", "invalid", `${local} was removed or recycled.`, {
          details: { path: local },
        });
      };
      const sha256 = await digestOf(read, size, signal);
      const folder = path.slice(0, path.indexOf("/")).replace("@", "_");
      const key = `${TABLE_PREFIX}${writer.epoch}/${folder}/${path.slice(path.lastIndexOf("/") + 1)}-${sha256}`;
      this.#putting.add(key);
      await bucket.put(key, { size, read }, { signal });
      return { key, size, sha256 };
    } finally {
      await file.close();
    }
  }

  async #retry<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        if (!isKind(error, "transient") || attempt >= TRIES_MAX) throw error;
        await this.#parts.tools.clock.sleep(RETRY_MS * 2 ** attempt, signal);
      }
    }
  }
}

async function digestOf(read: ByteSource["read"], size: number, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for (let offset = 0; offset < size;) {
    signal.throwIfAborted();
    const bytes = await read(offset, Math.min(READ_BYTES, size - offset));
    if (bytes.length === 0) break;
    hash.update(bytes);
    offset += bytes.length;
  }
  return hash.digest("hex");
}
