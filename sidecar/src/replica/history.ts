import { MetaMasterError } from "../base/errors.js";
import type { Position } from "../formats/entry.js";
import type { LogReader } from "../log/log.js";

/** Does a position of ours lie in this bucket's history? */
export type PositionFound = "in" | "trimmed";

/** Has anything ever been written to this log? */
export async function hasHistory(reader: LogReader, signal: AbortSignal): Promise<boolean> {
  const start: Position = { slot: -1, chain: "" };
  if ((await reader.next(start, signal)) !== undefined) return true;
  return (await reader.findGap(0, signal)) !== undefined;
}

/**
 * Throws `HistoryMismatch` (corrupt) if the bucket holds another history than the one this disk was part of: it was emptied, rolled back, or mixed with another. Then nothing is
 * touched: this disk may be the only one that has what is missing.
 */
export async function findPosition(reader: LogReader, position: Position, signal: AbortSignal): Promise<PositionFound> {
  const { slot, chain } = position;
  if (slot < 0) return "in";
  const entry = await reader.read(slot, signal);
  if (entry !== undefined) {
    if (entry.position.chain === chain) return "in";
    throw historyMismatch(slot, "the entry in that slot is another one");
  }
  if ((await reader.findGap(slot, signal)) === "trimmed") return "trimmed";
  throw historyMismatch(slot, "the log does not reach it");
}

export function historyMismatch(slot: number, why: string): MetaMasterError {
  return new MetaMasterError(
    "HistoryMismatch",
    "corrupt",
    `This disk was at slot ${slot} of the history, and the bucket's history is another one: ${why}.`,
    {
      hint: "The bucket was emptied, rolled back or replaced. Bring its objects back; or, if the bucket is right, empty this data directory.",
      details: { slot },
    },
  );
}

/** Where somebody else took over from a primary. */
export interface Fork {
  readonly by: string;
  /** The last position that the two histories share. */
  readonly at: Position;
}

/** The first claim of somebody else after ours; claims are never deleted, and an image names all of them. */
export async function findFork(
  reader: LogReader,
  claims: readonly number[],
  own: { readonly claim: Position; readonly runs: readonly string[] },
  signal: AbortSignal,
): Promise<Fork | undefined> {
  for (const slot of claims) {
    if (slot <= own.claim.slot) continue;
    const entry = await reader.read(slot, signal);
    if (entry === undefined) throw historyMismatch(slot, "a claim is gone from it");
    const { writer, previous } = entry.header;
    if (!own.runs.includes(writer.nonce)) return { by: writer.member, at: { slot: slot - 1, chain: previous } };
  }
  return undefined;
}

/** Who wrote these claims, each named once. */
export async function claimants(reader: LogReader, claims: readonly number[], signal: AbortSignal): Promise<string[]> {
  const members = new Set<string>();
  for (const slot of claims) {
    const entry = await reader.read(slot, signal);
    if (entry === undefined) throw historyMismatch(slot, "a claim is gone from it");
    members.add(entry.header.writer.member);
  }
  return [...members];
}
