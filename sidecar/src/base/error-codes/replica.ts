import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const replicaErrorCodes: ErrorCodes = {
  AdoptionDamaged: {
    kind: "corrupt",
    meaning:
      "The machine was started again before anything of the databases to adopt was in the bucket, and WAL seems to be missing between what they hold.",
    remedy:
      "Nothing was touched. Open them once with the master's own tools, so that RocksDB recovers what is there, or bring back a backup; then resume.",
  },
  AdoptionRefused: {
    kind: "invalid",
    meaning: "There are databases on the disk, but the bucket has no history.",
    remedy:
      "If the cluster is to begin with these databases set `bootstrap: adopt`; otherwise use an empty data directory.",
  },
  ApplyPending: {
    kind: "transient",
    meaning: "Entries that were read are not on this disk yet.",
    remedy: "It is tried again by itself.",
  },
  BarrierFailed: {
    kind: "transient",
    meaning: "What the master had written is not known to be durable; the message says why.",
    remedy: "Do not acknowledge it. Ask again; if the reason stays, `metamaster status` shows it too.",
  },
  BootstrapEmptied: {
    kind: "transient",
    meaning:
      "This cluster is to begin with what this member fetched from another one (`bootstrapFrom`), but its directory was emptied since.",
    remedy:
      "Put the databases back, or remove `.metamaster/seeded.json` to have the other cluster's state fetched again. Nobody else may begin the history.",
  },
  BootstrapSourceUnusable: {
    kind: "transient",
    meaning: "The other cluster's state, with which this one is to begin (`bootstrapFrom`), can't be restored.",
    remedy: "The message says why. It is tried again, and nothing else is begun in its place.",
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
    remedy:
      "Check `databases[].path`; a database appears once the master has created it. Until then nothing of it is replicated, and every barrier is refused.",
  },
  DatabaseNotConfigured: {
    kind: "invalid",
    meaning: "The history holds a database, or a directory of WALs, that this member's configuration does not name.",
    remedy:
      "Give `databases` the names that they had, the same on every member. To give one up for good, begin another prefix with `bootstrap: Adopt`.",
  },
  DirectoryInUse: {
    kind: "conflict",
    meaning: "Another metamaster runs on this data directory.",
    remedy: "Stop the other process, or give this one its own data directory.",
  },
  FileChanged: {
    kind: "transient",
    meaning: "A file that never changes did change while it was read.",
    remedy: "It is tried again; if it lasts, something besides the master writes to its directory.",
  },
  FollowerSealed: {
    kind: "invalid",
    meaning: "A follower was used after it gave its disk to the master.",
    remedy: "This is a defect of MetaMaster: report it.",
  },
  ForeignDatabase: {
    kind: "invalid",
    meaning: "The database on the disk is not the one that the bucket holds under that name.",
    remedy:
      "Use an empty data directory to have the bucket's databases restored to it, or another prefix to begin a cluster with these.",
  },
  GroupUnfinished: {
    kind: "fenced",
    meaning:
      "A file could not be read while a group of entries was half in the log, so nothing else may follow it in this epoch.",
    remedy: "A new claim voids the half; if it repeats, look at the disk.",
  },
  HistoryChanged: {
    kind: "corrupt",
    meaning: "An entry of the log changed after it was read.",
    remedy: "Something besides MetaMaster changes the bucket: find out what before going on.",
  },
  HistoryMismatch: {
    kind: "corrupt",
    meaning: "The bucket holds another history than the one this disk was part of.",
    remedy:
      "The bucket was emptied, rolled back or replaced: bring its objects back, or, if the bucket is right, empty this data directory.",
  },
  ImageIncomplete: {
    kind: "corrupt",
    meaning: "A database is not whole: a file or bytes of one are missing, or files are there that are not part of it.",
    remedy:
      "No master is started on it; the disk is compared with the log again, which repairs it. If that doesn't help run `metamaster verify`.",
  },
  ImagePathInvalid: {
    kind: "corrupt",
    meaning: "The history names a file that lies in no configured database and is no companion.",
    remedy: "Give `databases`, their names and `companions` the same values on every member.",
  },
  LocalDamaged: {
    kind: "corrupt",
    meaning: "The disk lost bytes that had been shipped, as after a power failure.",
    remedy: "Nothing: the files are repaired from the bucket, and what the disk holds beyond it goes to quarantine.",
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
  NotInHistory: {
    kind: "invalid",
    meaning:
      "There are databases on the disk of which nothing is known, and nothing in the bucket to compare them with.",
    remedy:
      "It is tried again: once the primary's first checkpoint is in the bucket they are compared with it. To begin a cluster with these databases use `bootstrap: adopt` on every member and a prefix without a history; otherwise use an empty data directory.",
  },
  NotRocksDb: {
    kind: "invalid",
    meaning: "A configured database directory holds files, but no RocksDB database.",
    remedy:
      "Name the directory of the database in `databases[].path`, or an empty one. What lies beside the database belongs in `companions`.",
  },
  PathBlocked: {
    kind: "invalid",
    meaning: "A link, a file or a device is where a directory must be.",
    remedy: "Move it away, or name the real directory: symbolic links are not followed.",
  },
  ShippingEnded: {
    kind: "invalid",
    meaning: "The master has ended and everything was shipped; nothing more can be written in this epoch.",
    remedy: "Ask the member that leads now.",
  },
  StateTooNew: {
    kind: "invalid",
    meaning: "A later release wrote this directory's state.",
    remedy: "Upgrade this member, or empty its data directory to have it restored from the bucket.",
  },
  StateUnreadable: {
    kind: "corrupt",
    meaning: "This directory's state can't be believed.",
    remedy:
      "Nothing: the files are compared with the bucket and repaired from it; what the bucket doesn't hold goes to quarantine.",
  },
  SyncFailed: {
    kind: "conflict",
    meaning: "What was applied could not be made durable.",
    remedy:
      "The files are set back to the last saved state and followed from there. If it lasts the disk is full or failing.",
  },
  TableCorrupt: {
    kind: "corrupt",
    meaning: "An object is not the file that the log names, also when it was fetched again.",
    remedy: "Bring the object back from the bucket's versions, or from a member that has the file (its sha256 tells).",
  },
  TableMissing: {
    kind: "corrupt",
    meaning: "An object that the log names is not in the bucket.",
    remedy: "Bring the object back from the bucket's versions, or from a member that has the file (its sha256 tells).",
  },
  TableSizeMismatch: {
    kind: "corrupt",
    meaning: "A table has another size than the MANIFEST says.",
    remedy: "The database is damaged on this disk; let another member take over and restore this one from the bucket.",
  },
  TargetNotReached: {
    kind: "invalid",
    meaning: "The log ends before the slot that was asked for.",
    remedy: "See `metamaster log list` for what there is.",
  },
  TargetTooOld: {
    kind: "invalid",
    meaning: "The bucket does not keep the history so far back.",
    remedy: "See `metamaster snapshot list` for what can be restored; `retention` decides how much is kept.",
  },
  TrimmedAway: {
    kind: "conflict",
    meaning: "The log after this member's position was deleted; a later snapshot covers it.",
    remedy: "Nothing: the member goes on from the newest snapshot by itself.",
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
