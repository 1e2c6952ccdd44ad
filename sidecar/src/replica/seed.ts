import { hasCode, messageWithHint, MetaMasterError } from "../base/errors.js";
import type { FileSystem } from "../base/file-system.js";
import type { Logger } from "../base/log.js";
import type { LogReader } from "../log/log.js";
import type { Directories } from "./directories.js";
import { DiskImage } from "./disk-image.js";
import { directoriesOf, layoutBelow, type Layout } from "./layout.js";
import { LocalFolders } from "./local-folders.js";
import { restore } from "./restore.js";
import type { SnapshotShelf } from "./restore-target.js";
import { rewriteAllOptions } from "./seal.js";
import { StateStore } from "./state.js";
import type { ReplicaTools } from "./tools.js";

/** `bootstrapFrom` of the configuration. */
export interface SeedSource {
  /** The one that fetches it. */
  readonly member: string;
  readonly url: string;
  /** Undefined: the newest state. */
  readonly slot?: number | undefined;
}

/** Another cluster's history, for reading. */
interface OpenSource {
  /** Over its bucket, for a directory of this member. */
  readonly tools: ReplicaTools;
  readonly shelf: SnapshotShelf;
  close(): Promise<void>;
}

export interface SeedParts {
  readonly member: string;
  readonly logger: Logger;
  /** Of this member's own directory and cluster. */
  readonly tools: ReplicaTools;
  readonly shelf: SnapshotShelf;
  /** Undefined: it is not asked for (any more). */
  readonly source: SeedSource | undefined;
  openSource(source: SeedSource, layout: Layout, signal: AbortSignal): Promise<OpenSource>;
}

/** What is to be fetched from where, for which history. */
interface Seeding extends SeedParts {
  readonly source: SeedSource;
  readonly folders: SeedFolders;
}

/** RocksDB's, or the bar in its place: no data. */
const NO_DATA: ReadonlySet<string> = new Set(["LOCK"]);
/** What is wrong with this machine, not with the source. */
const LOCAL_CODES = ["DiskFull", "FileSystemFailure", "FileDenied"];
const ENTRIES_MAX = 10_000;

/**
 * `bootstrapFrom`: the state of another cluster is restored into this member's empty directory, to be adopted as the first state of a history that has none yet (docs/decisions/0014). It is made
 * beside the data, and moved there when it is whole: killed at any moment, it goes on at the next start, before anything else looks at the directory.
 */
export async function seed(parts: SeedParts, signal: AbortSignal): Promise<void> {
  const { tools, source, logger } = parts;
  const { fs } = tools;
  const folders = new SeedFolders(tools.folders);
  if ((await fs.stat(folders.seeded)) !== undefined) {
    // Done; what is left of it, or came back with a power failure, is of no use any more.
    await fs.removeTree(folders.root);
    if (source !== undefined && (await isEmptied(parts, source, signal))) throw emptied(source, folders);
    return;
  }
  if ((await fs.stat(folders.whole)) === undefined) {
    const seeding = source && { ...parts, source, folders };
    if (seeding === undefined || !(await isWanted(seeding, signal))) {
      // What an earlier start had begun is of no use any more.
      await fs.removeTree(folders.root);
      return;
    }
    await fetched(seeding, signal);
  }
  const disk = new DiskImage(tools, new Map());
  await moveIn(tools, disk.directories, folders);
  await rewriteAllOptions(tools, disk);
  await disk.sync();
  await disk.staging.clear();
  await fs.writeFileAtomic(folders.seeded, await fs.readFile(folders.whole, 65_536));
  await fs.removeTree(folders.root);
  logger.info({}, "this directory holds the other cluster's state now; it begins this cluster's history");
}

/** What is there of it on a member's disk. */
export class SeedFolders {
  readonly root: string;
  readonly data: string;
  /** There once all is restored, and nothing moved before. */
  readonly whole: string;
  /** There for good: where this directory's data came from. */
  readonly seeded: string;

  constructor({ root }: LocalFolders) {
    this.root = `${root}/seed`;
    this.data = `${this.root}/data`;
    this.whole = `${this.root}/whole.json`;
    this.seeded = `${root}/seeded.json`;
  }
}

/** It is the member that is named, and neither its own state nor the bucket has anything of this cluster. */
async function mayBegin(
  { member, tools, shelf }: SeedParts,
  source: SeedSource,
  signal: AbortSignal,
): Promise<boolean> {
  if (source.member !== member) return false;
  const state = await new StateStore(tools.fs, tools.folders).read();
  return state.found === "none" && !(await hasHistory(tools.reader, shelf, signal));
}

/** A person has taken away what was fetched, before it began the history. */
async function isEmptied(parts: SeedParts, source: SeedSource, signal: AbortSignal): Promise<boolean> {
  const { fs, layout } = parts.tools;
  return (await firstFile(fs, layout.layout)) === undefined && (await mayBegin(parts, source, signal));
}

/** Only on the member that is named, and only while neither its disk nor the bucket has anything of this cluster. */
async function isWanted(parts: Seeding, signal: AbortSignal): Promise<boolean> {
  const { source, tools } = parts;
  if (!(await mayBegin(parts, source, signal))) return false;
  const taken = await firstFile(tools.fs, tools.layout.layout);
  if (taken === undefined) return true;
  throw new MetaMasterError(
    "AdoptionRefused",
    "invalid",
    `There is ${taken} already, but this cluster is to begin with ${source.url} (bootstrapFrom). Nothing was touched.`,
    {
      hint: "Use an empty data directory; or, to begin with what is there, take `bootstrapFrom` out and set `bootstrap: Adopt`.",
      details: { path: taken },
    },
  );
}

/** Claims alone are no history: nobody has begun anything. */
async function hasHistory(reader: LogReader, shelf: SnapshotShelf, signal: AbortSignal): Promise<boolean> {
  if ((await shelf.list(signal)).length > 0) return true;
  for (let slot = 0; slot < ENTRIES_MAX; slot++) {
    const entry = await reader.read(slot, signal);
    if (entry === undefined) return false;
    if (entry.operations.length > 0) return true;
  }
  return true;
}

async function firstFile(fs: FileSystem, { databases }: Layout): Promise<string | undefined> {
  for (const folder of directoriesOf(databases)) {
    if ((await fs.stat(folder))?.kind !== "directory") continue;
    const found = (await fs.list(folder)).find(({ name }) => !NO_DATA.has(name));
    if (found !== undefined) return `${folder}/${found.name}`;
  }
  return undefined;
}

/** Whatever is wrong with the source may be put right, and is tried again: nothing else is begun in its place. */
async function fetched(seeding: Seeding, signal: AbortSignal): Promise<void> {
  const { source } = seeding;
  try {
    await restoreFrom(seeding, signal);
  } catch (error) {
    if (signal.aborted || LOCAL_CODES.some((code) => hasCode(error, code))) throw error;
    throw new MetaMasterError(
      "BootstrapSourceUnusable",
      "transient",
      `The state of ${source.url}, with which this cluster is to begin, can't be had: ${messageWithHint(error)}`,
      {
        cause: error,
        hint: "It is tried again, and nothing else is begun in its place.",
        details: { url: source.url },
      },
    );
  }
}

async function restoreFrom(seeding: Seeding, signal: AbortSignal): Promise<void> {
  const { member, logger, source, folders } = seeding;
  const { fs, reader } = seeding.tools;
  const layout = layoutBelow(folders.data, seeding.tools.layout.layout);
  const opened = await seeding.openSource(source, layout, signal);
  try {
    const { tools, shelf } = opened;
    const { uid } = tools.reader.cluster;
    if (uid === reader.cluster.uid) throw itself(source);
    for (const each of directoriesOf(layout.databases)) await fs.makeDirectory(each);
    logger.info({ url: source.url, slot: source.slot }, `restoring the state of ${source.url}, to begin with it`);
    const { image, fetchedBytes, logBytes } = await restore(
      { tools, shelf, store: new StateStore(fs, tools.folders), run: { member, nonce: "seed", bootId: "seed" } },
      source.slot === undefined ? { kind: "end" } : { kind: "slot", slot: source.slot },
      signal,
    );
    const missing = layout.databases.filter(({ name }) => !image.files.has(`${name}/CURRENT`));
    if (missing.length > 0)
      throw lacks(
        source,
        missing.map(({ name }) => name),
      );
    const { slot } = image.position;
    logger.info({ slot, bytes: fetchedBytes + logBytes }, `the state of ${source.url} at slot ${slot} is here`);
    const record = { url: source.url, cluster: uid, slot };
    await fs.writeFileAtomic(folders.whole, Buffer.from(`${JSON.stringify(record)}\n`));
  } finally {
    await opened.close();
  }
}

/** Each database to its place, then what lies beside them. What the restoring kept for itself is of the other cluster, and stays behind. */
async function moveIn(tools: ReplicaTools, directories: Directories, folders: SeedFolders): Promise<void> {
  const { fs, layout } = tools;
  await fs.removeTree(new LocalFolders(folders.data).root);
  const { dataDirectory, databases } = layout.layout;
  const from = layoutBelow(folders.data, layout.layout).databases;
  for (const [index, to] of databases.entries()) {
    const { path, walPath } = from[index] ?? to;
    await merge(fs, directories, path, to.path);
    if (walPath !== undefined && to.walPath !== undefined) await merge(fs, directories, walPath, to.walPath);
  }
  await merge(fs, directories, folders.data, dataDirectory);
}

/** Begun again it goes on with what is left. A file is never put in the place of another, nor in a directory whose own name might get lost. */
async function merge(fs: FileSystem, directories: Directories, from: string, to: string): Promise<void> {
  if ((await fs.stat(from)) === undefined) return;
  await directories.ensure(to);
  await directories.sync();
  for (const { name, kind } of await fs.list(from)) {
    const [here, there] = [`${from}/${name}`, `${to}/${name}`];
    if (kind === "directory") await merge(fs, directories, here, there);
    else if ((await fs.stat(there)) === undefined) await fs.rename(here, there);
    else {
      throw new MetaMasterError("FileExists", "conflict", `${there} is there already: ${here} can't be moved to it.`, {
        hint: "Move it away: this directory was empty when the other cluster's state was fetched.",
        details: { path: there },
      });
    }
  }
  directories.changed(to);
  await directories.sync();
}

/** Nobody else may begin the history, and fetched again by itself it would be without what was written meanwhile, unasked. */
function emptied({ url }: SeedSource, { seeded }: SeedFolders): MetaMasterError {
  return new MetaMasterError(
    "BootstrapEmptied",
    "transient",
    `This directory held the state of ${url} once, to begin this cluster with, says ${seeded}; but it has no database any more, and nothing of it is in the bucket.`,
    {
      hint: `Put the databases back; or, if what was written to them is not wanted, remove ${seeded}: the state of ${url} is fetched again then. It is looked at again by itself.`,
      details: { path: seeded, url },
    },
  );
}

function itself({ url }: SeedSource): MetaMasterError {
  return new MetaMasterError("ForeignCluster", "invalid", `${url} is this cluster's own history (bootstrapFrom.url).`, {
    hint: "Name another cluster's prefix, or give this one an empty prefix of its own in `bucket.url`.",
  });
}

function lacks({ url, slot }: SeedSource, databases: readonly string[]): MetaMasterError {
  const when = slot === undefined ? "yet" : `at slot ${slot}`;
  return new MetaMasterError("HistoryMissing", "invalid", `${url} holds no database ${databases.join(", ")} ${when}.`, {
    hint: "Check `bootstrapFrom`, and give `databases` the names that the other cluster has.",
  });
}
