import type { Position } from "../formats/entry.js";
import type { Image } from "../formats/image-fold.js";
import type { ImageState } from "../formats/image.js";
import { parseFileName } from "../formats/rocksdb/file-names.js";
import { OPTIONS_BYTES_MAX, rewriteOptions } from "../formats/rocksdb/options-file.js";
import { breakLink } from "./append-files.js";
import { proveExact, proveStandalone } from "./continuity.js";
import { DiskImage, identityOf } from "./disk-image.js";
import { RUNS_MAX, type LocalIdentity, type StateStore } from "./state.js";
import type { ReplicaTools, RunIdentity } from "./tools.js";

export interface SealInput {
  readonly tools: ReplicaTools;
  readonly store: StateStore;
  readonly run: RunIdentity;
  /** The log's state. */
  readonly image: ImageState;
  readonly claim: Position;
  readonly epoch: number;
  readonly disk: DiskImage;
  /** The disk holds the image and nothing else; false: it is ahead of it. */
  readonly exact: boolean;
}

/** The image once our claim stands in the slot after what was seen: nothing of an unfinished group takes effect any more, but a trim between its parts does. */
export function claimedImage(image: Image, claim: Position, epoch: number): ImageState {
  image.push({
    header: {
      version: 1,
      cluster: "",
      slot: claim.slot,
      epoch,
      kind: "claim",
      previous: "",
      writer: { member: "", nonce: "" },
      wallTimeMs: 0,
      more: false,
      sequences: [],
    },
    operations: [],
    position: claim,
    size: 0,
  });
  return image.state();
}

/**
 * Makes a disk ready to be opened by a master of the epoch: nothing that RocksDB appends to or truncates has a second name, OPTIONS lead nowhere else, the files
 * are proven to be whole, and the state says who owns them from now on.
 */
export async function sealDisk(input: SealInput): Promise<void> {
  const { tools, store, run, image, claim, epoch, disk, exact } = input;
  const { fs, layout } = tools;
  if (exact) await fs.removeTree(tools.folders.links);
  await separate(input);
  if (exact) await proveExact({ fs, layout }, image);
  else await proveStandalone({ fs, layout });
  await rewriteAllOptions(tools, disk);
  await disk.sync();
  const identities = new Map<string, LocalIdentity>();
  for (const [path, file] of image.files) {
    if (file.kind !== "table") continue;
    const stat = await fs.stat(layout.toLocal(path));
    if (exact && stat !== undefined) identities.set(path, identityOf(stat));
  }
  const before = await store.read();
  const runs = before.found === "state" && !exact ? before.state.runs : [];
  await store.write({
    cluster: tools.reader.cluster.uid,
    member: run.member,
    runs: [run.nonce, ...runs.filter((nonce) => nonce !== run.nonce)].slice(0, RUNS_MAX),
    role: "primary",
    epoch,
    claim,
    bootId: run.bootId,
    image,
    identities,
  });
}

/** WALs and MANIFESTs get an inode of their own: the shipper's links to files that are still there go, what other names remain keep a copy. */
async function separate({ tools, disk }: SealInput): Promise<void> {
  const { fs, layout, folders, logger } = tools;
  for (const { directory, database } of layout.roots) {
    if ((await fs.stat(directory))?.kind !== "directory") continue;
    for (const { name } of await fs.list(directory)) {
      const type = parseFileName(name)?.type;
      if (type !== "wal" && type !== "manifest") continue;
      const path = `${directory}/${name}`;
      const stat = await fs.stat(path);
      if (stat === undefined || stat.links <= 1) continue;
      const link = `${folders.links}/${database.name}/${name}`;
      if ((await fs.stat(link))?.inode === stat.inode) await fs.unlink(link);
      if (((await fs.stat(path))?.links ?? 1) <= 1) continue;
      logger.warn(
        { path },
        `${path} has another name somewhere; the database gets a copy, since RocksDB would change both`,
      );
      await breakLink(fs, disk.staging, disk.directories, path);
    }
  }
}

/** OPTIONS of another place would have RocksDB read, and delete, the WALs there. */
export async function rewriteAllOptions({ fs, layout, logger }: ReplicaTools, disk: DiskImage): Promise<void> {
  for (const { path, walPath } of layout.layout.databases) {
    if ((await fs.stat(path))?.kind !== "directory") continue;
    for (const { name } of await fs.list(path)) {
      if (parseFileName(name)?.type !== "options") continue;
      const file = `${path}/${name}`;
      const stat = await fs.stat(file);
      const { bytes, changes } = rewriteOptions(
        await fs.readFile(file, OPTIONS_BYTES_MAX),
        walPath === path ? "" : (walPath ?? ""),
      );
      if (changes.length === 0) continue;
      await disk.staging.replace(disk.directories, file, bytes, stat?.permissions ?? 0o644);
      logger.info({ file, changes }, `${file} named directories of another place: rewritten`);
    }
  }
}
