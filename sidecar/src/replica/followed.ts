import type { ImagePath } from "../formats/entry.js";
import type { ImageFile } from "../formats/image.js";
import { DiskImage, identityOf } from "./disk-image.js";
import { sameSmall } from "./restore.js";
import type { LocalIdentity, LocalState } from "./state.js";
import { sweep } from "./sweep.js";
import type { ReplicaTools } from "./tools.js";

/**
 * Sets the disk back to exactly what a follower's state says: appended bytes that no state tells of are cut, replaced small files come back, what was added goes. Returns what is
 * wrong if a file is missing, short, or not the same file any more: then only the bucket knows.
 */
export async function setBack(
  tools: ReplicaTools,
  { image, identities }: LocalState,
): Promise<{ readonly damage: string } | { readonly identities: ReadonlyMap<ImagePath, LocalIdentity> }> {
  for (const [path, file] of image.files) {
    const fault = await faultOf(tools, path, file, identities.get(path));
    if (fault !== undefined) return { damage: `${path} ${fault}` };
  }
  const disk = new DiskImage(tools, image.files);
  const found = new Map(identities);
  try {
    await disk.staging.clear();
    for (const [path, file] of image.files) {
      const local = tools.layout.toLocal(path);
      if (file.kind === "append") await disk.appends.cut(local, file.size);
      else if (file.kind === "small" && !(await sameSmall(tools, local, file))) {
        await disk.staging.replace(disk.directories, local, file.bytes, file.permissions);
      } else if (file.kind === "directory") await disk.directories.ensure(local);
    }
    for (const directory of await sweep(tools, image.files)) disk.directories.changed(directory);
    await disk.sync();
    for (const [path, file] of image.files) {
      // Cutting a file that had a second name gave it a new inode.
      const stat = file.kind === "append" ? await tools.fs.stat(tools.layout.toLocal(path)) : undefined;
      if (stat !== undefined) found.set(path, identityOf(stat));
    }
    return { identities: found };
  } finally {
    await disk.close();
  }
}

async function faultOf(
  { fs, layout }: ReplicaTools,
  path: ImagePath,
  file: ImageFile,
  identity: LocalIdentity | undefined,
): Promise<string | undefined> {
  if (file.kind === "directory" || file.kind === "small") return undefined;
  const stat = await fs.stat(layout.toLocal(path));
  if (stat?.kind !== "file") return "is missing";
  if (identity === undefined || stat.inode !== identity.inode) return "is not the file that was written";
  if (stat.size < file.size) return `has ${stat.size} bytes instead of ${file.size}`;
  if (file.kind === "table" && (stat.size !== file.size || stat.modifiedNs !== identity.modifiedNs))
    return "was changed";
  return undefined;
}
