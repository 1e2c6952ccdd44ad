import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { MetaMasterError, hasCode } from "../base/errors.js";
import { MIB, type ImagePath } from "../formats/entry.js";
import { EMPTY_IMAGE, type ImageFile, type ImageState } from "../formats/image.js";
import { proveExact } from "./continuity.js";
import { DiskImage, identityOf } from "./disk-image.js";
import { basesOf, LogReplay, type AppendSink } from "./restore-log.js";
import {
  checkNotBefore,
  pickBase,
  type RestoreBase,
  type RestoreTarget,
  type SnapshotShelf,
} from "./restore-target.js";
import { TableRestore, type KnownTables } from "./restore-tables.js";
import { rewriteAllOptions } from "./seal.js";
import { FileDigests } from "./ship/digests.js";
import type { LocalIdentity, LocalState, StateStore } from "./state.js";
import { sweep } from "./sweep.js";
import type { ReplicaTools, RunIdentity } from "./tools.js";

export interface RestoreParts {
  readonly tools: ReplicaTools;
  readonly shelf: SnapshotShelf;
  readonly store: StateStore;
  readonly run: RunIdentity;
}

export interface Restored {
  readonly image: ImageState;
  readonly identities: ReadonlyMap<ImagePath, LocalIdentity>;
  /** Tables and WAL bytes that came from the bucket, and that were there. */
  readonly fetchedBytes: number;
  readonly reusedBytes: number;
  readonly logBytes: number;
}

/**
 * Makes the disk equal to the image at a point in history, fetching and writing only what differs. While it runs, and if it is killed, the state says `restoring`, so that
 * nothing opens the directory; begun again it goes on with what is there. Verified at the end.
 */
export async function restore(parts: RestoreParts, target: RestoreTarget, signal: AbortSignal): Promise<Restored> {
  const { tools, shelf, store } = parts;
  const known = await knownTables(store);
  await writeRestoring(parts, known);
  const disk = new DiskImage(tools, new Map());
  try {
    await disk.staging.clear();
    const base = await pickBase(tools, shelf, target, signal);
    await placeBases(tools, disk, base.image, signal);
    const sink = new DiskSink(tools, disk);
    const image = await replayFrom(tools, sink, base, target, signal);
    await sink.finish(image);
    await removeOthers(tools, disk, image, known);
    await checkSpace(tools, image);
    const tables = new TableRestore(tools, disk, new FileDigests(tools.fs), known);
    await tables.run(image, signal, () =>
      writeRestoring(parts, { files: tableFiles(image, tables.placed), identities: tables.placed }),
    );
    await placeSmall(tools, disk, image);
    await removeOthers(tools, disk, image);
    await disk.sync();
    await syncKept(tools, disk, image, tables.placed);
    await proveExact(tools, image);
    const identities = await identitiesOf(tools, image);
    await store.write(stateOf(parts, { role: "follower", image, identities, epoch: image.epoch }));
    await disk.fetcher.clear();
    await disk.staging.clear();
    const { fetchedBytes, reusedBytes } = tables;
    return { image, identities, fetchedBytes, reusedBytes, logBytes: sink.writtenBytes };
  } finally {
    await disk.close();
  }
}

/** The same, for a master that is to open the directory without a member: what the files say of directories is made to fit this place. */
export async function restoreForMaster(
  parts: RestoreParts,
  target: RestoreTarget,
  signal: AbortSignal,
): Promise<Restored> {
  const restored = await restore(parts, target, signal);
  const disk = new DiskImage(parts.tools, new Map());
  await rewriteAllOptions(parts.tools, disk);
  await disk.sync();
  await disk.staging.clear();
  return restored;
}

/** The image at the target; says what is wrong if the history does not go back to where it would have to begin. */
export async function replayFrom(
  tools: ReplicaTools,
  sink: AppendSink | undefined,
  base: RestoreBase,
  target: RestoreTarget,
  signal: AbortSignal,
): Promise<ImageState> {
  try {
    const image = await new LogReplay(tools, sink, base.image, target).run(signal);
    checkNotBefore(target, image);
    return image;
  } catch (error) {
    if (base.image.position.slot < 0 && base.ifTrimmed !== undefined && hasCode(error, "TrimmedAway"))
      throw base.ifTrimmed;
    throw error;
  }
}

/** Writes where the disk has other bytes. */
class DiskSink implements AppendSink {
  readonly #tools: ReplicaTools;
  readonly #disk: DiskImage;
  /** Bytes that the disk did not have. */
  writtenBytes = 0;

  constructor(tools: ReplicaTools, disk: DiskImage) {
    this.#tools = tools;
    this.#disk = disk;
  }

  async append(file: ImagePath, offset: number, bytes: Uint8Array): Promise<void> {
    const written = await this.#disk.appends.writeIfDifferent(this.#tools.layout.toLocal(file), offset, bytes);
    if (written) this.writtenBytes += bytes.length;
  }

  /** What a disk held beyond goes. */
  async finish(image: ImageState): Promise<void> {
    for (const [path, file] of image.files) {
      if (file.kind === "append") await this.#disk.appends.cut(this.#tools.layout.toLocal(path), file.size);
    }
  }
}

/** Before the tables are fetched, to have their room: all but what may serve as one of them. */
async function removeOthers(
  tools: ReplicaTools,
  disk: DiskImage,
  image: ImageState,
  known?: KnownTables,
): Promise<void> {
  const wanted = new Set<string>();
  for (const file of image.files.values()) if (file.kind === "table") wanted.add(file.sha256);
  const serves = (path: ImagePath): boolean => {
    const file = known?.files.get(path);
    return file?.kind === "table" && wanted.has(file.sha256);
  };
  const changed = await sweep(tools, { has: (path) => image.files.has(path) || serves(path) });
  for (const directory of changed) disk.directories.changed(directory);
}

function stateOf(
  { tools, run }: RestoreParts,
  state: Pick<LocalState, "role" | "image" | "identities" | "epoch">,
): LocalState {
  return {
    cluster: tools.reader.cluster.uid,
    member: run.member,
    runs: [run.nonce],
    claim: undefined,
    bootId: run.bootId,
    ...state,
  };
}

/** What the state knows of tables is good for as long as they are the same files. */
async function knownTables(store: StateStore): Promise<KnownTables> {
  const before = await store.read();
  return before.found === "state"
    ? { files: before.state.image.files, identities: before.state.identities }
    : { files: new Map(), identities: new Map() };
}

/** From here on nothing may be believed of this directory but the tables that are named. */
function writeRestoring(parts: RestoreParts, { files, identities }: KnownTables): Promise<void> {
  const tables = new Map([...files].filter(([, file]) => file.kind === "table"));
  const image = { ...EMPTY_IMAGE, files: tables };
  return parts.store.write(stateOf(parts, { role: "restoring", image, identities, epoch: 0 }));
}

function tableFiles(image: ImageState, placed: ReadonlyMap<ImagePath, LocalIdentity>): Map<ImagePath, ImageFile> {
  return new Map([...image.files].filter(([path]) => placed.has(path)));
}

/** The beginnings of WALs and MANIFESTs that lie in objects of their own; the log goes on from there. */
async function placeBases(tools: ReplicaTools, disk: DiskImage, image: ImageState, signal: AbortSignal): Promise<void> {
  const { fs, layout } = tools;
  for (const { path, base } of basesOf(image)) {
    const local = layout.toLocal(path);
    if (await beginsWith(tools, local, base, signal)) continue;
    const fetched = await disk.fetcher.fetch({ ...base, permissions: 0o644 }, signal);
    await disk.directories.ensure(dirname(local));
    await fs.rename(fetched, local);
    disk.directories.changed(dirname(local));
  }
}

/** Are the file's first `size` bytes on this disk the object's? False if it is shorter or not there. */
export async function beginsWith(
  { fs }: Pick<ReplicaTools, "fs">,
  local: string,
  { size, sha256 }: { readonly size: number; readonly sha256: string },
  signal: AbortSignal,
): Promise<boolean> {
  const stat = await fs.stat(local);
  if (stat?.kind !== "file" || stat.size < size) return false;
  const file = await fs.open(local, "read");
  try {
    const hash = createHash("sha256");
    const slice = new Uint8Array(Math.min(MIB, Math.max(1, size)));
    for (let offset = 0; offset < size;) {
      signal.throwIfAborted();
      const got = await file.read(slice.subarray(0, Math.min(slice.length, size - offset)), offset);
      if (got === 0) return false;
      hash.update(slice.subarray(0, got));
      offset += got;
    }
    return hash.digest("hex") === sha256;
  } finally {
    await file.close();
  }
}

async function placeSmall(tools: ReplicaTools, disk: DiskImage, image: ImageState): Promise<void> {
  const { fs, layout } = tools;
  // CURRENT last: what it names is there by then.
  const order = [...image.files].toSorted(
    ([left], [right]) => Number(left.endsWith("/CURRENT")) - Number(right.endsWith("/CURRENT")),
  );
  for (const [path, file] of order) {
    if (file.kind !== "small" && file.kind !== "directory") continue;
    const local = layout.toLocal(path);
    const stat = await fs.stat(local);
    if (stat !== undefined && stat.kind !== (file.kind === "small" ? "file" : "directory")) {
      await disk.staging.park(disk.directories, local);
    }
    if (file.kind === "directory") await disk.directories.ensure(local);
    else if (stat?.kind !== "file" || !(await sameSmall(tools, local, file))) {
      await disk.staging.replace(disk.directories, local, file.bytes, file.permissions);
    }
  }
}

/** Does the file at `local` hold exactly these bytes, with these permissions? */
export async function sameSmall(
  { fs }: Pick<ReplicaTools, "fs">,
  local: string,
  file: Extract<ImageFile, { kind: "small" }>,
): Promise<boolean> {
  const stat = await fs.stat(local);
  if (stat?.kind !== "file" || stat.size !== file.bytes.length || stat.permissions !== (file.permissions & 0o777))
    return false;
  return Buffer.compare(await fs.readFile(local, file.bytes.length), file.bytes) === 0;
}

async function identitiesOf({ fs, layout }: ReplicaTools, image: ImageState): Promise<Map<ImagePath, LocalIdentity>> {
  const identities = new Map<ImagePath, LocalIdentity>();
  for (const path of image.files.keys()) {
    const stat = await fs.stat(layout.toLocal(path));
    if (stat !== undefined) identities.set(path, identityOf(stat));
  }
  return identities;
}

/**
 * What was right already may be what a killed run wrote, or the master, and nobody made durable since. (Tables are durable before they get their names, and those
 * that were found were synced then.)
 */
async function syncKept(
  { fs, layout }: ReplicaTools,
  disk: DiskImage,
  image: ImageState,
  tables: ReadonlyMap<ImagePath, LocalIdentity>,
): Promise<void> {
  for (const [path, file] of image.files) {
    const local = layout.toLocal(path);
    await disk.directories.ensure(file.kind === "directory" ? local : dirname(local));
    disk.directories.changed(dirname(local));
    if (file.kind === "directory" || tables.has(path)) continue;
    const handle = await fs.open(local, "read");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  await disk.directories.sync();
}

/** Better said before an hour of fetching than after it. */
async function checkSpace({ fs, layout }: ReplicaTools, image: ImageState): Promise<void> {
  const missing = new Map<string, number>();
  const there = new Set<string>();
  for (const [path, file] of image.files) {
    if (file.kind !== "table") continue;
    const stat = await fs.stat(layout.toLocal(path));
    if (stat?.size === file.size) there.add(file.sha256);
    else missing.set(file.sha256, file.size);
  }
  let needed = 0;
  for (const [sha256, size] of missing) if (!there.has(sha256)) needed += size;
  const { dataDirectory } = layout.layout;
  const free = await fs.freeBytes(dataDirectory);
  if (needed <= free) return;
  throw new MetaMasterError(
    "DiskFull",
    "transient",
    `${dataDirectory} has ${free} bytes free, and ${needed} are to be fetched.`,
    {
      hint: "Free space, or give the volume more; it is tried again.",
      details: { path: dataDirectory, needed, free },
    },
  );
}
