import { watch, type FSWatcher } from "node:fs";
import { clearTimeout, setTimeout } from "node:timers";
import { errnoOf } from "./node-file-errors.js";
import type { Watch } from "./file-system.js";

/**
 * After a change nothing is listened to for so long: a master that writes 200,000 records a second would otherwise wake this process as
 * often, and take the processor that the master needs.
 */
const QUIET_MS = 4;
/** How soon a directory that can't be watched (out of watches) is tried again; until then it is looked at that often. */
const RETRY_MS = 1_000;

/**
 * inotify by way of `fs.watch`. A burst costs one call at its start and one after each quiet time, so what changes in between is told as well.
 * An error of a watcher is told as a change: whoever looks is never left waiting because watching broke.
 */
export class NodeWatch implements Watch {
  readonly #directories: readonly string[];
  readonly #onChange: () => void;
  #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(directories: readonly string[], onChange: () => void) {
    this.#directories = [...new Set(directories)];
    this.#onChange = onChange;
    this.#arm();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#disarm();
  }

  /** Starts to listen everywhere; whatever can't be listened to is tried again later. */
  #arm(): void {
    let broken = false;
    for (const directory of this.#directories) {
      try {
        const watcher = watch(directory, { persistent: false }, () => this.#changed(QUIET_MS));
        watcher.on("error", () => this.#changed(RETRY_MS));
        this.#watchers.push(watcher);
      } catch (error) {
        broken ||= errnoOf(error) !== "ENOENT";
      }
    }
    if (broken) this.#later(RETRY_MS);
  }

  #changed(pauseMs: number): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#disarm();
    this.#later(pauseMs);
    this.#onChange();
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#disarm();
      this.#arm();
      // What happened between the two watches was seen by neither.
      this.#onChange();
    }, ms);
    this.#timer.unref();
  }

  #disarm(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }
}
