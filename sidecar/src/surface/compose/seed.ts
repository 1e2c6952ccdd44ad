import { hasCode, messageWithHint, MetaMasterError } from "../../base/errors.js";
import type { FileSystem } from "../../base/file-system.js";
import type { Logger } from "../../base/log.js";
import { DiskImage } from "../../replica/disk-image.js";
import { directoriesOf, type Layout } from "../../replica/layout.js";
import { LocalFolders } from "../../replica/local-folders.js";
import type { Progress } from "../../replica/progress.js";
import { restore } from "../../replica/restore.js";
import { rewriteAllOptions } from "../../replica/seal.js";
import { StateStore } from "../../replica/state.js";
import type { LoadedConfig } from "../config/load.js";
import { openHistory, replicaTools, type History } from "./history.js";
import { layoutBelow, layoutOf } from "./settings.js";
import type { System } from "./system.js";

export interface SeedParts {
  readonly config: LoadedConfig["config"];
  readonly system: System;
  readonly logger: Logger;
  readonly progress: Progress;
}

type Source = NonNullable<LoadedConfig["config"]["bootstrapFrom"]>;

/** What is to be fetched from where, for which history. */
interface Seeding extends SeedParts {
  readonly source: Source;
  readonly folders: SeedFolders;
  readonly own: History;
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
export async function seed(parts: SeedParts, own: History, signal: AbortSignal): Promise<void> {
  const { config, system, logger } = parts;
  const { fs } = system;
  const folders = new SeedFolders(config.dataDirectory);
  if ((await fs.stat(folders.whole)) === undefined) {
    const source = config.bootstrapFrom;
    const seeding = source && { ...parts, source, folders, own };
    if (seeding === undefined || !(await isWanted(seeding, signal))) {
      // What an earlier start had begun is of no use any more.
      await fs.removeTree(folders.root);
      return;
    }
    await fetched(seeding, signal);
  }
  await moveIn(parts, folders);
  const tools = replicaTools(own, layoutOf(config), parts);
  const disk = new DiskImage(tools, new Map());
  await rewriteAllOptions(tools, disk);
  await disk.sync();
  await disk.staging.clear();
  await fs.writeFileAtomic(folders.seeded, await fs.readFile(folders.whole, 65_536));
  await fs.removeTree(folders.root);
  logger.info({}, "this directory holds the other cluster's state now; it begins this cluster's history");
}

class SeedFolders {
  readonly root: string;
  readonly data: string;
  /** There once all is restored, and nothing moved before. */
  readonly whole: string;
  /** There for good: where this directory's data came from. */
  readonly seeded: string;

  constructor(dataDirectory: string) {
    const { root } = new LocalFolders(dataDirectory);
    this.root = `${root}/seed`;
    this.data = `${this.root}/data`;
    this.whole = `${this.root}/whole.json`;
    this.seeded = `${root}/seeded.json`;
  }
}

/** Only on the member that is named, and only while neither its disk nor the bucket has anything of this cluster. */
async function isWanted({ config, system, source, folders, own }: Seeding, signal: AbortSignal): Promise<boolean> {
  const { fs } = system;
  if (source.member !== config.member) return false;
  const state = await new StateStore(fs, new LocalFolders(config.dataDirectory)).read();
  if (state.found !== "none" || (await hasHistory(own, signal))) return false;
  const taken = await firstFile(fs, layoutOf(config));
  if ((await fs.stat(folders.seeded)) !== undefined) {
    if (taken !== undefined) return false;
    throw emptied(source, folders);
  }
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
async function hasHistory({ reader, snapshots }: History, signal: AbortSignal): Promise<boolean> {
  if ((await snapshots.list(signal)).length > 0) return true;
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
  const { config, system, logger, source, folders, own } = seeding;
  const { fs } = system;
  const history = await openHistory(
    { ...config, bucket: { ...config.bucket, url: source.url } },
    system,
    logger,
    signal,
  );
  try {
    if (history.cluster.uid === own.cluster.uid) throw itself(source);
    const layout = layoutBelow(folders.data, config);
    for (const each of directoriesOf(layout.databases)) await fs.makeDirectory(each);
    logger.info({ url: source.url, slot: source.slot }, `restoring the state of ${source.url}, to begin with it`);
    const { image, fetchedBytes, logBytes } = await restore(
      {
        tools: replicaTools(history, layout, seeding),
        shelf: history.snapshots,
        store: new StateStore(fs, new LocalFolders(folders.data)),
        run: { member: config.member, nonce: "seed", bootId: "seed" },
      },
      source.slot === undefined ? { kind: "end" } : { kind: "slot", slot: source.slot },
      signal,
    );
    const missing = layout.databases.filter(({ name }) => !image.files.has(`${name}/CURRENT`));
    if (missing.length > 0)
      throw lacks(
        source,
        missing.map(({ name }) => name),
      );
    await fs.removeTree(new LocalFolders(folders.data).root);
    const { slot } = image.position;
    logger.info({ slot, bytes: fetchedBytes + logBytes }, `the state of ${source.url} at slot ${slot} is here`);
    const record = { url: source.url, cluster: history.cluster.uid, slot };
    await fs.writeFileAtomic(folders.whole, Buffer.from(`${JSON.stringify(record)}\n`));
  } finally {
    await history.store.single.close();
  }
}

/** Each database to its place, then what lies beside them. */
async function moveIn({ config, system }: SeedParts, folders: SeedFolders): Promise<void> {
  const { fs } = system;
  const from = layoutBelow(folders.data, config).databases;
  for (const [index, to] of layoutOf(config).databases.entries()) {
    const { path, walPath } = from[index] ?? to;
    await merge(fs, path, to.path);
    if (walPath !== undefined && to.walPath !== undefined) await merge(fs, walPath, to.walPath);
  }
  await merge(fs, folders.data, config.dataDirectory);
}

/** Begun again it goes on with what is left. A file is never put in the place of another. */
async function merge(fs: FileSystem, from: string, to: string): Promise<void> {
  if ((await fs.stat(from)) === undefined) return;
  await fs.makeDirectory(to);
  for (const { name, kind } of await fs.list(from)) {
    const [here, there] = [`${from}/${name}`, `${to}/${name}`];
    if (kind === "directory") await merge(fs, here, there);
    else if ((await fs.stat(there)) === undefined) await fs.rename(here, there);
    else {
      throw new MetaMasterError("FileExists", "conflict", `${there} is there already: ${here} can't be moved to it.`, {
        hint: "Move it away: this directory was empty when the other cluster's state was fetched.",
        details: { path: there },
      });
    }
  }
  await fs.syncDirectory(to);
}

/** Nobody else may begin the history, and fetched again by itself it would be without what was written meanwhile, unasked. */
function emptied({ url }: Source, { seeded }: SeedFolders): MetaMasterError {
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

function itself({ url }: Source): MetaMasterError {
  return new MetaMasterError("ForeignCluster", "invalid", `${url} is this cluster's own history (bootstrapFrom.url).`, {
    hint: "Name another cluster's prefix, or give this one an empty prefix of its own in `bucket.url`.",
  });
}

function lacks({ url, slot }: Source, databases: readonly string[]): MetaMasterError {
  const when = slot === undefined ? "yet" : `at slot ${slot}`;
  return new MetaMasterError("HistoryMissing", "invalid", `${url} holds no database ${databases.join(", ")} ${when}.`, {
    hint: "Check `bootstrapFrom`, and give `databases` the names that the other cluster has.",
  });
}
