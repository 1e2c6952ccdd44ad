import { readdir, rm } from "node:fs/promises";
import { join, relative, sep } from "node:path";

/**
 * Ends what a killed fake-gcs-server left of a put: it moves the object's bytes into place before it writes the object's metadata, and a file
 * without metadata is no object to it but makes every listing of the bucket a 404, as if there were no bucket. A real store has neither. Gives
 * the removed names, `bucket/key`.
 */
export async function removeHalfWritten(endpoint: string, root: string): Promise<string[]> {
  const removed: string[] = [];
  for (const bucket of await readdir(root, { withFileTypes: true })) {
    if (!bucket.isDirectory()) continue;
    const folder = join(root, bucket.name);
    for (const file of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!file.isFile() || file.name.endsWith(".metadata")) continue;
      const path = join(file.parentPath, file.name);
      const key = relative(folder, path).split(sep).join("/");
      const answer = await fetch(`${endpoint}/storage/v1/b/${bucket.name}/o/${encodeURIComponent(key)}`);
      await answer.body?.cancel();
      if (answer.status !== 404) continue;
      await rm(path);
      removed.push(`${bucket.name}/${key}`);
    }
  }
  return removed;
}
