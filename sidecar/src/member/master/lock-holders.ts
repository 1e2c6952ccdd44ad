import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isSystemError } from "./process-group.js";

/** Who holds RocksDB's LOCK, read from /proc/locks (docs/decisions/0008). Only processes of this PID namespace are seen. */

export interface LockHolder {
  readonly path: string;
  readonly pid: number;
}

/** `major:minor` in hexadecimal as the kernel prints it, from a 64-bit st_dev (makedev(3)). */
export function deviceText(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return lockDevice(Number(major), Number(minor));
}

function lockDevice(major: number, minor: number): string {
  return `${major.toString(16).padStart(2, "0")}:${minor.toString(16).padStart(2, "0")}`;
}

/** Lines such as `3: POSIX  ADVISORY  WRITE 1234 08:01:131075 0 EOF`; waiting ones (`->`) hold nothing. */
export function parseLocks(text: string): { readonly pid: number; readonly device: string; readonly inode: bigint }[] {
  const locks = [];
  for (const line of text.split("\n")) {
    const match = /^\d+: (?:POSIX|OFDLCK|FLOCK) +\S+ +(?:READ|WRITE) +(-?\d+) ([0-9a-f]+:[0-9a-f]+):(\d+) /.exec(line);
    const [, pid, device, inode] = match ?? [];
    if (pid !== undefined && device !== undefined && inode !== undefined) {
      locks.push({ pid: Number(pid), device, inode: BigInt(inode) });
    }
  }
  return locks;
}

/** Holders of `LOCK` in any of the directories. */
export function lockHolders(directories: readonly string[]): LockHolder[] {
  return holdersOf(directories.map((directory) => join(directory, "LOCK")));
}

/** Processes that hold a lock on any of the files; those that are not there have none. */
export function holdersOf(paths: readonly string[]): LockHolder[] {
  const locks = parseLocks(readFileSync("/proc/locks", "latin1"));
  if (locks.length === 0) return [];
  return paths.flatMap((path) => {
    const identity = identityOf(path);
    if (identity === undefined) return [];
    return locks
      .filter(({ device, inode }) => inode === identity.inode && identity.devices.includes(device))
      .map(({ pid }) => ({ path, pid }));
  });
}

/** Two names for the device: on btrfs and overlayfs stat says another one than the file system, which is what /proc/locks prints. */
function identityOf(path: string): { readonly inode: bigint; readonly devices: string[] } | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    const mounted = mountDevice(path);
    return { inode: ino, devices: mounted === undefined ? [deviceText(dev)] : [deviceText(dev), mounted] };
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return undefined;
    throw error;
  }
}

function mountDevice(path: string): string | undefined {
  const descriptor = openSync(path, "r");
  try {
    const mount = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1"))?.[1];
    if (mount === undefined) return undefined;
    const line = readFileSync("/proc/self/mountinfo", "latin1")
      .split("\n")
      .find((each) => each.startsWith(`${mount} `));
    const [major, minor] = line?.split(" ")[2]?.split(":").map(Number) ?? [];
    return major === undefined || minor === undefined ? undefined : lockDevice(major, minor);
  } finally {
    // Closing drops only locks of this process, and it has none.
    closeSync(descriptor);
  }
}
