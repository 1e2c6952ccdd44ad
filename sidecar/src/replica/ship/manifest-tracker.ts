// TEMPORARY until formats/rocksdb has its MANIFEST reader.
import type { FileSystem } from "../../base/file-system.js";
import { tableFileName } from "../../formats/rocksdb/file-names.js";
import { RecordReader } from "../../formats/rocksdb/record-reader.js";
import type { ManifestMark } from "./cut.js";
export class ManifestTracker {
  readonly #fs: FileSystem;
  readonly #directory: string;
  name = ""; wholeEnd = 0; minimumWal = 0;
  #tables = new Map<number, number>();
  #edits: { end: number; bind: boolean; first: bigint; last: bigint; isFile: boolean }[] = [];
  constructor(fs: FileSystem, directory: string) { this.#fs = fs; this.#directory = directory; }
  async follow(mark: ManifestMark, signal: AbortSignal): Promise<void> {
    void signal;
    if (mark.name === this.name && mark.size === this.wholeEnd) return;
    this.name = mark.name;
    const bytes = (await this.#fs.readFile(`${this.#directory}/${mark.name}`, 1e8)).subarray(0, mark.size);
    this.#tables = new Map(); this.#edits = [];
    const logs = new Map<number, number>();
    let parts: Uint8Array[] = [];
    const reader = new RecordReader({
      data: (chunk, start, end, first, last, endOffset) => {
        if (first) parts = [];
        parts.push(chunk.slice(start, end));
        if (last) this.#edit(Buffer.concat(parts), endOffset, logs);
        return undefined;
      },
      special: () => undefined,
    }, undefined);
    reader.feed(bytes);
    this.wholeEnd = reader.wholeEnd;
    this.minimumWal = Math.min(...logs.values());
  }
  #edit(p: Uint8Array, end: number, logs: Map<number, number>): void {
    let at = 0;
    const v = (): number => { let value = 0; for (let s = 1; ; s *= 128) { const b = p[at++] ?? 0; value += (b & 127) * s; if (b < 128) return value; } };
    const skip = (): void => { const n = v(); at += n; };
    let family = 0; let log: number | undefined; let bind = false; let first = 0n; let last = 0n; let isFile = false; let deleted = false;
    while (at < p.length) {
      const tag = v();
      if (tag === 1) skip(); else if (tag === 201) { skip(); bind = true; } else if (tag === 2) log = v();
      else if (tag === 3 || tag === 4 || tag === 203) v(); else if (tag === 200) family = v();
      else if (tag === 6) { v(); this.#tables.delete(v()); deleted = true; }
      else if (tag === 103) { v(); const n = v(); this.#tables.set(n, v()); skip(); skip(); first = BigInt(v()); last = BigInt(v()); v(); isFile = true; }
      else throw new Error(`tag ${tag}`);
    }
    if (log !== undefined) logs.set(family, log);
    this.#edits.push({ end, bind, first, last, isFile: isFile && !deleted });
  }
  liveFiles(): { name: string; size: number | undefined }[] { return [...this.#tables].map(([n, size]) => ({ name: tableFileName(n), size })); }
  bindsAfter(offset: number, covers: (first: bigint, last: bigint) => boolean): boolean {
    return this.#edits.some((e) => e.end > offset && (e.bind || (e.isFile && !covers(e.first, e.last))));
  }
  async close(): Promise<void> {}
}
