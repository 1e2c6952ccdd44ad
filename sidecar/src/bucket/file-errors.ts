import { MetaMasterError, messageOf } from "../base/errors.js";
import { bucketError, keysNest, type ErrorContext } from "./errors.js";

export function errnoOf(error: unknown): string | undefined {
  // Not `instanceof`: under jest node:fs throws errors of another realm.
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** An error of node:fs as an error of this layer; one of ours passes unchanged. */
export function fileBucketError(error: unknown, context: ErrorContext): MetaMasterError {
  if (error instanceof MetaMasterError) return error;
  const errno = errnoOf(error);
  const why = `${messageOf(error)}.`;
  const options = { cause: error, details: { errno } };
  switch (errno) {
    case "ENOSPC":
    case "EDQUOT":
      return bucketError("BucketFull", "transient", context, why, {
        ...options,
        hint: "Free space (or raise the quota) on the file system of the bucket; it is tried again.",
      });
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return bucketError("BucketAccessDenied", "invalid", context, why, {
        ...options,
        hint: "The user of MetaMaster needs to read and write the bucket's folder, on a file system that has hard links.",
      });
    case "EISDIR":
    case "ENOTDIR":
    case "ENOTEMPTY":
      return keysNest(context.url, context.key ?? "", error);
    case "EXDEV":
      return bucketError("BucketRequestInvalid", "invalid", context, why, {
        ...options,
        hint: "The whole bucket folder must be on one file system: no mount points below it.",
      });
    case undefined:
    default:
      return bucketError("BucketUnavailable", "transient", context, why, {
        ...options,
        hint: "It is tried again. If it lasts: is the disk or mount of the bucket in order?",
      });
  }
}
