import { sha256Hex } from "../../base/sha256.js";
import { MetaMasterError, hasCode } from "../../base/errors.js";
import type { FileHandle, FileStat, FileSystem } from "../../base/file-system.js";
import { SMALL_FILE_BYTES_MAX, type ImagePath, type Operation } from "../../formats/entry.js";
import { oldTableFileName, parseFileName } from "../../formats/rocksdb/file-names.js";
import { OPTIONS_BYTES_MAX, refuseOptions } from "../../formats/rocksdb/options-file.js";
import type { Cut, ManifestMark } from "./cut.js";
import type { ShippedDatabase } from "./database.js";
import type { Listings } from "./listing.js";
import type { PlanLinks } from "./plan-links.js";
import type { Shipped } from "./shipped.js";
import type { Upload } from "./uploader.js";

/** A file whose bytes travel as an object. */
export interface PlannedTable {
  readonly file: ImagePath;
  readonly permissions: number;
  readonly upload: Upload;
}

/** What a group says about one database besides its WAL. */
export interface DatabasePlan {
  readonly database: ShippedDatabase;
  /** All that the image has of this database goes, nothing of it is built upon. */
  readonly replaced: boolean;
  /** `database.advances` when this was made. */
  readonly advances: number;
  readonly manifest: ManifestMark;
  readonly manifestFile: ImagePath;
  /** End of the last whole edit or group in the cut. */
  readonly manifestEnd: number;
  /** Open, so that the bytes stay even if the file is deleted meanwhile. */
  readonly manifestHandle: FileHandle;
  readonly minimumWal: number;
  /** Everything of this database that the image keeps, WALs apart. */
  readonly live: ReadonlySet<ImagePath>;
  readonly tables: readonly PlannedTable[];
  /** Small files that the image lacks or has otherwise; CURRENT is the last. */
  readonly small: readonly Operation[];
}

/** Thrown by planning and emitting when the disk moved on: take a new cut. */
export class CutMoved extends Error {
  constructor(what: string) {
    super(`The disk moved on while a checkpoint was made: ${what}.`);
    this.name = "CutMoved";
  }
}

export interface PlanParts {
  readonly fs: FileSystem;
  readonly links: PlanLinks;
  readonly listings: Listings;
  readonly shipped: Shipped;
}

/** Links every live table the image lacks and reads the small files. Throws `CutMoved`; the caller closes the handle of a plan. */
export async function planDatabase(
  database: ShippedDatabase,
  cut: Cut["databases"][number],
  parts: PlanParts,
): Promise<DatabasePlan | undefined> {
  const { manifest } = cut;
  if (manifest === undefined) return undefined;
  const path = `${database.location.path}/${manifest.name}`;
  const manifestHandle = await parts.fs.open(path, "read").catch((error: unknown) => {
    throw hasCode(error, "FileNotFound") ? new CutMoved(`${path} is gone`) : error;
  });
  try {
    if ((await manifestHandle.stat()).inode !== manifest.inode) throw new CutMoved(`${path} is another file`);
    const live = new Set<ImagePath>([database.imagePath(manifest.name)]);
    const tables = await planTables(database, manifest, live, parts);
    const small = await planSmall(database, live, tables, parts);
    const now = await database.manifestMark();
    if (now?.name !== manifest.name) throw new CutMoved(`${database.name} has a new MANIFEST`);
    return {
      database,
      replaced: database.replaced,
      advances: database.advances,
      manifest,
      manifestFile: database.imagePath(manifest.name),
      manifestEnd: database.manifest.wholeEnd,
      manifestHandle,
      minimumWal: database.manifest.minimumWal,
      live,
      tables,
      small,
    };
  } catch (error) {
    await manifestHandle.close();
    throw error;
  }
}

async function planTables(
  database: ShippedDatabase,
  manifest: ManifestMark,
  live: Set<ImagePath>,
  parts: PlanParts,
): Promise<PlannedTable[]> {
  const tables: PlannedTable[] = [];
  for (const { name, size } of database.manifest.liveFiles()) {
    const file = database.imagePath(name);
    const known = parts.shipped.files.get(file);
    if (known?.kind === "table" && !database.replaced && (size === undefined || size === known.size)) {
      // Numbers are never used twice in one history, and what differed after a power failure was repaired from the log.
      live.add(file);
      continue;
    }
    const { linked, stat } = await linkTable(database, name, manifest, parts);
    if (size !== undefined && size !== stat.size) throw wrongSize(database, linked, size, stat.size);
    const actual = database.imagePath(linked);
    live.add(actual);
    const local = parts.links.pathOf(database.name, linked);
    tables.push({
      file: actual,
      permissions: stat.permissions,
      upload: { folder: database.name, file: linked, local, stat },
    });
  }
  return tables;
}

/** By its present name or by the one that very old versions gave. */
async function linkTable(
  database: ShippedDatabase,
  name: string,
  manifest: ManifestMark,
  { fs, links }: PlanParts,
): Promise<{ linked: string; stat: FileStat }> {
  const parsed = parseFileName(name);
  const names = parsed?.type === "table" ? [name, oldTableFileName(parsed.number)] : [name];
  for (const linked of names) {
    try {
      const path = await links.hold(database.name, linked, `${database.location.path}/${linked}`, database.replaced);
      const stat = await fs.stat(path);
      if (stat !== undefined) return { linked, stat };
    } catch (error) {
      if (!hasCode(error, "FileNotFound")) throw error;
    }
  }
  // RocksDB deletes a table only after its MANIFEST says so.
  const now = await database.manifestMark();
  const unmoved = now?.inode === manifest.inode && now.size === manifest.size;
  if (unmoved && database.manifest.wholeEnd === now.size) throw filesElsewhere(database, name);
  throw new CutMoved(`${database.name}/${name} is gone`);
}

/** OPTIONS (the newest), IDENTITY and at last CURRENT, which names the MANIFEST of the cut whatever the disk says by now. */
async function planSmall(
  database: ShippedDatabase,
  live: Set<ImagePath>,
  tables: PlannedTable[],
  parts: PlanParts,
): Promise<Operation[]> {
  const names = (await parts.listings.list(database.location.path)).map(({ name }) => name);
  const wanted = [newestOptions(names), names.includes("IDENTITY") ? "IDENTITY" : undefined];
  const operations: Operation[] = [];
  for (const name of wanted) {
    if (name !== undefined) await planOne(database, name, { live, tables, operations }, parts);
  }
  const stat = await parts.fs.stat(`${database.location.path}/CURRENT`);
  const bytes = Buffer.from(`${database.manifest.name}\n`, "latin1");
  const file = database.imagePath("CURRENT");
  live.add(file);
  const permissions = stat?.permissions ?? 0o644;
  if (database.replaced || !sameSmall(parts.shipped, file, bytes, permissions))
    operations.push({ type: "write", file, permissions, bytes });
  return operations;
}

async function planOne(
  database: ShippedDatabase,
  name: string,
  into: { readonly live: Set<ImagePath>; readonly tables: PlannedTable[]; readonly operations: Operation[] },
  parts: PlanParts,
): Promise<void> {
  const path = `${database.location.path}/${name}`;
  const file = database.imagePath(name);
  const stat = await parts.fs.stat(path);
  if (stat === undefined) throw new CutMoved(`${path} is gone`);
  into.live.add(file);
  if (stat.size > SMALL_FILE_BYTES_MAX) {
    if (!database.replaced && parts.shipped.files.get(file)?.kind === "table") return;
    if (name.startsWith("OPTIONS-")) refuseOptions(await parts.fs.readFile(path, OPTIONS_BYTES_MAX), path);
    const local = await parts.links.hold(database.name, name, path, database.replaced);
    into.tables.push({
      file,
      permissions: stat.permissions,
      upload: { folder: database.name, file: name, local, stat },
    });
    return;
  }
  const bytes = await readWhole(parts.fs, path, stat.size);
  if (name.startsWith("OPTIONS-")) refuseOptions(bytes, path);
  if (!database.replaced && sameSmall(parts.shipped, file, bytes, stat.permissions)) return;
  into.operations.push({ type: "write", file, permissions: stat.permissions, bytes });
}

async function readWhole(fs: FileSystem, path: string, size: number): Promise<Uint8Array> {
  try {
    const bytes = await fs.readFile(path, SMALL_FILE_BYTES_MAX);
    if (bytes.length !== size) throw new CutMoved(`${path} changed`);
    return bytes;
  } catch (error) {
    if (hasCode(error, "FileNotFound") || hasCode(error, "FileTooLarge")) throw new CutMoved(`${path} changed`);
    throw error;
  }
}

export function sameSmall(shipped: Shipped, file: ImagePath, bytes: Uint8Array, permissions: number): boolean {
  const known = shipped.files.get(file);
  return known?.kind === "small" && known.permissions === permissions && known.sha256 === sha256Hex(bytes);
}

function newestOptions(names: readonly string[]): string | undefined {
  let newest: { readonly name: string; readonly number: number } | undefined;
  for (const name of names) {
    const parsed = parseFileName(name);
    if (parsed?.type === "options" && (newest === undefined || parsed.number > newest.number)) {
      newest = { name, number: parsed.number };
    }
  }
  return newest?.name;
}

function filesElsewhere(database: ShippedDatabase, name: string): MetaMasterError {
  return new MetaMasterError(
    "FilesElsewhere",
    "invalid",
    `${database.location.path} lacks ${name}, which its MANIFEST names.`,
    {
      hint: "If the master sets db_paths or cf_paths: let it keep all tables in the database's directory. If not, somebody deleted a live table.",
      details: { database: database.name, file: name },
    },
  );
}

function wrongSize(database: ShippedDatabase, name: string, expected: number, actual: number): MetaMasterError {
  return new MetaMasterError(
    "TableSizeMismatch",
    "corrupt",
    `${database.location.path}/${name} has ${actual} bytes, its MANIFEST says ${expected}.`,
    {
      hint: "The table is damaged; RocksDB would refuse it too. Replace the primary: a standby has it whole.",
      details: { database: database.name, file: name, expected, actual },
    },
  );
}
