import type { Clock } from "../../base/clock.js";
import { messageOf } from "../../base/errors.js";
import type { ShippedDatabase } from "./database.js";
import type { Links, SpoolBytes } from "./links.js";
import { Wakeup } from "./wakeup.js";

const LOOK_MS_MIN = 250;
const SPOOL_MS = 5_000;

export interface KeeperSettings {
  readonly databases: readonly ShippedDatabase[];
  readonly links: Links;
  readonly maxDelayMs: number;
  readonly maxSpoolBytes: number;
  /** True while a group is half in the log: its files must stay. */
  readonly groupOpen: () => boolean;
  readonly giveUpCheckpoint: () => Promise<void>;
  readonly onTrouble: (message: string) => void;
}

/**
 * Looks after the WALs while rounds are held up (the bucket is away, tables are being uploaded): new ones are linked, recycled ones
 * copied, and when the links keep more than the spool may hold, a checkpoint under way or WALs are let go.
 */
export class Keeper {
  readonly #clock: Clock;
  readonly #settings: KeeperSettings;
  readonly #wakeup: Wakeup;
  #lastLookMs: number;
  #lastSpoolMs = Number.NEGATIVE_INFINITY;
  #stopped = false;
  spoolBytes = 0;

  constructor(clock: Clock, settings: KeeperSettings) {
    this.#clock = clock;
    this.#settings = settings;
    this.#wakeup = new Wakeup(clock);
    this.#lastLookMs = clock.monotonicMs();
  }

  /** A round looks itself. */
  roundBegins(): void {
    this.#lastLookMs = this.#clock.monotonicMs();
  }

  stop(): void {
    this.#stopped = true;
    this.#wakeup.wake();
  }

  /** Until stopped or the signal aborts (rejects). */
  async run(signal: AbortSignal): Promise<void> {
    const everyMs = Math.max(LOOK_MS_MIN, this.#settings.maxDelayMs);
    while (!this.#stopped) {
      await this.#wakeup.sleep(everyMs, signal);
      try {
        await this.#look(everyMs);
      } catch (error) {
        this.#settings.onTrouble(messageOf(error));
      }
    }
  }

  async #look(everyMs: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lastLookMs >= everyMs) {
      this.#lastLookMs = nowMs;
      for (const { wals } of this.#settings.databases) await wals.peek();
    }
    if (nowMs - this.#lastSpoolMs < SPOOL_MS) return;
    this.#lastSpoolMs = nowMs;
    await this.#bound();
  }

  /**
   * What a checkpoint keeps that no WAL waits for goes first: it costs nothing but time. A WAL that goes costs a checkpoint that everything waits for, so
   * WALs go only for what they take themselves.
   */
  async #bound(): Promise<void> {
    const { maxSpoolBytes, groupOpen, giveUpCheckpoint, databases } = this.#settings;
    let { wals, plans } = await this.#measure();
    if (wals + plans > maxSpoolBytes && plans > 0) {
      await giveUpCheckpoint();
      ({ wals, plans } = await this.#measure());
    }
    if (wals <= maxSpoolBytes || groupOpen()) return;
    for (const database of databases) await database.wals.letGo();
    await this.#measure();
  }

  async #measure(): Promise<SpoolBytes> {
    const bytes = await this.#settings.links.spoolBytes();
    this.spoolBytes = bytes.wals + bytes.plans;
    return bytes;
  }
}
