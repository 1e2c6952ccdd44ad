import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";

/**
 * Completes what a killed fake-gcs-server left of a put: it moves the object's bytes, whole, into place before it writes the object's metadata, and
 * a file without metadata is no object to it (be it that an older one was overwritten) but makes every listing of the bucket a 404, as if there were
 * no bucket. A real store does neither.
 */
export async function completeHalfPuts(endpoint: string, root: string): Promise<void> {
  for (const bucket of await readdir(root, { withFileTypes: true })) {
    if (!bucket.isDirectory()) continue;
    const folder = join(root, bucket.name);
    for (const file of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!file.isFile() || file.name.endsWith(".metadata")) continue;
      const path = join(file.parentPath, file.name);
      const key = encodeURIComponent(relative(folder, path).split(sep).join("/"));
      const found = await fetch(`${endpoint}/storage/v1/b/${bucket.name}/o/${key}`);
      await found.body?.cancel();
      if (found.status !== 404) continue;
      const upload = `${endpoint}/upload/storage/v1/b/${bucket.name}/o?uploadType=media&name=${key}`;
      const put = await fetch(upload, { method: "POST", body: await readFile(path) });
      if (!put.ok) throw new Error(`could not complete ${path}: ${put.status} ${await put.text()}`);
      await put.body?.cancel();
    }
  }
}
