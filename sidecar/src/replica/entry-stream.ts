import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import type { Position, ReadEntry } from "../formats/entry.js";
import type { LogReader } from "../log/log.js";

/**
 * Nothing is trimmed sooner than its grace period (minutes at least): what was unwritten so short a time ago can't have been written and deleted since. An
 * entry that was found proves nothing of the next slot.
 */
const PROVEN_MS = 30_000;

/** The log's entries after a position, in order and verified as one chain; an end is believed only if nothing lies behind it. */
export class EntryStream {
  readonly #reader: LogReader;
  readonly #clock: Clock;
  #position: Position;
  /** When the slot after some position of ours was known to be the log's end. */
  #provenMs = -Infinity;

  constructor(reader: LogReader, clock: Clock, after: Position) {
    this.#reader = reader;
    this.#clock = clock;
    this.#position = after;
  }

  /** Of the last entry given. */
  get position(): Position {
    return this.#position;
  }

  /**
   * The next entry, or undefined at the end. Throws what `LogReader.next` does, `LogGap` (corrupt) for a hole, `TrimmedAway` (conflict) if the log behind
   * the position was deleted and a snapshot covers it. After an error the same entry is asked for again.
   */
  async next(signal: AbortSignal): Promise<ReadEntry | undefined> {
    const nowMs = this.#clock.monotonicMs();
    const entry = await this.#reader.next(this.#position, signal);
    if (entry !== undefined) {
      this.#position = entry.position;
      return entry;
    }
    if (nowMs - this.#provenMs < PROVEN_MS) return undefined;
    if ((await this.#reader.findGap(this.#position.slot + 1, signal)) === "trimmed") throw trimmed(this.#position);
    this.#provenMs = nowMs;
    return undefined;
  }
}

function trimmed(position: Position): MetaMasterError {
  return new MetaMasterError(
    "TrimmedAway",
    "conflict",
    `The log after slot ${position.slot} was deleted; a later snapshot covers it.`,
    {
      hint: "This member was away for longer than the log is kept: it goes on from the newest snapshot by itself.",
      details: { slot: position.slot },
    },
  );
}
