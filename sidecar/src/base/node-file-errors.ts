import { MetaMasterError, messageOf, type ErrorKind } from "./errors.js";

interface Meaning {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly what: string;
  readonly hint?: string;
}

const denied = {
  code: "FileDenied",
  kind: "invalid",
  hint: "The sidecar needs to read and write the data, database and WAL directories: check owner, permissions and mount options.",
} as const;
const full = {
  code: "DiskFull",
  kind: "transient",
  what: "no space is left",
  hint: "Free space, or give the volume more: a running member goes on by itself, and a command that is run again goes on where it was.",
} as const;

/** What the caller can do about each errno; everything else may be gone at the next try. */
const meanings: Readonly<Record<string, Meaning>> = {
  ENOENT: { code: "FileNotFound", kind: "invalid", what: "no such file or directory" },
  ENOSPC: full,
  EDQUOT: { ...full, what: "the quota is used up" },
  EACCES: { ...denied, what: "access is denied" },
  EPERM: { ...denied, what: "the operation is not permitted" },
  EROFS: { ...denied, what: "the file system is read-only" },
  ELOOP: {
    ...denied,
    what: "it is a symbolic link",
    hint: "Symbolic links are not followed: name the real file or directory.",
  },
  EXDEV: {
    code: "CrossDevice",
    kind: "invalid",
    what: "the two names are on different file systems",
    hint: "Put the data directory and every database and WAL directory on one file system (one volume).",
  },
  EEXIST: { code: "FileExists", kind: "conflict", what: "it exists already" },
};

/** By its shape: errors of the runtime are not instances of `Error` in every realm (under a test runner, for one). */
export function errnoOf(error: unknown): string | undefined {
  const code: unknown = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** `doing` continues "Could not": "read", "link to /b". */
export function fileError(error: unknown, doing: string, path: string): MetaMasterError {
  if (error instanceof MetaMasterError) return error;
  const errno = errnoOf(error) ?? "";
  const { code, kind, what, hint }: Meaning = meanings[errno] ?? {
    code: "FileSystemFailure",
    kind: "transient",
    what: messageOf(error),
  };
  return new MetaMasterError(code, kind, `Could not ${doing} ${path}: ${what}.`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
    details: { path, ...(errno === "" ? {} : { errno }) },
  });
}

export function notAFile(path: string, doing: string): MetaMasterError {
  return new MetaMasterError(
    "FileSystemFailure",
    "transient",
    `Could not ${doing} ${path}: it is not a regular file.`,
    {
      hint: "Something else lies where a file is expected: move it away.",
      details: { path },
    },
  );
}

export function fileTooLarge(path: string, maxBytes: number): MetaMasterError {
  return new MetaMasterError(
    "FileTooLarge",
    "invalid",
    `${path} has more than the ${maxBytes} bytes that can be right.`,
    {
      hint: "Something else wrote it: look at it before going on.",
      details: { path, maxBytes },
    },
  );
}
