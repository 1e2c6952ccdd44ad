import { existsSync } from "node:fs";
import { MetaMasterError } from "../../base/errors.js";

/** SQLITE_BUSY: a record lock of somebody else is in the way of the one that a read takes. */
const busy = 5;

/**
 * Files on which any process of the machine holds a record lock (fcntl), in whatever PID namespace: /proc/locks shows only those of our own. RocksDB locks the whole of its `LOCK`; the kernel
 * is asked by the only thing in Node that calls fcntl, SQLite, which locks some bytes of an empty file for a moment to read it, and writes nothing. Only where no master of ours may be about to take the
 * lock: it would find it taken. A Node without SQLite sees nothing.
 */
export function lockedByAnybody(paths: readonly string[]): string[] {
  const sqlite = process.getBuiltinModule("node:sqlite");
  // oxlint-disable-next-line typescript/no-unnecessary-condition -- there are Nodes that were built without it
  if (sqlite === undefined) return [];
  return paths.filter((path) => existsSync(path) && isLocked(sqlite, path));
}

export function heldElsewhere(paths: readonly string[]): MetaMasterError {
  const held = paths.join(", ");
  return new MetaMasterError(
    "MasterWillNotDie",
    "transient",
    `a process that can't be seen from here has a database open: it holds ${held}`,
    {
      hint: "It runs in another container on this volume: the master of a pod that was deleted by force, say. Nothing is written before it has ended; it is waited for. If it lasts, look for it on this node.",
      details: { locks: held },
    },
  );
}

function isLocked({ DatabaseSync }: typeof import("node:sqlite"), path: string): boolean {
  let database;
  try {
    database = new DatabaseSync(path, { readOnly: true });
    database.prepare("SELECT 1 FROM sqlite_schema").get();
    return false;
  } catch (error) {
    // Anything else (no database, no permission) says nothing of a lock: what /proc tells counts.
    return typeof error === "object" && error !== null && "errcode" in error && error.errcode === busy;
  } finally {
    database?.close();
  }
}
