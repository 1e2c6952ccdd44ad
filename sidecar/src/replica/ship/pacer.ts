import type { Clock } from "../../base/clock.js";
import type { FileSystem } from "../../base/file-system.js";
import { Wakeup } from "./wakeup.js";

/** So much that waits is shipped without waiting for the delay. */
const EARLY_BYTES = 4 * 1024 * 1024;
const TICKS_PER_DELAY = 8;
const TICK_MS_MIN = 10;
/** Rounds without anything new before it is the watcher's turn. */
const QUIET_ROUNDS = 4;
/** The net below the watcher, which is only a hint. */
const POLL_MS = 5_000;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

export interface PacerSettings {
  readonly maxDelayMs: number;
  readonly directories: () => readonly string[];
  /** Bytes on the disk that are not handed to the writer. */
  readonly peek: () => Promise<number>;
  /** Somebody waits for a round. */
  readonly urgent: () => boolean;
}

/** When to do the next round: at once for those who wait, in steps while data flows, by a watcher while nothing happens. */
export class Pacer {
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #settings: PacerSettings;
  readonly #wakeup: Wakeup;
  #quiet = 0;
  #failures = 0;

  constructor(fs: FileSystem, clock: Clock, settings: PacerSettings) {
    this.#fs = fs;
    this.#clock = clock;
    this.#settings = settings;
    this.#wakeup = new Wakeup(clock);
  }

  wake(): void {
    this.#wakeup.wake();
  }

  /** After a round that began at `startedMs`. */
  async pause(outcome: "shipped" | "nothing" | "failed", startedMs: number, signal: AbortSignal): Promise<void> {
    if (outcome === "failed") {
      this.#failures++;
      await this.#wakeup.sleep(Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(10, this.#failures - 1)), signal);
      return;
    }
    this.#failures = 0;
    this.#quiet = outcome === "shipped" ? 0 : this.#quiet + 1;
    if (this.#settings.urgent()) return;
    if (this.#quiet < QUIET_ROUNDS) await this.#flow(startedMs + this.#settings.maxDelayMs, signal);
    else await this.#idle(signal);
  }

  /** Cheap looks until the delay is over or much has come. */
  async #flow(untilMs: number, signal: AbortSignal): Promise<void> {
    const tickMs = Math.max(TICK_MS_MIN, this.#settings.maxDelayMs / TICKS_PER_DELAY);
    for (;;) {
      const leftMs = untilMs - this.#clock.monotonicMs();
      if (leftMs <= 0) return;
      await this.#wakeup.sleep(Math.min(tickMs, leftMs), signal);
      // A wake may be old: whoever made it may have been served by the round before.
      if (this.#settings.urgent() || (await this.#settings.peek()) >= EARLY_BYTES) return;
    }
  }

  /** A busy master must not pay for our watching: the watcher is there only while nothing happens. */
  async #idle(signal: AbortSignal): Promise<void> {
    let changed = false;
    const watch = this.#fs.watch(this.#settings.directories(), () => {
      changed = true;
      this.#wakeup.wake();
    });
    try {
      // What came before the watcher was there.
      if ((await this.#settings.peek()) > 0) changed = true;
      else if (!this.#settings.urgent()) await this.#wakeup.sleep(POLL_MS, signal);
    } finally {
      watch.close();
    }
    if (changed) this.#quiet = 0;
  }
}
