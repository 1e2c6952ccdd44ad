import { MetaMasterError, hasCode } from "../base/errors.js";
import type { FileSystem } from "../base/file-system.js";
import type { Logger } from "../base/log.js";
import type { ProcessIdentity, Processes } from "../base/processes.js";
import type { LocalFolders } from "./local-folders.js";

const LOCK_BYTES_MAX = 4096;
/** Two who start at once, a stale lock between them, a third: nobody needs more. */
const TRIES_MAX = 20;

interface Holder extends ProcessIdentity {
  readonly nonce: string;
}

/**
 * `<data>/.metamaster/lock` keeps two sidecars off one directory: made whole beside it and put in place by link(2), which replaces nothing. One whose
 * process is gone is taken over. Processes in other PID namespaces can't be seen by it: of two containers that share a volume a socket tells (base/presence.ts).
 */
export class DirectoryLock {
  readonly #fs: FileSystem;
  readonly #folders: LocalFolders;
  readonly #content: string;

  private constructor(fs: FileSystem, folders: LocalFolders, content: string) {
    this.#fs = fs;
    this.#folders = folders;
    this.#content = content;
  }

  /** Throws `DirectoryInUse` (conflict), which names the pid. `nonce` is this run's. */
  static async acquire(
    fs: FileSystem,
    folders: LocalFolders,
    processes: Processes,
    nonce: string,
    logger: Logger,
  ): Promise<DirectoryLock> {
    const holder: Holder = { ...processes.self, nonce };
    const lock = new DirectoryLock(fs, folders, `${JSON.stringify(holder)}\n`);
    await fs.makeDirectory(folders.root);
    for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
      if (await lock.#tryLink(nonce)) {
        await lock.check();
        return lock;
      }
      const found = await lock.#read();
      if (found === undefined) continue;
      const current = parseHolder(found);
      if (current !== undefined && current.nonce !== nonce && (await isAlive(processes, current)))
        throw inUse(folders, current);
      logger.warn(
        { path: folders.lock, pid: current?.pid },
        `taking over the lock of a process that is gone: ${folders.lock}`,
      );
      await lock.#removeStale(found, nonce);
    }
    throw inUse(folders, parseHolder((await lock.#read()) ?? ""));
  }

  /** The error for a directory that somebody is known to use. */
  static async inUse(fs: FileSystem, folders: LocalFolders): Promise<MetaMasterError> {
    const found = await new DirectoryLock(fs, folders, "").#read();
    return inUse(folders, parseHolder(found ?? ""));
  }

  /** Throws `DirectoryInUse` if the lock is not this run's any more (two took over a stale one at the same instant). */
  async check(): Promise<void> {
    const found = await this.#read();
    if (found !== this.#content) throw inUse(this.#folders, parseHolder(found ?? ""));
  }

  async release(): Promise<void> {
    if ((await this.#read()) === this.#content) await this.#fs.unlink(this.#folders.lock);
  }

  async #tryLink(nonce: string): Promise<boolean> {
    const own = `${this.#folders.lock}.${nonce}`;
    await this.#fs.writeFileAtomic(own, Buffer.from(this.#content));
    try {
      await this.#fs.link(own, this.#folders.lock);
      return true;
    } catch (error) {
      if (hasCode(error, "FileExists")) return false;
      throw error;
    } finally {
      await this.#fs.unlink(own);
    }
  }

  /** What is too large for a lock reads as empty: nobody's. */
  async #read(path: string = this.#folders.lock): Promise<string | undefined> {
    try {
      return Buffer.from(await this.#fs.readFile(path, LOCK_BYTES_MAX)).toString();
    } catch (error) {
      if (hasCode(error, "FileNotFound")) return undefined;
      if (hasCode(error, "FileTooLarge")) return "";
      throw error;
    }
  }

  /** By rename, which only one of several can do; if another's fresh lock was caught instead it is put back. */
  async #removeStale(stale: string, nonce: string): Promise<void> {
    const aside = `${this.#folders.lock}.stale.${nonce}`;
    try {
      await this.#fs.rename(this.#folders.lock, aside);
    } catch (error) {
      if (hasCode(error, "FileNotFound")) return;
      throw error;
    }
    try {
      if ((await this.#read(aside)) !== stale) await this.#fs.link(aside, this.#folders.lock);
    } catch (error) {
      if (!hasCode(error, "FileExists")) throw error;
    } finally {
      await this.#fs.unlink(aside);
    }
  }
}

async function isAlive(processes: Processes, holder: Holder): Promise<boolean> {
  return holder.bootId === processes.self.bootId && (await processes.isAlive(holder));
}

/** Undefined: half a lock, which a power failure left. */
function parseHolder(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const { pid, startTime, bootId, nonce } = Object.fromEntries(Object.entries(value));
    if (typeof pid !== "number" || typeof startTime !== "string") return undefined;
    if (typeof bootId !== "string" || typeof nonce !== "string") return undefined;
    return { pid, startTime, bootId, nonce };
  } catch {
    return undefined;
  }
}

function inUse(folders: LocalFolders, holder: Holder | undefined): MetaMasterError {
  const who = holder === undefined ? "another process" : `process ${holder.pid}`;
  return new MetaMasterError("DirectoryInUse", "conflict", `${folders.root} is used by ${who}.`, {
    hint: "Only one metamaster may run on a data directory: stop the other one, or give this one its own directory.",
    details: { path: folders.lock, ...(holder === undefined ? {} : { pid: holder.pid }) },
  });
}
