import { MetaMasterError, messageOf } from "../base/errors.js";

/** Why a member stands still until somebody tells it to go on. Stable names: `metamaster resume --reason <name>`. */
export const haltReasons = {
  DuplicateIdentity: {
    meaning: "Another process writes to the log under this member's name.",
    remedy: "Give each member its own name and data directory, stop the other process, then resume.",
  },
  ForeignCluster: {
    meaning: "The bucket's prefix, or the data directory, belongs to another cluster.",
    remedy: "Point `bucket` at this cluster's prefix, or use an empty data directory, then resume.",
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
    meaning: "The databases on the disk use something that can't be replicated, or the disk can't be read.",
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

/** Codes that mean: going on by itself can only do harm. Everything else is tried again, with a growing pause. */
const reasonByCode: Readonly<Record<string, HaltReason>> = {
  DuplicateIdentity: "DuplicateIdentity",
  ForeignCluster: "ForeignCluster",
  LogGap: "LogGap",
  FormatTooNew: "FormatTooNew",
  AdoptionRefused: "AdoptionRefused",
  AdoptionDamaged: "LocalUnusable",
  ForeignDatabase: "ForeignDatabase",
  DatabaseNotConfigured: "DatabaseNotConfigured",
  MasterWillNotDie: "MasterWillNotDie",
};

/** Kinds of error, where the code doesn't say it: bytes of the history that fail their check. */
export function haltReasonFor(error: unknown): HaltReason | undefined {
  if (!(error instanceof MetaMasterError)) return undefined;
  const named = reasonByCode[error.code];
  if (named !== undefined) return named;
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
