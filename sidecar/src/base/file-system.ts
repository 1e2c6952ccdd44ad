/**
 * The file system as the product uses it; implementations: the real one, and the simulator's, which loses unsynced bytes at a crash.
 * Paths are absolute or relative to the process. A missing file: `stat` gives undefined, everything else throws `MetaMasterError`
 * code `FileNotFound`. ENOSPC/EDQUOT throw code `DiskFull` (kind transient), EACCES/EPERM/EROFS `FileDenied` (invalid), EXDEV
 * `CrossDevice` (invalid), EEXIST `FileExists` (conflict), anything else `FileSystemFailure` (transient), all with `details.path`.
 * A path that is itself a symbolic link is of kind `other` and is never opened (`FileDenied`); links on the way to it are followed.
 */
export interface FileSystem {
  stat(path: string): Promise<FileStat | undefined>;
  /** Entries of a directory, sorted by name. */
  list(path: string): Promise<DirectoryEntry[]>;
  /**
   * `read`: existing file. `readWrite`: existing, or created empty. `createExclusive`: must not exist. `permissions` are those of a file that is
   * created, whatever the umask. Anything but a regular file: `FileSystemFailure`.
   */
  open(path: string, mode: "read" | "readWrite" | "createExclusive", permissions?: number): Promise<FileHandle>;
  /** Whole content; throws `FileTooLarge` (invalid) past `maxBytes`. */
  readFile(path: string, maxBytes: number): Promise<Uint8Array>;
  /**
   * Temporary file `<path>.<unique>.tmp` beside it (a crash may leave it), fsync, rename, fsync of the directory: old or new content after any
   * crash, never a mixture.
   */
  writeFileAtomic(path: string, bytes: Uint8Array, permissions?: number): Promise<void>;
  /** Hard link; both must be on one file system. */
  link(existing: string, created: string): Promise<void>;
  /** Replaces a file at `to`; two links to one file: nothing happens. */
  rename(from: string, to: string): Promise<void>;
  /** No error if absent. */
  unlink(path: string): Promise<void>;
  /** With all its parents; no error if it is there. */
  makeDirectory(path: string): Promise<void>;
  /** Removes a directory and all below it; no error if absent. */
  removeTree(path: string): Promise<void>;
  /** Makes creations, renames and removals in that directory survive a power failure. */
  syncDirectory(path: string): Promise<void>;
  /** Bytes that can still be written by an unprivileged user on the file system of `path`. */
  freeBytes(path: string): Promise<number>;
  /**
   * Calls `onChange` soon after anything changes directly in one of the directories; may call spuriously, may miss nothing but a
   * burst's later events. Only a hint to look: correctness never rests on it. Missing directories are ignored.
   */
  watch(directories: readonly string[], onChange: () => void): Watch;
}

export interface Watch {
  close(): void;
}

export interface FileStat {
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly modifiedNs: bigint;
  readonly inode: bigint;
  readonly device: bigint;
  readonly links: number;
  /** Permission bits, e.g. 0o644. */
  readonly permissions: number;
  readonly kind: EntryKind;
}

export type EntryKind = "file" | "directory" | "other";

export interface DirectoryEntry {
  readonly name: string;
  readonly kind: EntryKind;
}

export interface FileHandle {
  /** Reads up to `target.length` bytes at `position`; fewer only at the end of the file. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes all of `bytes` at `position`. A failure (`DiskFull`) may leave a first part of them. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  truncate(size: number): Promise<void>;
  sync(): Promise<void>;
  stat(): Promise<FileStat>;
  close(): Promise<void>;
}
