import type { FileHandle, FileSystem } from "../base/file-system.js";
import type { ImagePath } from "../formats/entry.js";
import type { ImageLayout } from "./layout-map.js";
import type { AppendSink } from "./restore-log.js";

/**
 * Compares the log's bytes with those of the disk, without writing. Bytes of a group that never took effect may differ by right; what came to count in their place is
 * compared after them, so the last word on a place is what stands.
 */
export class CompareSink implements AppendSink {
  readonly #fs: FileSystem;
  readonly #layout: ImageLayout;
  readonly #open = new Map<ImagePath, FileHandle | undefined>();
  /** Ranges that differ, by file: start and end. */
  readonly #different = new Map<ImagePath, [number, number][]>();

  constructor(fs: FileSystem, layout: ImageLayout) {
    this.#fs = fs;
    this.#layout = layout;
  }

  async append(file: ImagePath, offset: number, bytes: Uint8Array): Promise<void> {
    const ranges = (this.#different.get(file) ?? []).filter(([start]) => start < offset);
    const handle = await this.#handle(file);
    if (handle !== undefined) {
      const there = new Uint8Array(bytes.length);
      const got = await handle.read(there, offset);
      if (Buffer.compare(there.subarray(0, got), bytes.subarray(0, got)) !== 0) ranges.push([offset, offset + got]);
    }
    this.#different.set(file, ranges);
  }

  /** The first `size` bytes on the disk are others than those of the file's base object. */
  differs(file: ImagePath, size: number): void {
    this.#different.set(file, [[0, size]]);
  }

  /** Files of which bytes below the given size are others on the disk; a file that isn't there is not among them. */
  different(sizes: ReadonlyMap<ImagePath, number>): ImagePath[] {
    return [...sizes].flatMap(([file, size]) =>
      (this.#different.get(file) ?? []).some(([start]) => start < size) ? [file] : [],
    );
  }

  async close(): Promise<void> {
    for (const handle of this.#open.values()) await handle?.close();
    this.#open.clear();
  }

  async #handle(file: ImagePath): Promise<FileHandle | undefined> {
    if (this.#open.has(file)) return this.#open.get(file);
    const local = this.#layout.toLocal(file);
    const stat = await this.#fs.stat(local);
    const handle = stat?.kind === "file" ? await this.#fs.open(local, "read") : undefined;
    this.#open.set(file, handle);
    return handle;
  }
}
