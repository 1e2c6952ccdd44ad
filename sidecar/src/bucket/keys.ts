import { MetaMasterError } from "../base/errors.js";

/** S3 and GCS: 1024 bytes of UTF-8; ours are ASCII. Counted with the prefix. */
const maxKeyLength = 1024;
/** File names of Linux have 255 bytes, and stores on a file system add some for their own temporary files (fake-gcs-server: 20). */
const maxSegmentLength = 220;

/**
 * A segment starts with a letter, a digit or `_` (so no `.`, `..`, `.nfs1234`, `-option`), and `~` is left to the drivers' own files.
 * `%`, `\`, `:` and the like mean something to URLs, shells or other systems.
 */
const segmentPattern = /^[A-Za-z0-9_][A-Za-z0-9!_.*'()=+,@-]*$/;

export function isKeySegment(segment: string): boolean {
  return segment.length <= maxSegmentLength && segmentPattern.test(segment);
}

function badKey(what: string, key: string, why: string): MetaMasterError {
  return new MetaMasterError(
    "BucketKeyInvalid",
    "invalid",
    `The ${what} ${JSON.stringify(key)} can't be used: ${why}.`,
    {
      hint: "Keys are segments of letters, digits and !_.*'()=+,@- separated by single slashes, each at most 220 long.",
      details: { key },
    },
  );
}

/** Throws `BucketKeyInvalid` (invalid) unless every store can hold `key`. */
export function checkKey(key: string): void {
  if (key.length === 0 || key.length > maxKeyLength) {
    throw badKey("key", key.slice(0, 80), `it has ${key.length} characters, allowed are 1 to ${maxKeyLength}`);
  }
  for (const segment of key.split("/")) {
    if (!isKeySegment(segment)) throw badKey("key", key, `its segment ${JSON.stringify(segment)} is not allowed`);
  }
}

/** What a listing may start with: "", or the beginning of a key, which may end in a slash or within a segment. */
export function checkKeyPrefix(prefix: string): void {
  if (prefix === "") return;
  checkKey(prefix.endsWith("/") ? prefix.slice(0, -1) : prefix);
}

/** "" or a folder with one slash at its end, from what a user may write (`/a/b`, `a/b/`). Throws `BucketKeyInvalid`. */
export function normalizePrefix(prefix: string): string {
  const trimmed = prefix.replace(/^\/+/, "").replace(/\/+$/, "");
  if (trimmed === "") return "";
  checkKey(trimmed);
  return `${trimmed}/`;
}

/** The key as the store sees it; checked. */
export function fullKey(normalizedPrefix: string, key: string): string {
  checkKey(key);
  const full = normalizedPrefix + key;
  if (full.length > maxKeyLength) {
    throw badKey("key", key, `with its prefix it has ${full.length} characters, allowed are ${maxKeyLength}`);
  }
  return full;
}
