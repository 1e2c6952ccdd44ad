import { createHash } from "node:crypto";
import { MetaMasterError } from "../../base/errors.js";
import type { FileStat, FileSystem } from "../../base/file-system.js";
import type { Digest } from "../../formats/entry.js";

/** One read and one step of the hash: 0.7 ms of the event loop at 1.5 GB/s. */
const SLICE_BYTES = 1024 * 1024;
const CACHE_MAX = 200_000;

export interface Digested {
  readonly sha256: Digest;
  readonly size: number;
}

/** sha256 of files that don't change any more, remembered by device, inode, size and time of modification. */
export class FileDigests {
  readonly #fs: FileSystem;
  readonly #known = new Map<string, Digest>();

  constructor(fs: FileSystem) {
    this.#fs = fs;
  }

  /**
   * `expected`: what the file was when it was chosen. Throws `FileChanged` (transient) if it is another one now or changes meanwhile,
   * `FileNotFound` if it is gone.
   */
  async of(path: string, expected: FileStat, signal: AbortSignal): Promise<Digested> {
    const identity = identityOf(expected);
    const known = this.#known.get(identity);
    if (known !== undefined) return { sha256: known, size: expected.size };
    const sha256 = await this.#read(path, identity, expected.size, signal);
    if (this.#known.size >= CACHE_MAX) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    this.#known.set(identity, sha256);
    return { sha256, size: expected.size };
  }

  async #read(path: string, identity: string, size: number, signal: AbortSignal): Promise<Digest> {
    const file = await this.#fs.open(path, "read");
    try {
      if (identityOf(await file.stat()) !== identity) throw changed(path);
      const hash = createHash("sha256");
      const slice = new Uint8Array(Math.min(SLICE_BYTES, size));
      for (let offset = 0; offset < size;) {
        signal.throwIfAborted();
        const want = Math.min(slice.length, size - offset);
        const got = await file.read(slice.subarray(0, want), offset);
        if (got !== want) throw changed(path);
        hash.update(slice.subarray(0, got));
        offset += got;
      }
      if (identityOf(await file.stat()) !== identity) throw changed(path);
      return hash.digest("hex");
    } finally {
      await file.close();
    }
  }
}

/** Hard links change the time of the inode, not the time of modification: a link has its file's identity. */
function identityOf({ device, inode, size, modifiedNs }: FileStat): string {
  return `${device}.${inode}.${size}.${modifiedNs}`;
}

function changed(path: string): MetaMasterError {
  return new MetaMasterError("FileChanged", "transient", `${path} changed while it was read.`, {
    hint: "It is read again in the next round.",
    details: { path },
  });
}
