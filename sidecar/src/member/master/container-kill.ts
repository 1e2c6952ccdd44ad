import { containersOf, type ProcessInfo, type ProcessTable } from "./container-processes.js";
import type { LockBar } from "./lock-bar.js";

/** Whoever holds a LOCK, or has one open and may yet lock it, and those of `known` that live: with all that lives in their containers. */
export function victimsOf(known: readonly ProcessInfo[], bar: LockBar, table: ProcessTable): ProcessInfo[] {
  const living = stillThere(known, table.all()).map(({ pid }) => pid);
  const { holders, files } = bar.suspects();
  return containersOf([...living, ...holders.map(({ pid }) => pid), ...table.openers(files)], table);
}

/** The same processes, not others that got their numbers. */
export function stillThere(processes: readonly ProcessInfo[], all: readonly ProcessInfo[]): ProcessInfo[] {
  const now = new Map(all.map((info) => [info.pid, info.startTime]));
  return processes.filter(({ pid, startTime }) => now.get(pid) === startTime);
}

/** SIGKILL to each. Returns the last refusal. */
function killAll(victims: readonly ProcessInfo[], table: ProcessTable): unknown {
  let refused: unknown;
  for (const { pid } of victims) {
    try {
      table.signal(pid, "SIGKILL");
    } catch (error) {
      refused = error;
    }
  }
  return refused;
}

/** What became of an attempt to end everybody. */
interface Ending {
  readonly victims: readonly ProcessInfo[];
  /** The last kill that was refused. */
  readonly refused: unknown;
  /** Why the bar does not stand; undefined: it does. Whoever is ended without may be started again, and open everything. */
  readonly unbarred: unknown;
}

/** Puts the bar up and kills. A bar that can't be put up (a disk that takes no write) saves nobody. */
export function endAll(known: readonly ProcessInfo[], bar: LockBar, table: ProcessTable): Ending {
  const unbarred = failureOf(() => bar.raise());
  const victims = victimsOf(known, bar, table);
  return { victims, refused: killAll(victims, table), unbarred };
}

export function failureOf(work: () => void): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error ?? new Error("unknown");
  }
}
