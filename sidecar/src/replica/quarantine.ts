import { dirname } from "node:path";
import { hasCode } from "../base/errors.js";
import type { FileSystem } from "../base/file-system.js";
import { MIB, type ImagePath, type Position } from "../formats/entry.js";
import type { ImageState } from "../formats/image.js";
import { parseFileName } from "../formats/rocksdb/file-names.js";
import { WalCursor } from "../formats/rocksdb/wal-cursor.js";
import { deadFiles } from "./dead-files.js";
import { COMPANIONS_ROOT, databaseFileKind } from "./layout-map.js";
import type { QuarantineReport } from "./replica.js";
import { FileDigests } from "./ship/digests.js";
import { sameSmall } from "./restore.js";
import { listLocal, type LocalFile } from "./sweep.js";
import type { ReplicaTools } from "./tools.js";

export interface QuarantineSettings {
  /** More than so many, or so many bytes: said loudly at every start. */
  readonly maxCount: number;
  readonly maxBytes: number;
  /** Beyond that, the oldest are removed, with a warning that says what they held. False: never. */
  readonly removeOldest: boolean;
}

export const quarantineDefaults: QuarantineSettings = { maxCount: 10, maxBytes: 10 * 1024 ** 3, removeOldest: false };

export interface Diverged {
  /** The history's state up to which this disk is part of it; or, if that can't be had any more, the log's end. */
  readonly image: ImageState;
  readonly epoch: number;
  readonly forkedAt: Position;
  /** Of the run that wrote what is kept. */
  readonly run: string;
  /** Append files of which bytes that the image has too are others on the disk. */
  readonly different: ReadonlySet<ImagePath>;
  /** False: files that are as long as the image's may still be others. */
  readonly believeTables: boolean;
}

interface Kept extends LocalFile {
  /** Bytes from here on are not part of history. */
  readonly from: number;
}

const REPORT = "report.json";
const REPORT_BYTES_MAX = 16 * MIB;

/**
 * Keeps aside what a disk holds beyond history: immutable files by hard link, WALs, MANIFESTs and small files as whole copies, under their image paths, so that laid over a
 * restore to `forkedAt` they give the diverged databases. The report is written last: a directory without one is begun anew.
 */
export class Quarantine {
  readonly #tools: ReplicaTools;
  readonly #settings: QuarantineSettings;

  constructor(tools: ReplicaTools, settings: QuarantineSettings) {
    this.#tools = tools;
    this.#settings = settings;
  }

  /** Undefined: the disk holds no data beyond the image. Changes nothing outside the quarantine folder. */
  async keep(diverged: Diverged, signal: AbortSignal): Promise<QuarantineReport | undefined> {
    const kept = await this.#find(diverged, signal);
    if (!kept.some((file) => holdsData(file, diverged.image))) return undefined;
    const earlier = await this.#clean(diverged);
    if (earlier !== undefined) return earlier;
    const { fs, folders, logger, clock } = this.#tools;
    const stamp = new Date(clock.wallMs()).toISOString().replaceAll(/[-:]|\.\d+/g, "");
    const directory = `${folders.quarantine}/${stamp}-epoch${diverged.epoch}`;
    for (const file of kept) {
      signal.throwIfAborted();
      await this.#copy(file, `${directory}/files/${file.path}`);
    }
    // All of it durable before the report says that it is there.
    await this.#syncAll(directory);
    await fs.syncDirectory(folders.quarantine);
    await fs.syncDirectory(folders.root);
    const report: QuarantineReport = {
      directory,
      epoch: diverged.epoch,
      forkedAt: diverged.forkedAt,
      databases: await this.#measure(kept),
    };
    const files = kept.map(({ path, size, from }) => ({ path, size, from }));
    const { run } = diverged;
    await fs.writeFileAtomic(
      `${directory}/${REPORT}`,
      Buffer.from(`${JSON.stringify({ ...report, run, files }, undefined, 2)}\n`),
    );
    logger.warn(
      { ...report, files: kept.length },
      `this disk holds what is not part of history; it is kept in ${directory}`,
    );
    await this.checkBounds();
    return report;
  }

  /** Says loudly when there are too many, and removes the oldest only if the settings say so. */
  async checkBounds(): Promise<void> {
    const { fs, folders, logger } = this.#tools;
    if ((await fs.stat(folders.quarantine)) === undefined) return;
    const found: { name: string; bytes: number }[] = [];
    for (const { name } of await fs.list(folders.quarantine)) {
      found.push({ name, bytes: await treeBytes(fs, `${folders.quarantine}/${name}`) });
    }
    const { maxCount, maxBytes, removeOldest } = this.#settings;
    let bytes = found.reduce((sum, each) => sum + each.bytes, 0);
    while (found.length > maxCount || bytes > maxBytes) {
      const fields = { directory: folders.quarantine, count: found.length, bytes, maxCount, maxBytes };
      const oldest = found[0];
      if (!removeOldest || oldest === undefined || found.length === 1) {
        logger.error(
          fields,
          `${found.length} quarantines of ${bytes} bytes lie in ${folders.quarantine}: look at them and remove what is not needed`,
        );
        return;
      }
      logger.error(
        { ...fields, removed: oldest.name },
        `removing the oldest quarantine, ${oldest.name} (${oldest.bytes} bytes), as quarantine.removeOldest says`,
      );
      await fs.removeTree(`${folders.quarantine}/${oldest.name}`);
      found.shift();
      bytes -= oldest.bytes;
    }
  }

  async #find({ image, different, believeTables }: Diverged, signal: AbortSignal): Promise<Kept[]> {
    const kept: Kept[] = [];
    const digests = new FileDigests(this.#tools.fs);
    const files = await listLocal(this.#tools);
    // What is on the disk as it was written explains itself; of another disk everything is kept.
    const explained = believeTables && different.size === 0;
    const dead = explained ? await deadFiles(this.#tools, files, image) : new Set<ImagePath>();
    for (const file of files) {
      if (file.kind !== "file") continue;
      const known = image.files.get(file.path);
      const keep = (from: number): unknown => kept.push({ ...file, from });
      if (known === undefined && dead.has(file.path)) continue;
      if (known === undefined) keep(0);
      else if (known.kind === "append") {
        if (different.has(file.path)) keep(0);
        else if (file.size > known.size) keep(known.size);
      } else if (known.kind === "small") {
        if (!(await sameSmall(this.#tools, file.local, known)) && file.size !== 0) keep(0);
      } else if (known.kind === "table") {
        if (known.size !== file.size) keep(0);
        else if (!believeTables && (await this.#digest(digests, file, signal)) !== known.sha256) keep(0);
      }
    }
    return kept;
  }

  async #digest(digests: FileDigests, { local }: LocalFile, signal: AbortSignal): Promise<string | undefined> {
    const stat = await this.#tools.fs.stat(local);
    return stat === undefined ? undefined : (await digests.of(local, stat, signal)).sha256;
  }

  /** A complete one of the same divergence is the one; incomplete ones go, what they hold is still in its place. */
  async #clean(diverged: Diverged): Promise<QuarantineReport | undefined> {
    const { fs, folders } = this.#tools;
    if ((await fs.stat(folders.quarantine)) === undefined) return undefined;
    for (const { name } of await fs.list(folders.quarantine)) {
      const directory = `${folders.quarantine}/${name}`;
      const stored = await readReport(fs, `${directory}/${REPORT}`);
      if (stored === undefined) await fs.removeTree(directory);
      if (stored === undefined || stored === "unreadable") continue;
      const { run, epoch, forkedAt, databases } = stored;
      const same = run === diverged.run && epoch === diverged.epoch && forkedAt.slot === diverged.forkedAt.slot;
      if (same) return { directory, epoch, forkedAt, databases };
    }
    return undefined;
  }

  async #copy(file: LocalFile, to: string): Promise<void> {
    const { fs } = this.#tools;
    await fs.makeDirectory(dirname(to));
    const kind = databaseFileKind(file.path.slice(file.path.indexOf("/") + 1));
    if (kind !== "append") {
      // What the master wrote last may not be on the disk yet.
      const original = await fs.open(file.local, "read");
      try {
        await original.sync();
      } finally {
        await original.close();
      }
      await fs.link(file.local, to);
      return;
    }
    const source = await fs.open(file.local, "read");
    try {
      const target = await fs.open(to, "createExclusive");
      try {
        const slice = new Uint8Array(MIB);
        for (let offset = 0; ;) {
          const got = await source.read(slice, offset);
          if (got === 0) break;
          await target.write(slice.subarray(0, got), offset);
          offset += got;
        }
        await target.sync();
      } finally {
        await target.close();
      }
    } finally {
      await source.close();
    }
  }

  async #syncAll(directory: string): Promise<void> {
    const { fs } = this.#tools;
    for (const { name, kind } of await fs.list(directory)) {
      if (kind === "directory") await this.#syncAll(`${directory}/${name}`);
    }
    await fs.syncDirectory(directory);
  }

  async #measure(kept: readonly Kept[]): Promise<QuarantineReport["databases"]> {
    const { layout, fs } = this.#tools;
    return await Promise.all(
      layout.layout.databases.map(async ({ name: database }) => {
        const total = {
          walBytes: 0,
          records: 0,
          first: undefined as bigint | undefined,
          last: undefined as bigint | undefined,
        };
        for (const file of kept) {
          const parsed = parseFileName(file.path.slice(file.path.indexOf("/") + 1));
          if (layout.rootOf(file.path)?.database.name !== database || parsed?.type !== "wal") continue;
          total.walBytes += file.size - file.from;
          await countRecords(fs, file, parsed.number, total);
        }
        return {
          database,
          walBytes: total.walBytes,
          records: total.records,
          firstSequence: `${total.first ?? 0}`,
          lastSequence: `${total.last ?? 0}`,
        };
      }),
    );
  }
}

/**
 * False for what can be lost alone without losing anything: a file without bytes beyond the image, RocksDB's OPTIONS (it keeps the one before the last, which is never shipped),
 * and a table or blob file that no image knows. That is live only by what a MANIFEST says of it, and one that says more than the image's is data itself.
 */
function holdsData({ path, size, from }: Kept, image: ImageState): boolean {
  if (size === from) return false;
  if (path.startsWith(`${COMPANIONS_ROOT}/`)) return true;
  const type = parseFileName(path.slice(path.indexOf("/") + 1))?.type;
  return type !== "options" && !((type === "table" || type === "blob") && !image.files.has(path));
}

interface Total {
  records: number;
  first: bigint | undefined;
  last: bigint | undefined;
}

/** Adds the operations in the records that end beyond `from`. */
async function countRecords(fs: FileSystem, { local, from }: Kept, number: number, total: Total): Promise<void> {
  const cursor = new WalCursor({ fileNumber: number, file: local });
  const file = await fs.open(local, "read");
  try {
    const slice = new Uint8Array(MIB);
    for (;;) {
      const offset = cursor.nextOffset;
      const got = await file.read(slice, offset);
      if (got === 0) return;
      const { records } = cursor.feed(slice.subarray(0, got));
      for (let index = 0; index < records.length; index++) {
        if (records.end(index) <= from) continue;
        total.records += records.count(index);
        const [first, last] = [records.sequence(index), records.lastSequence(index)];
        if (total.first === undefined || first < total.first) total.first = first;
        if (total.last === undefined || last > total.last) total.last = last;
      }
      if (cursor.nextOffset <= offset) return;
    }
  } finally {
    await file.close();
  }
}

type StoredReport = QuarantineReport & { readonly run: string };

async function readReport(fs: FileSystem, path: string): Promise<StoredReport | "unreadable" | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await fs.readFile(path, REPORT_BYTES_MAX);
  } catch (error) {
    if (hasCode(error, "FileNotFound")) return undefined;
    throw error;
  }
  try {
    // Our own file, written atomically after everything it tells of; that it is whole is all that has to be known.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const report = JSON.parse(Buffer.from(bytes).toString()) as StoredReport;
    return typeof report.forkedAt?.slot === "number" ? report : "unreadable";
  } catch {
    return "unreadable";
  }
}

/** A hard link counts in full: it is what would be left if its other names went. */
async function treeBytes(fs: FileSystem, path: string): Promise<number> {
  const stat = await fs.stat(path);
  if (stat?.kind !== "directory") return stat?.size ?? 0;
  let bytes = 0;
  for (const { name } of await fs.list(path)) bytes += await treeBytes(fs, `${path}/${name}`);
  return bytes;
}
