import type { Bucket, ListedObject } from "./bucket.js";

/** What lies below a prefix, page by page, in byte order; the next page is asked for once it is wanted. What is deleted meanwhile behind a page is no trouble. */
export async function* pagesOf(
  bucket: Bucket,
  prefix: string,
  signal: AbortSignal,
  from?: string,
): AsyncGenerator<readonly ListedObject[]> {
  for (let startAfter = from; ;) {
    const { objects, more } = await bucket.list(prefix, { startAfter, signal });
    if (objects.length > 0) yield objects;
    startAfter = objects.at(-1)?.key;
    if (!more || startAfter === undefined) return;
  }
}
