import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const formatErrorCodes: ErrorCodes = {
  BlobReferencesInWal: {
    kind: "invalid",
    meaning:
      "A WAL refers to a blob file that the MANIFEST may not know yet (blob direct write, stacked BlobDB), or the OPTIONS turn blob direct write on.",
    remedy:
      "Turn blob direct write off in the master's options; blob files written by flushes and compactions are supported.",
  },
  CompressionCorrupt: {
    kind: "corrupt",
    meaning: "A zstd frame is damaged, or would give more bytes than allowed.",
    remedy: "The bytes were damaged after they were written; nothing of them was used. Run `metamaster verify --deep`.",
  },
  CurrentFileInvalid: {
    kind: "corrupt",
    meaning: "A CURRENT file doesn't name a MANIFEST.",
    remedy: "The database is damaged or isn't a RocksDB: check the path in the configuration.",
  },
  EntryCorrupt: {
    kind: "corrupt",
    meaning: "An entry of the log fails its check.",
    remedy:
      "It is never applied. Bring the object back from the bucket's versions, or restore from an older snapshot into a new prefix.",
  },
  EntryInvalid: {
    kind: "invalid",
    meaning: "An entry that no reader would accept was to be written.",
    remedy: "This is a defect of MetaMaster: report it.",
  },
  EntryTooLarge: {
    kind: "invalid",
    meaning: "An entry would exceed the format's limit.",
    remedy: "This is a defect of MetaMaster: report it.",
  },
  FilesElsewhere: {
    kind: "invalid",
    meaning:
      "A live table is not in the database's directory: it lies elsewhere (db_paths, cf_paths), or somebody deleted it.",
    remedy:
      "Let the master keep all tables in the database's directory. A table that was deleted comes back by a failover, or by emptying the directory.",
  },
  FormatTooNew: {
    kind: "invalid",
    meaning: "The bucket holds a format that this version doesn't know.",
    remedy: "Upgrade this member.",
  },
  HistoryInvalid: {
    kind: "corrupt",
    meaning: "An entry of the log can't follow what came before it.",
    remedy: "Nothing of it was applied. Run `metamaster verify` and report it: a writer broke a rule.",
  },
  ManifestCorrupt: {
    kind: "corrupt",
    meaning: "A MANIFEST holds bytes that RocksDB itself would refuse.",
    remedy: "See file and offset in the message; look at the disk, and restore the database from the bucket.",
  },
  ManifestUnsupported: {
    kind: "invalid",
    meaning: "A MANIFEST holds something that this version doesn't know.",
    remedy: "Upgrade MetaMaster, or turn the feature off in the master's options.",
  },
  SnapshotCorrupt: {
    kind: "corrupt",
    meaning: "A snapshot fails its check.",
    remedy:
      "It is never used; an older one and the log hold the same data. Bring the object back from the bucket's versions if there is no older one.",
  },
  SnapshotTooLarge: {
    kind: "invalid",
    meaning: "A snapshot would list more files than its format allows.",
    remedy: "Replicate fewer companions; RocksDB itself needs far fewer files.",
  },
  WalCorrupt: {
    kind: "corrupt",
    meaning: "A WAL holds bytes that can't be a record.",
    remedy:
      "See file and offset in the message. On a primary: look at the disk; the master's own recovery would stop there too.",
  },
  WalRecordCorrupt: {
    kind: "corrupt",
    meaning: "A logical record of a WAL can't be decompressed.",
    remedy: "See file and offset in the message; look at the disk.",
  },
  WalRecordUnsupported: {
    kind: "invalid",
    meaning: "A WAL uses a feature that can't be replicated.",
    remedy: "Turn the feature named in the message off in the master's options.",
  },
  WriteBatchCorrupt: {
    kind: "corrupt",
    meaning: "A batch in a WAL does not hold what its header announces.",
    remedy: "See file and offset in the message; look at the disk.",
  },
  WriteBatchUnsupported: {
    kind: "invalid",
    meaning: "A batch in a WAL holds an operation that this version doesn't know.",
    remedy: "Upgrade MetaMaster.",
  },
};
