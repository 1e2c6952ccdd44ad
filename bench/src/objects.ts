import type { Bucket } from "../../sidecar/src/bucket/bucket.js";

export interface StoredObject {
  readonly key: string;
  readonly size: number;
}

export async function listAll(bucket: Bucket, prefix: string): Promise<StoredObject[]> {
  const found: StoredObject[] = [];
  for (;;) {
    const page = await bucket.list(prefix, { startAfter: found.at(-1)?.key });
    found.push(...page.objects);
    if (!page.more) return found;
  }
}
