import { MetaMasterError, messageOf } from "../base/errors.js";

/** Why a member stands still until somebody tells it to go on. Stable names: `metamaster resume --reason <name>`. */
export const haltReasons = {
  DuplicateIdentity: {
    meaning: "Another process writes to the log under this member's name.",
    remedy: "Give each member its own name and data directory, stop the other process, then resume.",
  },
  ForeignCluster: {
    meaning: "The bucket's prefix, or the data directory, belongs to another cluster, or the prefix to none any more.",
    remedy: "Point `bucket` at this cluster's prefix, or use an empty data directory, then resume.",
  },
  ClusterDeleted: {
    meaning: "The cluster was deleted, or is being deleted, by `metamaster purge`.",
    remedy:
      "Stop this member. If it is to belong to the cluster that was begun anew below the prefix: start it with an empty data directory.",
  },
  LogGap: {
    meaning: "A slot in the middle of the log is missing and no snapshot covers it.",
    remedy: "Bring the object back (versioning, backup), or restore into a new prefix, then resume.",
  },
  FormatTooNew: {
    meaning: "The bucket holds entries in a format that this version doesn't know.",
    remedy: "Upgrade this member, then resume.",
  },
  CorruptHistory: {
    meaning: "An object of the log failed its check twice; nothing of it was applied.",
    remedy:
      "Run `metamaster verify` to see which; bring the object back from the bucket's versions, or restore from an older snapshot into a new prefix, then resume.",
  },
  AdoptionRefused: {
    meaning: "There are databases on the disk but no history in the bucket.",
    remedy:
      "If the cluster is to begin with these databases set `bootstrap: adopt`; otherwise use an empty data directory. Then resume.",
  },
  ForeignDatabase: {
    meaning: "A database on the disk is not the one that the bucket holds under that name.",
    remedy:
      "Nothing was touched. Use an empty data directory to have the bucket's databases restored to it, or another prefix to begin a cluster with these, then resume.",
  },
  DatabaseNotConfigured: {
    meaning: "The history holds a database that this member's configuration does not name.",
    remedy:
      "Nothing was touched. Give `databases` the names that they had, the same on every member, restart it, then resume.",
  },
  MasterWillNotDie: {
    meaning: "The master did not end after SIGKILL; it may still be writing.",
    remedy:
      "End it by hand or reboot the machine (a process in uninterruptible sleep needs its device back), then resume.",
  },
  LocalUnusable: {
    meaning:
      "The databases on the disk use something that can't be replicated, their directories can't be used, or the disk can't be read.",
    remedy: "See the error: change the master's options or the layout in the configuration, then resume.",
  },
} as const;

export type HaltReason = keyof typeof haltReasons;

export interface Halt {
  readonly reason: HaltReason;
  readonly message: string;
  /** Code of the error behind it. */
  readonly code: string | undefined;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, string | number | boolean>>;
  readonly atWallMs: number;
}

/**
 * Does a restart end the halt? `looksAgain`: yes, the cause is the configuration or the release, and nothing is done at a start before it was looked at again.
 * `stays`: no, it is evidence of what has happened (damage, another's data, another process), and only a person can say that it is dealt with.
 */
type AtStart = "looksAgain" | "stays";

interface HaltCode {
  readonly reason: HaltReason;
  readonly atStart: AtStart;
}

/** Codes that mean: going on by itself can only do harm. Everything else is tried again, with a growing pause. */
export const haltCodes: Readonly<Record<string, HaltCode>> = {
  // Found in the log, or between disk and log. At the start, before there is a member, it isn't even recorded.
  ForeignCluster: { reason: "ForeignCluster", atStart: "stays" },
  ClusterMissing: { reason: "ForeignCluster", atStart: "stays" },
  ClusterDeleted: { reason: "ClusterDeleted", atStart: "stays" },
  DuplicateIdentity: { reason: "DuplicateIdentity", atStart: "stays" },
  LogGap: { reason: "LogGap", atStart: "stays" },
  FormatTooNew: { reason: "FormatTooNew", atStart: "looksAgain" },
  AdoptionRefused: { reason: "AdoptionRefused", atStart: "looksAgain" },
  AdoptionDamaged: { reason: "LocalUnusable", atStart: "stays" },
  ForeignDatabase: { reason: "ForeignDatabase", atStart: "stays" },
  DatabaseNotConfigured: { reason: "DatabaseNotConfigured", atStart: "looksAgain" },
  NotRocksDb: { reason: "LocalUnusable", atStart: "looksAgain" },
  PathBlocked: { reason: "LocalUnusable", atStart: "looksAgain" },
  CrossDevice: { reason: "LocalUnusable", atStart: "looksAgain" },
  // A process of this machine: whoever starts looks for it, and waits as long as it holds a database.
  MasterWillNotDie: { reason: "MasterWillNotDie", atStart: "looksAgain" },
};

/** Whether a recorded halt is over with the start of another process. What is not known is not over. */
export function endsAtStart({ code }: Halt): boolean {
  return code !== undefined && haltCodes[code]?.atStart === "looksAgain";
}

/** Kinds of error, where the code doesn't say it: bytes of the history that fail their check. */
export function haltReasonFor(error: unknown): HaltReason | undefined {
  if (!(error instanceof MetaMasterError)) return undefined;
  const named = haltCodes[error.code];
  if (named !== undefined) return named.reason;
  return error.kind === "corrupt" ? "CorruptHistory" : undefined;
}

export function haltFor(error: unknown, reason: HaltReason, atWallMs: number): Halt {
  const known = error instanceof MetaMasterError ? error : undefined;
  const details: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(known?.details ?? {})) {
    if (value !== undefined) details[name] = typeof value === "bigint" ? value.toString() : value;
  }
  return { reason, message: messageOf(error), code: known?.code, hint: known?.hint, details, atWallMs };
}

export function isHaltReason(text: string): text is HaltReason {
  return Object.hasOwn(haltReasons, text);
}
