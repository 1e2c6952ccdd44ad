import { createHash } from "node:crypto";
import type { Bucket } from "../bucket/bucket.js";
import type { Digest } from "../formats/entry.js";

/** sha256 of an object of that size, read in ranges, one at a time; undefined if it is gone or shorter. */
export async function digestOfObject(
  bucket: Bucket,
  key: string,
  size: number,
  rangeBytes: number,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<Digest | undefined> {
  const hash = createHash("sha256");
  for (let offset = 0; offset < size;) {
    const length = Math.min(rangeBytes, size - offset);
    const bytes = await bucket.get(key, { signal, maxBytes: length, range: { offset, length } });
    if (bytes === undefined || bytes.length !== length) return undefined;
    hash.update(bytes);
    offset += length;
    onBytes(length);
  }
  return hash.digest("hex");
}
