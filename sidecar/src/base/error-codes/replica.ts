import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const replicaErrorCodes: ErrorCodes = {
  BarrierFailed: {
    kind: "transient",
    meaning: "What the master had written is not known to be durable; the message says why.",
    remedy: "Do not acknowledge it. Ask again; if the reason stays, `metamaster status` shows it too.",
  },
  CheckpointUnsettled: {
    kind: "transient",
    meaning: "The disk moved on every time while a checkpoint was made.",
    remedy: "It is tried again; it passes when the master compacts less.",
  },
  CompanionInvalid: {
    kind: "invalid",
    meaning: "A path or glob under `companions` can't be used.",
    remedy: "Correct it: it is relative to the data directory and stays inside it.",
  },
  CompanionUnsupported: {
    kind: "invalid",
    meaning: "A companion is something that can't be replicated (a link, a device).",
    remedy: "Exclude it, or have the master use a plain file.",
  },
  CompanionsTooMany: {
    kind: "invalid",
    meaning: "The companions match more files than are replicated beside a database.",
    remedy: "Narrow the globs.",
  },
  CutUnsettled: {
    kind: "transient",
    meaning: "The databases' files changed in every look that should have been an instant.",
    remedy: "It is tried again; if it lasts, something besides the master writes there.",
  },
  DatabaseMissing: {
    kind: "invalid",
    meaning: "A configured database isn't there.",
    remedy: "Check `databases[].path`; a database appears once the master has created it.",
  },
  FileChanged: {
    kind: "transient",
    meaning: "A file that never changes did change while it was read.",
    remedy: "It is tried again; if it lasts, something besides the master writes to its directory.",
  },
  GroupUnfinished: {
    kind: "fenced",
    meaning:
      "A file could not be read while a group of entries was half in the log, so nothing else may follow it in this epoch.",
    remedy: "A new claim voids the half; if it repeats, look at the disk.",
  },
  ManifestMissing: {
    kind: "corrupt",
    meaning: "CURRENT names a MANIFEST that isn't there.",
    remedy:
      "The database is damaged on this disk; stop the member, empty its data directory, and let it restore from the bucket.",
  },
  ManifestShrank: {
    kind: "corrupt",
    meaning: "A MANIFEST became shorter than it was.",
    remedy: "Something besides the master changed it; let another member take over.",
  },
  ShippingEnded: {
    kind: "invalid",
    meaning: "The master has ended and everything was shipped; nothing more can be written in this epoch.",
    remedy: "Ask the member that leads now.",
  },
  TableSizeMismatch: {
    kind: "corrupt",
    meaning: "A table has another size than the MANIFEST says.",
    remedy: "The database is damaged on this disk; let another member take over and restore this one from the bucket.",
  },
  WalElsewhere: {
    kind: "invalid",
    meaning: "A database is written, but there is no WAL where its WALs should be.",
    remedy: "The master sets wal_dir: name that directory as `walPath` of the database.",
  },
  WalShrank: {
    kind: "corrupt",
    meaning: "A WAL became shorter than what was shipped of it.",
    remedy: "Something besides the master changed it; the member ships nothing of it until a checkpoint covers it.",
  },
  WalTailUnclear: {
    kind: "transient",
    meaning: "The end of a WAL is no record although its bytes are there, so nothing behind it can be shipped.",
    remedy:
      "It is looked at again; if it lasts, the disk or the master damaged the WAL, and the master's next flush gets past it.",
  },
};
