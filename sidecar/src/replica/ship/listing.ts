import type { Clock } from "../../base/clock.js";
import type { DirectoryEntry, FileSystem } from "../../base/file-system.js";

/**
 * How long one time of modification must have been seen unchanged before a listing made then is trusted: a change within the clock tick of
 * the file system (4 ms on Linux, up to 1 s on others, 2 s on FAT) leaves the time as it was.
 */
const SETTLED_MS = 2_100;

interface Cached {
  readonly modifiedNs: bigint;
  readonly inode: bigint;
  readonly firstSeenMs: number;
  readonly entries: readonly DirectoryEntry[];
  trusted: boolean;
}

/** Listings of directories, read again only when they may have changed: usually a cut costs one `stat` a directory. */
export class Listings {
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #cache = new Map<string, Cached>();

  constructor(fs: FileSystem, clock: Clock) {
    this.#fs = fs;
    this.#clock = clock;
  }

  /** Entries of `directory`, [] if there is no such directory. Never older than the call. */
  async list(directory: string): Promise<readonly DirectoryEntry[]> {
    const stat = await this.#fs.stat(directory);
    if (stat?.kind !== "directory") {
      this.#cache.delete(directory);
      return [];
    }
    const nowMs = this.#clock.monotonicMs();
    const cached = this.#cache.get(directory);
    const same = cached !== undefined && cached.modifiedNs === stat.modifiedNs && cached.inode === stat.inode;
    if (same && cached.trusted) return cached.entries;
    const firstSeenMs = same ? cached.firstSeenMs : nowMs;
    const entries = await this.#fs.list(directory);
    this.#cache.set(directory, {
      modifiedNs: stat.modifiedNs,
      inode: stat.inode,
      firstSeenMs,
      entries,
      trusted: nowMs - firstSeenMs >= SETTLED_MS,
    });
    return entries;
  }
}
