import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import { MIB, type Position, type ReadEntry } from "../formats/entry.js";
import type { LogReader } from "../log/log.js";

/** Entries asked for ahead at most; fewer when they are large. */
const AHEAD_MAX = 16;
const AHEAD_BYTES = 24 * MIB;
/** Nothing is trimmed sooner than its grace period (minutes at least): who saw the log go on within this time is not behind a hole. */
const PROVEN_MS = 30_000;

/**
 * The log's entries after a position, in order and verified as one chain. While they keep coming several are asked for at a time, so that catching
 * up is bound by the bandwidth and not by the round trip; at the end one look costs one get.
 */
export class EntryStream {
  readonly #reader: LogReader;
  readonly #clock: Clock;
  #position: Position;
  readonly #ahead: Promise<ReadEntry | undefined>[] = [];
  #window = 1;
  #largest = 0;
  /** When it was last known that nothing is missing at the position. */
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
   * The next entry, or undefined at the end. Throws what `LogReader.next` does, `LogGap` for a hole, `TrimmedAway` (conflict) if the log behind the
   * position was deleted and a snapshot covers it. After an error the same entry is asked for again.
   */
  async next(signal: AbortSignal): Promise<ReadEntry | undefined> {
    const nowMs = this.#clock.monotonicMs();
    const entry = await this.#take(signal);
    if (entry === undefined) {
      this.#drop();
      if (nowMs - this.#provenMs < PROVEN_MS) return undefined;
      if ((await this.#reader.findGap(this.#position.slot + 1, signal)) === "trimmed") throw trimmed(this.#position);
      this.#provenMs = nowMs;
      return undefined;
    }
    this.#provenMs = nowMs;
    this.#position = entry.position;
    this.#largest = Math.max(entry.size, this.#largest);
    this.#window = Math.min(AHEAD_MAX, this.#window * 2, Math.max(1, Math.floor(AHEAD_BYTES / this.#largest)));
    return entry;
  }

  async #take(signal: AbortSignal): Promise<ReadEntry | undefined> {
    const { slot, chain } = this.#position;
    if (this.#window === 1 && this.#ahead.length === 0) return this.#reader.next(this.#position, signal);
    while (this.#ahead.length < this.#window) {
      const asked = this.#reader.read(slot + 1 + this.#ahead.length, signal);
      // Waited for in order; nobody may be waiting when it fails.
      asked.catch(() => undefined);
      this.#ahead.push(asked);
    }
    try {
      const entry = await this.#ahead.shift();
      // `next` tells exactly what is wrong with an entry that doesn't fit, and sees one that has come in the meantime.
      if (entry !== undefined && entry.header.previous === chain) return entry;
    } catch (error) {
      this.#drop();
      throw error;
    }
    this.#drop();
    return this.#reader.next(this.#position, signal);
  }

  #drop(): void {
    this.#ahead.length = 0;
    this.#window = 1;
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
