import { hasCode } from "../../base/errors.js";
import { SMALL_FILE_BYTES_MAX, type ImagePath, type Operation } from "../../formats/entry.js";
import { COMPANIONS, type Companion, type CompanionListing } from "./companions.js";
import { CutMoved, sameSmall, type PlanParts, type PlannedTable } from "./plan.js";

export interface CompanionPlan {
  readonly listing: CompanionListing;
  /** Ordered: what goes (deepest first), directories, small files. Larger files are `tables`. */
  readonly operations: readonly Operation[];
  readonly tables: readonly PlannedTable[];
}

/** What it takes to make the image's companions those of the listing, all at once. Throws `CutMoved` if they change under it. */
export async function planCompanions(listing: CompanionListing, parts: PlanParts): Promise<CompanionPlan> {
  const wanted = new Set(listing.map(({ path }) => imagePath(path)));
  const operations: Operation[] = goners(wanted, parts);
  const tables: PlannedTable[] = [];
  for (const companion of listing) {
    const file = imagePath(companion.path);
    const known = parts.shipped.files.get(file);
    const kind = kindOf(companion);
    if (known !== undefined && known.kind !== kind) operations.push({ type: "remove", file });
    if (kind === "directory") {
      const { permissions } = companion.stat;
      if (known?.kind === "directory" && known.permissions === permissions) continue;
      operations.push({ type: "directory", file, permissions });
    } else await planFile(companion, file, { operations, tables }, parts);
  }
  return { listing, operations, tables };
}

function kindOf({ stat }: Companion): "directory" | "small" | "table" {
  if (stat.kind === "directory") return "directory";
  return stat.size <= SMALL_FILE_BYTES_MAX ? "small" : "table";
}

function imagePath(path: string): ImagePath {
  return `${COMPANIONS}/${path}`;
}

/** Deepest first, so that a directory is empty when it goes. */
function goners(wanted: ReadonlySet<ImagePath>, { shipped }: PlanParts): Operation[] {
  return [...shipped.files.keys()]
    .filter((file) => file.startsWith(`${COMPANIONS}/`) && !wanted.has(file))
    .toSorted((left, right) => (left < right ? 1 : -1))
    .map((file) => ({ type: "remove", file }));
}

async function planFile(
  { local, stat }: Companion,
  file: ImagePath,
  into: { readonly operations: Operation[]; readonly tables: PlannedTable[] },
  parts: PlanParts,
): Promise<void> {
  const { permissions } = stat;
  try {
    if (stat.size <= SMALL_FILE_BYTES_MAX) {
      const bytes = await parts.fs.readFile(local, SMALL_FILE_BYTES_MAX);
      const after = await parts.fs.stat(local);
      if (after?.inode !== stat.inode || after.modifiedNs !== stat.modifiedNs || bytes.length !== stat.size) {
        throw new CutMoved(`${local} changed`);
      }
      if (!sameSmall(parts.shipped, file, bytes, permissions)) {
        into.operations.push({ type: "write", file, permissions, bytes });
      }
      return;
    }
    const name = `${stat.inode}`;
    const link = await parts.links.hold("@companions", name, local);
    const linked = await parts.fs.stat(link);
    if (linked?.inode !== stat.inode || linked.modifiedNs !== stat.modifiedNs) throw new CutMoved(`${local} changed`);
    const base = local.slice(local.lastIndexOf("/") + 1);
    into.tables.push({ file, permissions, upload: { folder: "_companions", file: base, local: link, stat } });
  } catch (error) {
    if (hasCode(error, "FileNotFound") || hasCode(error, "FileTooLarge")) throw new CutMoved(`${local} changed`);
    throw error;
  }
}
