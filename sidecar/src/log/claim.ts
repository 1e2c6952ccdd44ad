import { encodeEntry, type EncodedEntry } from "../formats/entry-codec.js";
import type { Position, WriterId } from "../formats/entry.js";
import type { Claim } from "./log.js";
import { BucketLogWriter, type LogWriterComponents } from "./log-writer.js";
import { putDefaults, putIntoSlot, type PutSettings } from "./slot-put.js";

interface Attempt {
  readonly end: Position;
  readonly epoch: number;
  readonly entry: EncodedEntry;
  /** Monotonic ms before the first try. */
  readonly sentMs: number;
}

/** Who claims, and for which cluster. */
export interface Claimant {
  readonly cluster: string;
  readonly writer: WriterId;
}

/**
 * A claim that was given up (its signal aborted) may still take effect: the next call for the same place tries the same bytes again, and
 * counts the lease from the first time they were sent.
 */
export function makeClaim(
  { cluster, writer }: Claimant,
  components: LogWriterComponents,
  settings: PutSettings = putDefaults,
): Claim {
  let last: Attempt | undefined;
  return async (end, epoch, signal) => {
    signal.throwIfAborted();
    const { clock, compression } = components;
    if (last?.end.slot !== end.slot || last.end.chain !== end.chain || last.epoch !== epoch) {
      const header = {
        version: 1 as const,
        cluster,
        slot: end.slot + 1,
        epoch,
        kind: "claim" as const,
        previous: end.chain,
        writer,
        wallTimeMs: Math.max(0, Math.trunc(clock.wallMs())),
        more: false,
        sequences: [],
      };
      const entry = await encodeEntry({ header, operations: [] }, compression);
      last = { end, epoch, entry, sentMs: clock.monotonicMs() };
    }
    const { entry, sentMs } = last;
    const slot = end.slot + 1;
    const { outcome } = await putIntoSlot({ slot, ...entry }, components, settings, signal);
    if (outcome === "taken") return { outcome: "lost" };
    const position = { slot, chain: entry.chain };
    const start = { cluster, writer, epoch, position, sentMs };
    return { outcome: "won", writer: new BucketLogWriter(start, components, settings), chain: entry.chain };
  };
}
