import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  type BigIntStats,
} from "node:fs";
import { basename, join } from "node:path";
import { MetaMasterError } from "../../base/errors.js";
import { holdersOf, type LockHolder } from "./lock-holders.js";
import { lockedByAnybody } from "./lock-probe.js";
import { isSystemError } from "./process-group.js";

export interface BarredDatabase {
  readonly name: string;
  /** Its directory. */
  readonly path: string;
}

/** What looks at one file or folder, and what becomes of its failure. */
type Look = <T>(work: () => T[]) => T[];
const strictly: Look = (work) => work();
const asFarAsCan: Look = (work) => {
  try {
    return work();
  } catch {
    return [];
  }
};

/**
 * Keeps everybody from opening the databases, without holding anything: where RocksDB's `LOCK` file would be stands a directory, on which `DB::Open` fails
 * (docs/decisions/0013). It needs no living process, so it outlives this one. `LOCK` files that were in use when the bar was raised are put on a shelf (same file system):
 * who holds one, or has it open and may yet lock it, is found by it.
 */
export class LockBar {
  readonly #databases: readonly BarredDatabase[];
  readonly #shelf: string;
  /** Directories that were not there. */
  readonly #made = new Set<string>();

  /** `shelf`: a folder of ours on the databases' file system; it need not be there. */
  constructor(databases: readonly BarredDatabase[], shelf: string) {
    this.#databases = databases;
    this.#shelf = shelf;
  }

  /** From now on no database can be opened. Whoever has one open still has it. Again: does nothing. One that can't be barred keeps none of the others from it. */
  raise(): void {
    let failure: unknown;
    for (const database of this.#databases) {
      try {
        this.#bar(database);
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** The databases may be opened. Throws `MasterStillRunning` if somebody has one open. */
  lower(): void {
    const [holder] = this.holders();
    if (holder !== undefined) {
      throw new MetaMasterError("MasterStillRunning", "conflict", `process ${holder.pid} still holds ${holder.path}`);
    }
    const shelved = this.#shelved();
    for (const { name, path } of this.#databases) {
      const lock = join(path, "LOCK");
      if (isDirectory(lock)) keepBar(lock, this.#spare(name));
      const [last] = shelved.filter((each) => this.#nameOf(each) === name);
      if (last !== undefined) putBack(last, lock);
      else if (this.#made.delete(path)) removeEmpty(path);
    }
    for (const each of shelved) unlinkSync(each);
  }

  /** Processes that hold a `LOCK`, be it one on the shelf. Throws where that can't be told. */
  holders(): LockHolder[] {
    return holdersOf(this.#locks());
  }

  /** Whom to end, as far as that can be told: a `LOCK` that can't be looked at (a disk's error) hides those who hold it, and nobody else. */
  suspects(): { readonly holders: LockHolder[]; readonly files: BigIntStats[] } {
    const locks = this.#locks(asFarAsCan);
    return {
      holders: locks.flatMap((path) => asFarAsCan(() => holdersOf([path]))),
      files: locks.flatMap((path) => asFarAsCan(() => identityOf(path))),
    };
  }

  /** `LOCK` files that somebody of the machine holds, be it unseen by us. Only while the bar stands, and `holders` is empty. */
  heldUnseen(): string[] {
    return lockedByAnybody(this.#locks());
  }

  #locks(look: Look = strictly): string[] {
    const inPlace = this.#databases.map(({ path }) => join(path, "LOCK"));
    return [
      ...inPlace.flatMap((path) => look(() => (isDirectory(path) ? [] : [path]))),
      ...look(() => this.#shelved(look)),
    ];
  }

  #bar({ name, path }: BarredDatabase): void {
    const lock = join(path, "LOCK");
    if (mkdirSync(path, { recursive: true }) !== undefined) this.#made.add(path);
    // A process that makes the file anew between the two steps is put aside as well.
    for (let tries = 0; !isDirectory(lock); tries++) {
      if (tries > 100) throw new Error(`somebody makes ${lock} again and again`);
      mkdirSync(this.#shelf, { recursive: true });
      this.#putAside(name, lock);
      putBar(this.#spare(name), lock);
    }
  }

  #putAside(name: string, lock: string): void {
    try {
      const { ino } = lstatSync(lock, { bigint: true });
      const place = join(this.#shelf, `${name}-${ino}`);
      renameSync(lock, place);
      // The bar itself: the other one of sidecar and watchdog has put it there meanwhile.
      if (isDirectory(place)) rmdirSync(place);
      // Of two names of one file rename(2) leaves both. They are there where a process was killed while it lowered the bar.
      else if (lstatSync(lock, { bigint: true, throwIfNoEntry: false })?.ino === ino) unlinkSync(lock);
    } catch (error) {
      // It is gone, or the bar stands by now: the next look tells.
      if (!["ENOENT", "ENOTDIR", "EISDIR"].some((code) => isSystemError(error, code))) throw error;
    }
  }

  /** The bar while it is not needed: moving it takes no space, making it on a full disk could not be done. */
  #spare(name: string): string {
    return join(this.#shelf, `${name}.bar`);
  }

  /** The ones put aside last come first. */
  #shelved(look: Look = strictly): string[] {
    if (!existsSync(this.#shelf)) return [];
    const files = readdirSync(this.#shelf).flatMap((name) => {
      const path = join(this.#shelf, name);
      return look(() => {
        const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
        return stat?.isFile() === true ? [{ path, changed: stat.ctimeNs }] : [];
      });
    });
    return files.toSorted((a, b) => (a.changed > b.changed ? -1 : 1)).map(({ path }) => path);
  }

  /** Of a database, without the inode's number. */
  #nameOf(shelved: string): string {
    return basename(shelved).replace(/-\d+$/, "");
  }
}

/** By it a process is found that has the file open, and may yet lock it. */
function identityOf(path: string): BigIntStats[] {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? [] : [stat];
}

/**
 * The same file, not a new one: a process that still holds it, of another PID namespace and so not seen, keeps everybody else out as RocksDB meant it. If there is a new one already, that one counts.
 */
function putBack(shelved: string, lock: string): void {
  try {
    linkSync(shelved, lock);
  } catch (error) {
    if (!isSystemError(error, "EEXIST")) throw error;
  }
}

/** The bar's own directory, if no database came into it: a master that makes its store only where there is none (`ceph-mon --mkfs`) would take it for one. */
function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    const known = ["ENOENT", "ENOTEMPTY", "EEXIST"];
    if (!known.some((code) => isSystemError(error, code))) throw error;
  }
}

function putBar(spare: string, lock: string): void {
  try {
    renameSync(spare, lock);
    return;
  } catch (error) {
    // There is none yet (or not on this file system), or a file stands there again: the next look tells.
    if (!["ENOENT", "EXDEV", "ENOTDIR"].some((code) => isSystemError(error, code))) throw error;
  }
  try {
    mkdirSync(lock);
  } catch (error) {
    if (!isSystemError(error, "EEXIST")) throw error;
  }
}

/** For the next time; where that can't be, it is made again then. */
function keepBar(lock: string, spare: string): void {
  try {
    renameSync(lock, spare);
  } catch {
    rmdirSync(lock);
  }
}

function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return false;
    throw error;
  }
}
