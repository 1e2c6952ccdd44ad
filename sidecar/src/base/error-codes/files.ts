import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const fileErrorCodes: ErrorCodes = {
  CrossDevice: {
    kind: "invalid",
    meaning: "Two directories that must share hard links are on different file systems.",
    remedy: "Put the data directory and every database and WAL directory on one file system (one volume).",
  },
  DiskFull: {
    kind: "transient",
    meaning: "No space, or no quota, is left.",
    remedy:
      "Free space, or give the volume more: a running member goes on by itself, and a command that is run again goes on where it was.",
  },
  FileDenied: {
    kind: "invalid",
    meaning: "The operating system refused access.",
    remedy:
      "The sidecar needs to read and write the data, database and WAL directories: check owner, permissions and mount options.",
  },
  FileExists: {
    kind: "conflict",
    meaning: "A file is there that must not be.",
    remedy: "See what it is; MetaMaster never overwrites what it didn't write.",
  },
  FileNotFound: {
    kind: "invalid",
    meaning: "A file or directory is missing.",
    remedy: "See the path in the message; if nobody removed it by hand it is a defect: report it.",
  },
  FileSystemFailure: {
    kind: "transient",
    meaning: "The operating system reported an error for a file.",
    remedy: "It is tried again. If it lasts, look at the kernel's log: the device may be failing.",
  },
  FileTooLarge: {
    kind: "invalid",
    meaning: "A file is larger than anything that can be right in its place.",
    remedy: "Something else wrote it: look at it before going on.",
  },
};
