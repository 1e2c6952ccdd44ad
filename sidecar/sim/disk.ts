import { posix } from "node:path";
import { MetaMasterError, type ErrorKind } from "../src/base/errors.js";
import type { DirectoryEntry, FileStat } from "../src/base/file-system.js";
import { FileData } from "./file-data.js";
import type { SeededRandom } from "./random.js";

export class FileNode {
  readonly kind = "file";
  readonly data = new FileData();
  readonly inode: bigint;
  permissions: number;
  modifiedNs: bigint;
  links = 0;

  constructor(inode: bigint, permissions: number, modifiedNs: bigint) {
    this.inode = inode;
    this.permissions = permissions;
    this.modifiedNs = modifiedNs;
  }
}

class DirectoryNode {
  readonly kind = "directory";
  readonly inode: bigint;
  readonly entries = new Map<string, Node>();
  /** What a power failure leaves, apart from the disk's journal. */
  readonly durable = new Map<string, Node>();
  modifiedNs: bigint;

  constructor(inode: bigint, modifiedNs: bigint) {
    this.inode = inode;
    this.modifiedNs = modifiedNs;
  }
}

type Node = FileNode | DirectoryNode;

/** A change of names that no directory sync has made durable yet. A rename happens whole or not at all. */
interface NameChange {
  readonly remove?: { readonly directory: DirectoryNode; readonly name: string; readonly node: Node };
  readonly add?: { readonly directory: DirectoryNode; readonly name: string; readonly node: Node };
}

export function fileError(code: string, kind: ErrorKind, path: string, what: string): MetaMasterError {
  return new MetaMasterError(code, kind, `${path}: ${what}`, { details: { path } });
}

/** The kernel stamps files with the time of its last tick; two changes within one can't be told apart by it. */
const tickMs = 4;

/** One machine's file system: directories, inodes with hard links, a page cache in front of a disk that can lose power or run full. */
export class Disk {
  readonly device: bigint;
  readonly #wallMs: () => number;
  readonly #root: DirectoryNode;
  readonly #watchers = new Map<DirectoryNode, Set<() => void>>();
  #journal: NameChange[] = [];
  #inodes = 1n;
  #usedBytes = 0;
  capacityBytes = Infinity;

  constructor(device: bigint, wallMs: () => number) {
    this.device = device;
    this.#wallMs = wallMs;
    this.#root = new DirectoryNode(this.#inodes++, this.#stamp());
  }

  get freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.#usedBytes);
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** The file at `path`; throws `FileNotFound`. */
  file(path: string): FileNode {
    const node = this.#find(path);
    if (node === undefined) throw fileError("FileNotFound", "invalid", path, "no such file");
    if (node.kind === "directory") throw fileError("FileSystemFailure", "transient", path, "is a directory");
    return node;
  }

  exists(path: string): boolean {
    return this.#find(path) !== undefined;
  }

  stat(path: string): FileStat | undefined {
    const node = this.#find(path);
    return node === undefined ? undefined : this.statOf(node);
  }

  statOf(node: Node): FileStat {
    const common = { modifiedNs: node.modifiedNs, inode: node.inode, device: this.device };
    if (node.kind === "directory") return { ...common, size: 4096, links: 2, permissions: 0o755, kind: "directory" };
    return { ...common, size: node.data.size, links: node.links, permissions: node.permissions, kind: "file" };
  }

  list(path: string): DirectoryEntry[] {
    const directory = this.#directory(path);
    return [...directory.entries]
      .map(([name, { kind }]): DirectoryEntry => ({ name, kind }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  create(path: string, permissions = 0o644): FileNode {
    const { parent, name } = this.#parent(path);
    if (parent.entries.has(name)) throw fileError("FileExists", "conflict", path, "exists");
    if (this.freeBytes <= 0) throw fileError("DiskFull", "transient", path, "no space left on device");
    const node = new FileNode(this.#inodes++, permissions, this.#stamp());
    this.#change({ add: { directory: parent, name, node } });
    return node;
  }

  /** A write may end half way: what fits is written before `DiskFull` is thrown. */
  write(node: FileNode, bytes: Uint8Array, position: number, path = "file"): void {
    const growth = Math.max(0, position + bytes.length - node.data.size);
    if (growth > this.freeBytes) {
      const fits = Math.max(0, bytes.length - (growth - this.freeBytes));
      if (fits > 0) this.#write(node, bytes.subarray(0, fits), position);
      throw fileError("DiskFull", "transient", path, "no space left on device");
    }
    this.#write(node, bytes, position);
  }

  append(node: FileNode, bytes: Uint8Array): void {
    this.write(node, bytes, node.data.size);
  }

  truncate(node: FileNode, size: number): void {
    this.#usedBytes += size - node.data.size;
    node.data.truncate(size);
    this.#touch(node);
  }

  link(existing: string, created: string): void {
    const node = this.file(existing);
    const { parent, name } = this.#parent(created);
    if (parent.entries.has(name)) throw fileError("FileExists", "conflict", created, "exists");
    this.#change({ add: { directory: parent, name, node } });
  }

  rename(from: string, to: string): void {
    const source = this.#parent(from);
    const node = source.parent.entries.get(source.name);
    if (node === undefined) throw fileError("FileNotFound", "invalid", from, "no such file");
    const target = this.#parent(to);
    const old = target.parent.entries.get(target.name);
    if (old === node) return;
    if (old?.kind === "directory" && (node.kind === "file" || old.entries.size > 0)) {
      throw fileError("FileSystemFailure", "transient", to, "is a directory that can't be replaced");
    }
    this.#change({
      remove: { directory: source.parent, name: source.name, node },
      add: { directory: target.parent, name: target.name, node },
    });
  }

  /** No error if absent. */
  unlink(path: string): void {
    if (this.#find(posix.dirname(path)) === undefined) return;
    const { parent, name } = this.#parent(path);
    const node = parent.entries.get(name);
    if (node === undefined) return;
    if (node.kind === "directory") throw fileError("FileSystemFailure", "transient", path, "is a directory");
    this.#change({ remove: { directory: parent, name, node } });
  }

  makeDirectory(path: string): void {
    let directory = this.#root;
    for (const name of segments(path)) {
      let next = directory.entries.get(name);
      if (next === undefined) {
        next = new DirectoryNode(this.#inodes++, this.#stamp());
        this.#change({ add: { directory, name, node: next } });
      }
      if (next.kind === "file") throw fileError("FileExists", "conflict", path, `${name} is a file`);
      directory = next;
    }
  }

  removeTree(path: string): void {
    const node = this.#find(path);
    if (node === undefined) return;
    const { parent, name } = this.#parent(path);
    if (node.kind === "directory") for (const child of node.entries.keys()) this.removeTree(`${path}/${child}`);
    this.#change({ remove: { directory: parent, name, node } });
  }

  syncDirectory(path: string): void {
    const directory = this.#directory(path);
    const touches = (change: NameChange): boolean =>
      change.add?.directory === directory || change.remove?.directory === directory;
    for (const change of this.#journal) if (touches(change)) applyDurably(change);
    this.#journal = this.#journal.filter((change) => !touches(change));
  }

  /** Nothing of what is there now is lost in a power failure. */
  syncAll(): void {
    for (const change of this.#journal) applyDurably(change);
    this.#journal = [];
    const sync = (directory: DirectoryNode): void => {
      for (const node of directory.entries.values()) {
        if (node.kind === "directory") sync(node);
        else node.data.sync();
      }
    };
    sync(this.#root);
  }

  /** Copies everything below `path` from another disk; the copies have times of their own. */
  copyFrom(other: Disk, path: string): void {
    this.makeDirectory(path);
    for (const { name, kind } of other.list(path)) {
      const each = `${path}/${name}`;
      if (kind === "directory") this.copyFrom(other, each);
      else this.append(this.create(each), other.file(each).data.view());
    }
  }

  /** `onChange` at every change right in `path`, at once; undefined if there is no such directory. */
  watch(path: string, onChange: () => void): (() => void) | undefined {
    const directory = this.#find(path);
    if (directory?.kind !== "directory") return undefined;
    const watchers = this.#watchers.get(directory) ?? new Set();
    this.#watchers.set(directory, watchers.add(onChange));
    return () => watchers.delete(onChange);
  }

  /** The machine loses power: names and bytes that nobody synced are kept in part. What was open is gone with the processes. */
  powerFailure(random: SeededRandom): void {
    const journal = this.#journal;
    const prefix = random.chance(0.6) ? random.between(0, journal.length) : undefined;
    for (const [index, change] of journal.entries()) {
      if (prefix === undefined ? random.chance(0.5) : index < prefix) applyDurably(change);
    }
    this.#journal = [];
    this.#watchers.clear();
    const files = new Map<FileNode, number>();
    this.#restore(this.#root, files);
    this.#usedBytes = 0;
    for (const [file, links] of files) {
      file.links = links;
      file.data.loseUnsynced(random);
      this.#usedBytes += file.data.size;
    }
  }

  /** Everything goes: a new, empty disk. */
  wipe(): void {
    this.#root.entries.clear();
    this.#root.durable.clear();
    this.#journal = [];
    this.#watchers.clear();
    this.#usedBytes = 0;
  }

  #restore(directory: DirectoryNode, files: Map<FileNode, number>): void {
    directory.entries.clear();
    for (const [name, node] of directory.durable) {
      directory.entries.set(name, node);
      if (node.kind === "directory") this.#restore(node, files);
      else files.set(node, (files.get(node) ?? 0) + 1);
    }
  }

  #write(node: FileNode, bytes: Uint8Array, position: number): void {
    const before = node.data.size;
    node.data.write(bytes, position);
    this.#usedBytes += node.data.size - before;
    this.#touch(node);
  }

  #touch(node: FileNode): void {
    node.modifiedNs = this.#stamp();
    // inotify tells of a file under the directory it was reached by; here: under every directory that holds it.
    for (const [directory, watchers] of this.#watchers) {
      if (watchers.size > 0 && holds(directory, node)) for (const onChange of watchers) onChange();
    }
  }

  #change(change: NameChange): void {
    const { remove, add } = change;
    this.#journal.push(change);
    if (remove !== undefined) {
      remove.directory.entries.delete(remove.name);
      if (add === undefined) this.#forget(remove.node);
      this.#changed(remove.directory);
    }
    if (add !== undefined) {
      const old = add.directory.entries.get(add.name);
      if (old !== undefined) this.#forget(old);
      add.directory.entries.set(add.name, add.node);
      if (remove === undefined && add.node.kind === "file") add.node.links++;
      this.#changed(add.directory);
    }
  }

  #forget(node: Node): void {
    if (node.kind === "directory") return;
    node.links--;
    if (node.links === 0) this.#usedBytes -= node.data.size;
  }

  #changed(directory: DirectoryNode): void {
    directory.modifiedNs = this.#stamp();
    for (const onChange of this.#watchers.get(directory) ?? []) onChange();
  }

  #stamp(): bigint {
    return BigInt(Math.floor(this.#wallMs() / tickMs) * tickMs) * 1_000_000n;
  }

  #find(path: string): Node | undefined {
    let node: Node = this.#root;
    for (const name of segments(path)) {
      if (node.kind === "file") return undefined;
      const next = node.entries.get(name);
      if (next === undefined) return undefined;
      node = next;
    }
    return node;
  }

  #directory(path: string): DirectoryNode {
    const node = this.#find(path);
    if (node === undefined) throw fileError("FileNotFound", "invalid", path, "no such directory");
    if (node.kind === "file") throw fileError("FileSystemFailure", "transient", path, "is not a directory");
    return node;
  }

  #parent(path: string): { parent: DirectoryNode; name: string } {
    const name = posix.basename(path);
    if (name === "") throw fileError("FileSystemFailure", "transient", path, "is the root");
    return { parent: this.#directory(posix.dirname(path)), name };
  }
}

/** Paths come again and again: splitting them took a tenth of a simulation's time. */
const split = new Map<string, readonly string[]>();
const splitMax = 20_000;

function segments(path: string): readonly string[] {
  const known = split.get(path);
  if (known !== undefined) return known;
  const parts = posix
    .normalize(path)
    .split("/")
    .filter((segment) => segment !== "" && segment !== ".");
  if (split.size >= splitMax) split.clear();
  split.set(path, parts);
  return parts;
}

function holds(directory: DirectoryNode, node: FileNode): boolean {
  for (const entry of directory.entries.values()) if (entry === node) return true;
  return false;
}

function applyDurably({ remove, add }: NameChange): void {
  if (remove !== undefined && remove.directory.durable.get(remove.name) === remove.node) {
    remove.directory.durable.delete(remove.name);
  }
  if (add !== undefined) add.directory.durable.set(add.name, add.node);
}
