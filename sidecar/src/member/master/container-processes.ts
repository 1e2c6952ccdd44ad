import { readdirSync, readFileSync, statSync } from "node:fs";
import { isLiving, isSystemError } from "./process-group.js";

/** Processes of the containers beside us, as /proc of a pod's shared process namespace shows them. */

export interface ProcessTable {
  /** Living processes (no zombies). */
  all(): ProcessInfo[];
  signal(pid: number, signal: NodeJS.Signals): void;
  /** Processes that have any of the files open, by device and inode. */
  openers(files: readonly { readonly dev: bigint; readonly ino: bigint }[]): number[];
  readonly self: number;
  /** Of sidecar and watchdog the other one, if it is known: both look at LOCK files, and neither is the master's. */
  partner: number | undefined;
}

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  /** Clock ticks after the boot: with the number it names one process, for good. */
  readonly startTime: string;
  /** Of /proc/<pid>/cgroup: the same for all processes of a container. */
  readonly cgroup: string;
}

export class LinuxProcessTable implements ProcessTable {
  readonly self = process.pid;
  partner: number | undefined;

  all(): ProcessInfo[] {
    return pids().flatMap((pid) => infoOf(pid) ?? []);
  }

  signal(pid: number, signal: NodeJS.Signals): void {
    try {
      process.kill(pid, signal);
    } catch (error) {
      // It has ended. No permission must be known: then it lives on.
      if (!isSystemError(error, "ESRCH")) throw error;
    }
  }

  openers(files: readonly { readonly dev: bigint; readonly ino: bigint }[]): number[] {
    if (files.length === 0) return [];
    return pids().filter((pid) => pid !== this.self && hasOpen(pid, files));
  }
}

/**
 * The processes that live and end with the given ones: all of their containers. Where a container can't be told from ours (no cgroups of its own), their descendants. Never sidecar or watchdog.
 */
export function containersOf(wanted: readonly number[], table: ProcessTable): ProcessInfo[] {
  const all = table.all();
  const own = all.find(({ pid }) => pid === table.self)?.cgroup;
  const isOurs = (pid: number): boolean => pid === table.self || pid === table.partner;
  const found = new Map<number, ProcessInfo>();
  for (const info of all) {
    if (!wanted.includes(info.pid) || isOurs(info.pid)) continue;
    const apart = info.cgroup !== own;
    const members = apart
      ? all.filter(({ cgroup }) => cgroup === info.cgroup)
      : [info, ...descendantsOf(info.pid, all)];
    for (const member of members) if (!isOurs(member.pid)) found.set(member.pid, member);
  }
  return [...found.values()];
}

/** Those whose parent is none of them: what a container runtime would send its signals to. */
export function rootsOf(processes: readonly ProcessInfo[]): ProcessInfo[] {
  const members = new Set(processes.map(({ pid }) => pid));
  return processes.filter(({ parent }) => !members.has(parent));
}

function descendantsOf(pid: number, all: readonly ProcessInfo[]): ProcessInfo[] {
  const children = all.filter(({ parent }) => parent === pid);
  return children.flatMap((child) => [child, ...descendantsOf(child.pid, all)]);
}

function pids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number);
}

const STATE = 0;
const PARENT = 1;
const START_TIME = 19;

/** Undefined: it has ended. */
function infoOf(pid: number): ProcessInfo | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (!isLiving(fields[STATE] ?? "X", `/proc/${pid}/task`)) return undefined;
    const cgroup = readFileSync(`/proc/${pid}/cgroup`, "latin1");
    return { pid, parent: Number(fields[PARENT]), startTime: fields[START_TIME] ?? "", cgroup };
  } catch {
    return undefined;
  }
}

function hasOpen(pid: number, files: readonly { readonly dev: bigint; readonly ino: bigint }[]): boolean {
  let names: string[];
  try {
    names = readdirSync(`/proc/${pid}/fd`);
  } catch {
    // It has ended, or is another user's: what it holds /proc/locks tells.
    return false;
  }
  return names.some((name) => {
    try {
      const stat = statSync(`/proc/${pid}/fd/${name}`, { bigint: true });
      return files.some(({ dev, ino }) => stat.dev === dev && stat.ino === ino);
    } catch {
      return false;
    }
  });
}
