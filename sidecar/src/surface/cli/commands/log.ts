import { MetaMasterError } from "../../../base/errors.js";
import { pagesOf } from "../../../bucket/pages.js";
import { LOG_PREFIX, logKey, type Operation, type ReadEntry } from "../../../formats/entry.js";
import { openHistory, type History } from "../../compose/history.js";
import { approximateSize } from "../../config/units.js";
import { table } from "../console.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";
import { plainWal, walOf, walText } from "../wal-text.js";

const OPERATIONS_SHOWN = 200;

export interface LogListOptions {
  readonly from?: number;
  readonly limit: number;
}

/** Entries from a slot on; without one, the newest. */
export async function logListCommand(context: CommandContext, options: LogListOptions): Promise<number> {
  const history = await open(context);
  try {
    const slots = await slotsToShow(history, options, context.signal);
    const entries: ReadEntry[] = [];
    for (const slot of slots) {
      const entry = await history.reader.read(slot, context.signal);
      if (entry !== undefined) entries.push(entry);
    }
    context.console.result(entries.map(summary), () =>
      table([
        ["slot", "epoch", "kind", "member", "written", "size", "operations", "sequences"],
        ...entries.map((entry) => row(entry)),
      ]),
    );
    return exitCodes.ok.code;
  } finally {
    await history.store.single.close();
  }
}

export async function logShowCommand(context: CommandContext, slot: number): Promise<number> {
  const history = await open(context);
  try {
    const entry = await history.reader.read(slot, context.signal);
    if (entry === undefined) {
      throw new MetaMasterError("HistoryMissing", "invalid", `There is no entry in slot ${slot}.`, {
        hint: "See `metamaster log list`; older slots may have been trimmed.",
        details: { slot },
      });
    }
    const { header, operations, position, size } = entry;
    const shown = { position, size, header, operations: operations.map(plainOperation) };
    context.console.result(shown, () => entryText(entry));
    return exitCodes.ok.code;
  } finally {
    await history.store.single.close();
  }
}

async function open(context: CommandContext): Promise<History> {
  const { config } = await context.config();
  return await openHistory(config, context.system, context.logger, context.signal);
}

async function slotsToShow(
  { store }: History,
  { from, limit }: LogListOptions,
  signal: AbortSignal,
): Promise<number[]> {
  const slots: number[] = [];
  const after = from === undefined || from === 0 ? undefined : logKey(from - 1);
  for await (const page of pagesOf(store.steady, LOG_PREFIX, signal, after)) {
    for (const { key } of page) slots.push(Number(key.slice(LOG_PREFIX.length)));
    if (from !== undefined && slots.length >= limit) return slots.slice(0, limit);
    // Of a long log only the newest slots are of interest: the rest is dropped as it comes.
    if (from === undefined && slots.length > limit) slots.splice(0, slots.length - limit);
  }
  return slots;
}

function summary({ header, operations, position, size }: ReadEntry): object {
  const { epoch, kind, writer, wallTimeMs, more, sequences } = header;
  return {
    slot: position.slot,
    chain: position.chain,
    epoch,
    kind,
    writer,
    written: iso(wallTimeMs),
    size,
    operations: operations.length,
    more,
    sequences,
  };
}

function row({ header, operations, position, size }: ReadEntry): string[] {
  const { epoch, kind, more, writer, wallTimeMs } = header;
  return [
    String(position.slot),
    String(epoch),
    more ? `${kind}+` : kind,
    writer.member,
    iso(wallTimeMs),
    approximateSize(size),
    String(operations.length),
    sequencesText(header.sequences),
  ];
}

function entryText({ header, operations, position, size }: ReadEntry): string {
  return [
    `slot      ${position.slot}`,
    `chain     ${position.chain}`,
    `previous  ${header.previous === "" ? "-" : header.previous}`,
    `epoch     ${header.epoch}`,
    `kind      ${header.kind}${header.more ? ", goes on in the next entry" : ""}`,
    `writer    ${header.writer.member} (${header.writer.nonce})`,
    `written   ${iso(header.wallTimeMs)}`,
    `size      ${approximateSize(size)}`,
    `sequences ${sequencesText(header.sequences)}`,
    `operations${operations.length === 0 ? " -" : ""}`,
    ...operations.slice(0, OPERATIONS_SHOWN).flatMap((operation) => {
      const wal = walOf(operation);
      return [`  ${operationText(operation)}`, ...(wal === undefined ? [] : walText(wal))];
    }),
    ...(operations.length > OPERATIONS_SHOWN
      ? [`  ... and ${operations.length - OPERATIONS_SHOWN} more; --output json shows all`]
      : []),
  ].join("\n");
}

function sequencesText(sequences: ReadEntry["header"]["sequences"]): string {
  return sequences.length === 0
    ? "-"
    : sequences.map(({ database, first, last }) => `${database} ${first}-${last}`).join(", ");
}

function operationText(operation: Operation): string {
  switch (operation.type) {
    case "append":
      return `append    ${operation.file} at ${operation.offset}: ${operation.bytes.length} bytes`;
    case "write":
      return `write     ${operation.file}: ${operation.bytes.length} bytes`;
    case "table":
      return `table     ${operation.file}: ${operation.size} bytes, ${operation.key}`;
    case "directory":
    case "remove":
      return `${operation.type.padEnd(9)} ${operation.file}`;
    case "handover":
      return `handover  to ${operation.to === "" ? "anybody" : operation.to}, for ${operation.untilMs} ms`;
    case "trim":
      break;
  }
  const { fromSlot, throughSlot, keys, executedThrough } = operation;
  return `trim      slots ${fromSlot}-${throughSlot}, ${keys.length} objects, carried out through ${executedThrough}`;
}

/** Bytes as their number only. */
function plainOperation(operation: Operation): object {
  const wal = walOf(operation);
  return "bytes" in operation
    ? { ...operation, bytes: operation.bytes.length, ...(wal === undefined ? {} : { wal: plainWal(wal) }) }
    : operation;
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
