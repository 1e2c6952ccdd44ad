import { hasCode, MetaMasterError } from "../../../base/errors.js";
import type { ImageFile } from "../../../formats/image.js";
import type { Snapshot } from "../../../formats/snapshot.js";
import { openHistory } from "../../compose/history.js";
import { approximateSize } from "../../config/units.js";
import { table } from "../console.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";

export async function snapshotListCommand(context: CommandContext): Promise<number> {
  const { config } = await context.config();
  const history = await openHistory(config, context.system, context.logger, context.signal);
  try {
    const found: object[] = [];
    const rows: string[][] = [["slot", "epoch", "written", "files", "size"]];
    for (const slot of await history.snapshots.list(context.signal)) {
      try {
        const snapshot = await history.snapshots.read(slot, context.signal);
        if (snapshot === undefined) continue;
        const { epoch, wallTimeMs, files } = snapshot;
        const written = new Date(wallTimeMs).toISOString();
        const bytes = sizeOf(snapshot);
        found.push({ slot, epoch, written, files: files.size, bytes });
        rows.push([String(slot), String(epoch), written, String(files.size), approximateSize(bytes)]);
      } catch (error) {
        if (!hasCode(error, "SnapshotCorrupt")) throw error;
        found.push({ slot, damaged: error.message });
        rows.push([String(slot), "-", `DAMAGED: ${error.message}`, "-", "-"]);
      }
    }
    context.console.result(found, () => (found.length === 0 ? "no snapshots yet" : table(rows)));
    return exitCodes.ok.code;
  } finally {
    await history.store.single.close();
  }
}

export async function snapshotShowCommand(context: CommandContext, slot: number): Promise<number> {
  const { config } = await context.config();
  const history = await openHistory(config, context.system, context.logger, context.signal);
  try {
    const snapshot = await history.snapshots.read(slot, context.signal);
    if (snapshot === undefined) {
      throw new MetaMasterError("HistoryMissing", "invalid", `There is no snapshot at slot ${slot}.`, {
        hint: "See `metamaster snapshot list`.",
        details: { slot },
      });
    }
    const { position, epoch, wallTimeMs, sequences, files } = snapshot;
    const shown = {
      position,
      epoch,
      written: new Date(wallTimeMs).toISOString(),
      sequences,
      files: Object.fromEntries([...files].map(([path, file]) => [path, plainFile(file)])),
    };
    context.console.result(shown, () =>
      [
        `slot ${position.slot}, epoch ${epoch}, written ${shown.written}, ${approximateSize(sizeOf(snapshot))}`,
        ...[...sequences].map(([database, last]) => `${database} up to sequence ${last}`),
        table([
          ["file", "kind", "size", "where"],
          ...[...files].map(([path, file]) => [path, file.kind, approximateSize(fileSize(file)), whereText(file)]),
        ]),
      ].join("\n"),
    );
    return exitCodes.ok.code;
  } finally {
    await history.store.single.close();
  }
}

function sizeOf({ files }: Snapshot): number {
  let bytes = 0;
  for (const file of files.values()) bytes += fileSize(file);
  return bytes;
}

function fileSize(file: ImageFile): number {
  if (file.kind === "small") return file.bytes.length;
  return file.kind === "directory" ? 0 : file.size;
}

function plainFile(file: ImageFile): object {
  return file.kind === "small" ? { ...file, bytes: file.bytes.length } : file;
}

function whereText(file: ImageFile): string {
  if (file.kind === "table") return file.key;
  return file.kind === "append" ? `log from slot ${file.firstSlot}` : "in the snapshot";
}
