import { clearTimeout, setTimeout } from "node:timers";
import type { Duplex } from "node:stream";
import { endAll, victimsOf } from "./container-kill.js";
import { heedLines } from "./heed-lines.js";
import type { ProcessTable } from "./container-processes.js";
import type { LockBar } from "./lock-bar.js";
import { uptimeHundredths } from "./uptime.js";

const lookMs = 50;
/** Where nobody is there and nobody speaks: until a sidecar does. */
const idleLookMs = 250;
/** A watchdog that was killed, and is back, waits so long for the word of a sidecar that lives. */
const wordMsMax = 1000;
const timerMsMax = 60_000;
/** One clock never runs backwards. */
const clockSlackHundredths = 100;

export interface WatchdogParts {
  readonly bar: LockBar;
  readonly table: ProcessTable;
  readonly say: (message: string, error: unknown) => void;
  /** Told once it may leave, and there is nothing left to be done. */
  readonly done: () => void;
}

/**
 * The watchdog itself (docs/decisions/0013). A sidecar vouches for the master, over a connection: until a deadline, for ever, or that nobody runs. Past the deadline, once the connection ends while
 * somebody may run, or where no sidecar speaks, whoever holds a LOCK is killed. Whatever goes wrong in it ends in the kill.
 */
export class Watchdog {
  readonly #parts: WatchdogParts;
  readonly #connections = new Set<Duplex>();
  /** Whose word counts: the last one that spoke. */
  #voucher: Duplex | undefined;
  /** Of it, in hundredths of the machine's uptime. */
  #deadline = Infinity;
  #speakUntilMs = performance.now() + wordMsMax;
  /** The sidecar was lost while the databases may have been open to all. */
  #isOpen = false;
  #mayLeave = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: WatchdogParts) {
    this.#parts = parts;
    this.#watch();
  }

  /** A sidecar that may speak. */
  meet(stream: Duplex): void {
    const { table } = this.#parts;
    this.#connections.add(stream);
    heedLines(stream, (line) => this.#hear(stream, line));
    stream.once("close", () => {
      this.#connections.delete(stream);
      if (this.#connections.size === 0) table.partner = undefined;
      if (this.#voucher === stream) this.#lost();
      else this.#watch();
    });
  }

  /** From now on it ends once no sidecar is there and nobody is to be ended. */
  leave(): void {
    this.#mayLeave = true;
    this.#watch();
  }

  #hear(from: Duplex, line: string): void {
    const [, pid] = /^i am (\d{1,10})$/.exec(line) ?? [];
    if (pid !== undefined) {
      this.#parts.table.partner = Number(pid);
      // In this order: whoever hears it may look at LOCK files without being taken for the master.
      from.write(`i am ${process.pid}\n`);
      return;
    }
    const deadline = deadlineOf(line);
    if (deadline === undefined) {
      this.#parts.say(`its sidecar's word is not understood, and not acknowledged: ${line.slice(0, 100)}`, undefined);
      return;
    }
    this.#voucher = from;
    this.#deadline = deadline;
    this.#isOpen = line !== "rest";
    from.write("ok\n");
    this.#watch();
  }

  #lost(): void {
    this.#voucher = undefined;
    this.#speakUntilMs = -Infinity;
    this.#watch();
  }

  #watch(): void {
    clearTimeout(this.#timer);
    const leftMs =
      this.#voucher === undefined ? this.#speakUntilMs - performance.now() : (this.#deadline - uptimeHundredths()) * 10;
    if (leftMs > 0) {
      if (leftMs < Infinity) this.#timer = setTimeout(() => this.#watch(), Math.min(leftMs, timerMsMax));
      return;
    }
    const isDone = this.#end();
    if (isDone && this.#mayLeave && this.#connections.size === 0) {
      this.#parts.done();
      return;
    }
    // Until told that leadership goes on, or that nobody runs: a container may be started again.
    const isIdle = isDone && this.#voucher === undefined;
    this.#timer = setTimeout(() => this.#watch(), isIdle ? idleLookMs : lookMs);
  }

  /** True if nobody is there. */
  #end(): boolean {
    const { bar, table, say } = this.#parts;
    const why = this.#voucher === undefined ? "no sidecar vouches for it" : "leadership was not extended in time";
    try {
      // Where nobody was let in nothing is touched: the volume may be another pod's, whose sidecar is waited for.
      if (!this.#isOpen && victimsOf([], bar, table).length === 0) return true;
      const { victims, refused, unbarred } = endAll([], bar, table);
      if (victims.length > 0) {
        const pids = victims.map(({ pid }) => pid).join(", ");
        say(`${why}: killed the master (processes ${pids})`, refused ?? unbarred);
      } else if (unbarred === undefined) {
        if (this.#voucher === undefined) this.#isOpen = false;
        return true;
      } else say(`${why}, and the databases can't be barred: whoever opens one is killed`, unbarred);
    } catch (error) {
      say(`${why}, and the master can't be ended`, error);
    }
    return false;
  }
}

/** Undefined: it is no word, or of another clock. */
function deadlineOf(line: string): number | undefined {
  if (line === "rest" || line === "ever") return Infinity;
  const [, until, at] = /^until (\d{1,15}) at (\d{1,15})$/.exec(line) ?? [];
  if (until === undefined || Number(at) > uptimeHundredths() + clockSlackHundredths) return undefined;
  return Number(until);
}
