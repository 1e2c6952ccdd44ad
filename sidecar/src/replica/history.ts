import { MetaMasterError } from "../base/errors.js";
import type { Position, ReadEntry } from "../formats/entry.js";
import type { ImageState } from "../formats/image.js";
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

/** Finds, while the log is read, where somebody else took over. */
export class ForkFinder {
  readonly #epoch: number;
  readonly #own: ReadonlySet<string>;
  /** Set once a claim of somebody else after our epoch was read. `image`: the last state before it, if that was seen. */
  fork: { readonly image: ImageState | undefined; readonly by: string } | undefined;

  constructor(epoch: number, runs: readonly string[]) {
    this.#epoch = epoch;
    this.#own = new Set(runs);
  }

  entry(entry: ReadEntry, image: () => ImageState): void {
    const { kind, epoch, writer } = entry.header;
    if (kind !== "claim" || epoch <= this.#epoch || this.fork !== undefined || this.#own.has(writer.nonce)) return;
    this.fork = { image: image(), by: writer.member };
  }
}
