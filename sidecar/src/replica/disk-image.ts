import { dirname } from "node:path";
import type { FileStat } from "../base/file-system.js";
import type { Digest, ImagePath, Operation } from "../formats/entry.js";
import type { ImageFile } from "../formats/image.js";
import { AppendFiles } from "./append-files.js";
import { Directories } from "./directories.js";
import type { Effect } from "./groups.js";
import { Staging } from "./staging.js";
import { TableFetcher, type FetchWanted } from "./table-fetch.js";
import type { LocalIdentity } from "./state.js";
import type { ReplicaTools } from "./tools.js";

type TableOperation = Extract<Operation, { type: "table" }>;
type WriteOperation = Extract<Operation, { type: "write" }>;

/** How we know a file again. */
export function identityOf({ inode, size, modifiedNs }: FileStat): LocalIdentity {
  return { inode, size, modifiedNs };
}

/**
 * The files of an image on this disk, as entries change them. What a saved state refers to stays until the next one is saved: files are removed after it,
 * what takes a name over is another inode, and the old inode lives on aside, so that nothing new can be mistaken for it.
 */
export class DiskImage {
  readonly directories: Directories;
  readonly staging: Staging;
  readonly appends: AppendFiles;
  readonly fetcher: TableFetcher;
  readonly #tools: ReplicaTools;
  /** Where a table of that content lies on this disk. */
  readonly #byDigest = new Map<Digest, ImagePath>();
  readonly #tables = new Map<ImagePath, Digest>();
  readonly #touched = new Set<ImagePath>();
  readonly #removals = new Set<ImagePath>();
  #parked = false;
  #unsavedBytes = 0;

  constructor(tools: ReplicaTools, files: ReadonlyMap<ImagePath, ImageFile>) {
    const { fs, layout, folders } = tools;
    this.#tools = tools;
    this.directories = new Directories(fs, [
      layout.layout.dataDirectory,
      folders.root,
      ...layout.roots.map(({ directory }) => directory),
    ]);
    this.staging = new Staging(fs, folders);
    this.appends = new AppendFiles(fs, this.directories, this.staging);
    this.fetcher = new TableFetcher(tools, tools.fetch);
    for (const [path, file] of files) if (file.kind === "table") this.#noteTable(path, file.sha256);
  }

  /** Bytes changed since the last `saved`. */
  get unsavedBytes(): number {
    return this.#unsavedBytes;
  }

  /** A file that the saved state names was displaced: the next state should be saved before anything else is displaced. */
  get saveSoon(): boolean {
    return this.#parked;
  }

  /** Fetches, without applying anything, the tables that the operations name and this disk doesn't have. */
  async prefetch(operations: readonly Operation[], signal: AbortSignal): Promise<void> {
    const wanted = new Map<Digest, FetchWanted>();
    let total = 0;
    for (const operation of operations) {
      if (operation.type !== "table" || wanted.has(operation.sha256) || this.#byDigest.has(operation.sha256)) continue;
      wanted.set(operation.sha256, operation);
      total += operation.size;
    }
    let done = 0;
    await this.fetcher.fetchAll([...wanted.values()], signal, (bytes) => {
      done += bytes;
      this.#tools.progress.report("follow", done, total);
    });
  }

  /** Makes what takes effect together so. May fail at any point and be called again with the same. */
  async apply(effects: readonly Effect[], signal: AbortSignal): Promise<void> {
    const operations = effects.flatMap(({ entry }) => entry.operations);
    const last = new Map<ImagePath, Operation>();
    for (const operation of operations) if ("file" in operation) last.set(operation.file, operation);
    const standing = (operation: Operation): boolean =>
      !("file" in operation) || last.get(operation.file) === operation;
    await this.prefetch(operations.filter(standing), signal);
    const currents: WriteOperation[] = [];
    for (const operation of operations) {
      if (!standing(operation)) continue;
      if (operation.type === "directory") await this.#directory(operation.file);
      else if (operation.type === "table") await this.#table(operation, signal);
      else if (operation.type === "write" && operation.file.endsWith("/CURRENT")) currents.push(operation);
      else if (operation.type === "write") await this.#small(operation);
    }
    for (const effect of effects) {
      if (effect.entry.operations.some(({ type }) => type === "append"))
        await this.#appendAll(await effect.load(signal), last);
    }
    // What CURRENT names is there by now.
    for (const current of currents) await this.#small(current);
    for (const operation of operations)
      if (operation.type === "remove" && standing(operation)) this.#remove(operation.file);
  }

  /** Makes the bytes and names written so far survive a power failure. */
  async sync(): Promise<void> {
    await this.appends.sync();
    await this.directories.sync();
  }

  /** The identities of the files that changed since the last call, for the state; files that are gone are taken out. */
  async updateIdentities(identities: Map<ImagePath, LocalIdentity>): Promise<void> {
    for (const path of this.#removals) identities.delete(path);
    for (const path of this.#touched) {
      const stat = await this.#tools.fs.stat(this.#tools.layout.toLocal(path));
      if (stat !== undefined) identities.set(path, identityOf(stat));
      this.#touched.delete(path);
    }
  }

  /** The state was saved: what it does not refer to may go. */
  async saved(): Promise<void> {
    this.#unsavedBytes = 0;
    const { fs, layout } = this.#tools;
    // What lies deeper goes first.
    for (const path of [...this.#removals].toSorted().toReversed()) {
      const local = layout.toLocal(path);
      const stat = await fs.stat(local);
      if (stat?.kind === "directory") {
        if ((await fs.list(local)).length === 0) await fs.removeTree(local);
        this.directories.forget(local);
      } else if (stat !== undefined) {
        await this.appends.forget(local);
        await fs.unlink(local);
      }
      this.#removals.delete(path);
    }
    if (this.#parked) await this.staging.clear();
    this.#parked = false;
  }

  close(): Promise<void> {
    return this.appends.close();
  }

  async #directory(path: ImagePath): Promise<void> {
    this.#removals.delete(path);
    const local = this.#tools.layout.toLocal(path);
    const stat = await this.#tools.fs.stat(local);
    if (stat !== undefined && stat.kind !== "directory") await this.#park(path, local);
    await this.directories.ensure(local);
    this.#touched.add(path);
  }

  async #small({ file, bytes, permissions }: WriteOperation): Promise<void> {
    const local = await this.#makeWay(file);
    await this.staging.replace(this.directories, local, bytes, permissions);
    this.#changed(file, bytes.length);
  }

  async #table(operation: TableOperation, signal: AbortSignal): Promise<void> {
    const { file, sha256, size, permissions } = operation;
    if (this.#tables.get(file) === sha256 && !this.#removals.has(file)) return;
    const local = await this.#makeWay(file);
    await this.directories.ensure(dirname(local));
    const twin = this.#byDigest.get(sha256);
    const source = twin === undefined ? undefined : this.#tools.layout.toLocal(twin);
    const stat = source === undefined ? undefined : await this.#tools.fs.stat(source);
    if (source !== undefined && stat?.size === size && stat.permissions === (permissions & 0o777)) {
      // Tables never change, so two names may share one.
      const staged = await this.staging.name();
      await this.#tools.fs.link(source, staged);
      await this.#tools.fs.rename(staged, local);
      await this.#tools.fs.unlink(staged);
    } else {
      const fetched = await this.fetcher.fetch(operation, signal);
      await this.#tools.fs.rename(fetched, local);
      this.#unsavedBytes += size;
    }
    this.directories.changed(dirname(local));
    this.#forgetTable(file);
    this.#noteTable(file, sha256);
    this.#changed(file, 0);
  }

  async #appendAll(
    { operations }: { readonly operations: readonly Operation[] },
    last: ReadonlyMap<ImagePath, Operation>,
  ): Promise<void> {
    for (const operation of operations) {
      if (operation.type !== "append" || last.get(operation.file)?.type !== "append") continue;
      const { file, offset, bytes } = operation;
      const local = this.#tools.layout.toLocal(file);
      if (offset === 0) {
        await this.appends.forget(local);
        await this.#makeWay(file);
        // Always a new inode: a file of that name that was removed may still be in the saved state.
        if ((await this.#tools.fs.stat(local)) !== undefined) await this.#park(file, local);
      }
      await this.appends.write(local, offset, bytes);
      this.#changed(file, bytes.length);
    }
  }

  #remove(path: ImagePath): void {
    this.#forgetTable(path);
    this.#touched.delete(path);
    this.#removals.add(path);
  }

  /** A directory, a link or the like where a file is to be goes aside. */
  async #makeWay(path: ImagePath): Promise<string> {
    this.#removals.delete(path);
    const local = this.#tools.layout.toLocal(path);
    const stat = await this.#tools.fs.stat(local);
    if (stat !== undefined && stat.kind !== "file") await this.#park(path, local);
    return local;
  }

  async #park(path: ImagePath, local: string): Promise<void> {
    await this.appends.forget(local);
    await this.staging.park(this.directories, local);
    this.#touched.add(path);
    this.#parked = true;
  }

  #changed(path: ImagePath, bytes: number): void {
    this.#touched.add(path);
    this.#unsavedBytes += bytes;
  }

  #noteTable(path: ImagePath, sha256: Digest): void {
    this.#tables.set(path, sha256);
    this.#byDigest.set(sha256, path);
  }

  #forgetTable(path: ImagePath): void {
    const sha256 = this.#tables.get(path);
    if (sha256 === undefined) return;
    this.#tables.delete(path);
    if (this.#byDigest.get(sha256) !== path) return;
    this.#byDigest.delete(sha256);
    for (const [other, digest] of this.#tables) if (digest === sha256) this.#byDigest.set(sha256, other);
  }
}
