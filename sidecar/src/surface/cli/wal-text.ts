import type { Operation } from "../../formats/entry.js";
import { parseFileName } from "../../formats/rocksdb/file-names.js";
import { summarizeWal, type WalSummary } from "../../formats/rocksdb/wal-summary.js";

const FAMILIES_SHOWN = 16;
const INDENT = " ".repeat(12);

/** The batches of an operation that grows a WAL. */
export function walOf(operation: Operation): WalSummary | undefined {
  if (operation.type !== "append") return undefined;
  const { file, offset, bytes } = operation;
  const parsed = parseFileName(file.slice(file.lastIndexOf("/") + 1));
  return parsed?.type === "wal" ? summarizeWal({ file, number: parsed.number, offset, bytes }) : undefined;
}

/** Nothing is left out: what there is not is null, so that every program finds every field. */
export function plainWal({ sequences, incomplete, ...rest }: WalSummary): object {
  return { ...rest, sequences: sequences ?? null, incomplete: incomplete ?? null };
}

export function walText(summary: WalSummary): string[] {
  const { batches, operations, sequences, compressed, kinds, columnFamilies, otherColumnFamilies, incomplete } =
    summary;
  const range = sequences === undefined ? "" : `, sequences ${sequences.first}-${sequences.last}`;
  const lines = [
    `${counted(batches, "batch", "batches")}${compressed ? ", compressed" : ""}, ${counted(operations, "operation", "operations")}${range}`,
  ];
  if (Object.keys(kinds).length > 0) lines.push(kindsText(kinds));
  // With the default column family alone it would be said twice.
  if (columnFamilies.some(({ id }) => id !== 0)) {
    for (const family of columnFamilies.slice(0, FAMILIES_SHOWN)) {
      lines.push(`column family ${family.id}: ${kindsText(family.kinds)}`);
    }
    const hidden = columnFamilies.slice(FAMILIES_SHOWN);
    const rest = hidden.reduce((sum, family) => sum + family.operations, otherColumnFamilies);
    if (rest > 0) lines.push(`other column families: ${counted(rest, "operation", "operations")}`);
  }
  if (incomplete !== undefined) lines.push(`not all of it: ${incomplete}`);
  return lines.map((line) => `${INDENT}${line}`);
}

function kindsText(kinds: WalSummary["kinds"]): string {
  return Object.entries(kinds)
    .map(([kind, count]) => `${kind} ${count}`)
    .join(", ");
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
