import type { Operation } from "../../formats/entry.js";
import { parseFileName } from "../../formats/rocksdb/file-names.js";
import type { Cut } from "./cut.js";
import type { CompanionPlan } from "./companion-plan.js";
import { Packer } from "./packer.js";
import { CutMoved, type DatabasePlan, type PlannedTable } from "./plan.js";
import type { Shipped } from "./shipped.js";
import type { Uploaded, Uploader } from "./uploader.js";
import { addPiece, type WalShipParts } from "./wal-ship.js";
import type { ShippedDatabase } from "./database.js";

/**
 * held: WAL waits for it; carries everything of the cut.
 * checkpoint: made while WAL goes on being shipped; carries no WAL (what was shipped since is more than the cut's).
 * binding: the cut has edits that its WAL must not precede; carries the MANIFESTs concerned and the WAL; removes nothing but companions.
 */
export type GroupMode = "held" | "checkpoint" | "binding";

export interface GroupPlan {
  readonly mode: GroupMode;
  readonly cut: Cut;
  readonly databases: readonly DatabasePlan[];
  readonly companions: CompanionPlan | undefined;
  /** What lets WAL flow again if it is still the latest hold. */
  readonly holds: number;
}

export interface GroupParts extends WalShipParts {
  readonly all: readonly ShippedDatabase[];
  readonly shipped: Shipped;
  readonly uploader: Uploader;
}

export function tablesOf(plan: GroupPlan): readonly PlannedTable[] {
  return [...plan.databases.flatMap(({ tables }) => tables), ...(plan.companions?.tables ?? [])];
}

export async function closePlan(plan: GroupPlan): Promise<void> {
  for (const { manifestHandle } of plan.databases) await manifestHandle.close();
}

/**
 * Emits the plan as one group. Throws `CutMoved` before anything is emitted if the plan is out of date; after the first entry nothing but the
 * end of this epoch can stop it (`GroupUnfinished`). True if there was anything to say.
 */
export async function emitGroup(
  plan: GroupPlan,
  uploaded: ReadonlyMap<PlannedTable, Uploaded>,
  parts: GroupParts,
): Promise<boolean> {
  return await parts.emitter.group(async () => {
    checkPlan(plan, uploaded, parts);
    return await emitAll(plan, uploaded, parts);
  });
}

async function emitAll(
  plan: GroupPlan,
  uploaded: ReadonlyMap<PlannedTable, Uploaded>,
  parts: GroupParts,
): Promise<boolean> {
  const kind = plan.mode === "binding" ? "wal" : "checkpoint";
  const packer = new Packer(parts.emitter, { kind, group: true, bodyBytesMax: parts.bodyBytesMax });
  if (plan.mode !== "binding") {
    for (const operation of removals(plan, parts.shipped)) await packer.add(operation);
  }
  for (const operation of plan.companions?.operations ?? []) await packer.add(operation);
  const replaced = plan.databases.filter((each) => each.replaced).map(({ database }) => database);
  for (const table of tablesOf(plan)) {
    const anew = replaced.some((database) => database.owns(table.file));
    await addTable(table, anew, uploaded, packer, parts);
  }
  for (const database of plan.databases) await addManifest(database, packer, parts);
  if (plan.mode !== "checkpoint") await addWal(plan, packer, parts);
  for (const { small } of plan.databases) {
    for (const operation of small) await packer.add(operation);
  }
  const said = await packer.close();
  for (const each of plan.databases) each.database.emitted(each);
  return said;
}

function checkPlan(plan: GroupPlan, uploaded: ReadonlyMap<PlannedTable, Uploaded>, parts: GroupParts): void {
  for (const { database, advances } of plan.databases) {
    if (database.advances !== advances) throw new CutMoved(`${database.name} had a later group`);
  }
  for (const table of tablesOf(plan)) {
    const object = uploaded.get(table);
    if (object === undefined || !parts.uploader.valid(object)) throw new CutMoved(`${table.file} is no longer stored`);
  }
  if (plan.mode === "checkpoint") return;
  for (const [index, database] of parts.all.entries()) {
    const minimum = minimumOf(plan, database);
    for (const { number } of plan.cut.databases[index]?.wals ?? []) {
      if (number >= minimum && database.wals.get(number) === undefined) {
        throw new CutMoved(`WAL ${number} of ${database.name} was let go`);
      }
    }
  }
}

/** WALs below it are covered by the MANIFEST that the group carries. */
function minimumOf(plan: GroupPlan, database: ShippedDatabase): number {
  return plan.databases.find((each) => each.database === database)?.minimumWal ?? 0;
}

/** What the image has and the cut's MANIFESTs do not need. */
function removals(plan: GroupPlan, shipped: Shipped): Operation[] {
  const operations: Operation[] = [];
  for (const { database, live, minimumWal, replaced } of plan.databases) {
    for (const file of shipped.files.keys()) {
      if (!database.owns(file) || (live.has(file) && !replaced)) continue;
      const parsed = parseFileName(file.slice(file.indexOf("/") + 1));
      if (parsed?.type === "wal" && parsed.number >= minimumWal && !replaced) continue;
      operations.push({ type: "remove", file });
    }
  }
  return operations;
}

async function addTable(
  table: PlannedTable,
  anew: boolean,
  uploaded: ReadonlyMap<PlannedTable, Uploaded>,
  packer: Packer,
  { shipped, uploader }: GroupParts,
): Promise<void> {
  const object = uploaded.get(table);
  if (object === undefined) return;
  const { sha256, size, key } = object;
  const { file, permissions } = table;
  const known = anew ? undefined : shipped.files.get(file);
  if (known?.kind === "table" && known.sha256 === sha256 && known.permissions === permissions) return;
  await packer.add({ type: "table", file, permissions, size, sha256, key });
  uploader.referenced(sha256, key);
}

async function addManifest(plan: DatabasePlan, packer: Packer, parts: GroupParts): Promise<void> {
  const bytesMax = Packer.bytesMax(parts.bodyBytesMax);
  const start = plan.replaced ? 0 : (parts.shipped.sizeOf(plan.manifestFile) ?? 0);
  for (let offset = start; offset < plan.manifestEnd;) {
    const length = Math.min(bytesMax, plan.manifestEnd - offset);
    const { bytes, give } = parts.buffers.take(length);
    await packer.guard(async () => {
      const got = await plan.manifestHandle.read(bytes, offset);
      if (got !== length) throw new CutMoved(`${plan.manifestFile} shrank`);
    });
    await packer.add({ type: "append", file: plan.manifestFile, offset, bytes }, { release: give });
    offset += length;
  }
}

async function addWal(plan: GroupPlan, packer: Packer, parts: GroupParts): Promise<void> {
  for (const [index, database] of parts.all.entries()) {
    const minimum = minimumOf(plan, database);
    for (const { number } of plan.cut.databases[index]?.wals ?? []) {
      const file = database.wals.get(number);
      if (file === undefined || number < minimum) continue;
      for (let piece = file.piece; piece !== undefined; piece = file.piece) {
        await addPiece({ database: database.name, file, piece }, packer, parts);
      }
      // Behind damage nothing of this database may follow: its own recovery would stop here too.
      if (file.problem !== undefined) break;
    }
  }
}
