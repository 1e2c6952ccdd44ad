import type { Logger } from "../../base/log.js";
import type { Hold } from "./wal-set.js";

/** While there is a hold, no WAL is shipped but with a checkpoint that began after it. */
export class Holds {
  readonly #logger: Logger;
  #current: Hold | undefined;
  #version = 0;
  #gaps = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get current(): Hold | undefined {
    return this.#current;
  }

  get gaps(): number {
    return this.#gaps;
  }

  get version(): number {
    return this.#version;
  }

  raise(hold: Hold): void {
    this.#version++;
    if (hold.reason === "Gap") {
      this.#gaps++;
      this.#logger.warn({ reason: hold.reason }, `${hold.message}; a checkpoint comes before more WAL.`);
    } else this.#logger.info({ reason: hold.reason }, `A checkpoint comes before more WAL: ${hold.message}.`);
    // A gap is told even if something else asked for the checkpoint first.
    if (this.#current === undefined || hold.reason === "Gap") this.#current = hold;
  }

  /** A checkpoint that was planned at `version` is emitted: nothing raised until then needs another. */
  release(version: number): void {
    if (version === this.#version) this.#current = undefined;
  }
}
