import type { Appended, Draft, LogWriter } from "../../log/log.js";
import type { Shipped } from "./shipped.js";

/** Entries handed to the writer and not yet durable: one put in flight, one encoded meanwhile. */
const IN_FLIGHT_MAX = 2;

export interface EmitterSettings {
  /** Ends everything that is in flight: the run's own end, never one caller's. */
  readonly signal: AbortSignal;
  /** Called in order, at once when an entry is durable. */
  readonly onDurable: (draft: Draft, appended: Appended) => void;
}

/**
 * Hands entries to the writer in order, some ahead. Once one failed (fenced, or the end of the run) nothing can follow it: every later
 * call rejects with that error.
 */
export class Emitter {
  readonly #writer: LogWriter;
  readonly #shipped: Shipped;
  readonly #settings: EmitterSettings;
  readonly #inFlight: Promise<void>[] = [];
  #groups = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(writer: LogWriter, shipped: Shipped, settings: EmitterSettings) {
    this.#writer = writer;
    this.#shipped = shipped;
    this.#settings = settings;
  }

  get signal(): AbortSignal {
    return this.#settings.signal;
  }

  /** True while a group is being emitted: what it is made of must stay. */
  get groupOpen(): boolean {
    return this.#groups > 0;
  }

  async group<T>(work: () => Promise<T>): Promise<T> {
    this.#groups++;
    try {
      return await work();
    } finally {
      this.#groups--;
    }
  }

  /** Resolves when the next entry would not have to wait: a cut taken then serves all who asked until then. */
  async room(): Promise<void> {
    while (this.#inFlight.length >= IN_FLIGHT_MAX) await this.#inFlight[0];
    this.check();
  }

  get busy(): boolean {
    return this.#inFlight.length > 0;
  }

  /** Resolves when nothing is in flight. */
  async quiet(): Promise<void> {
    while (this.busy) await this.#inFlight[0];
    this.check();
  }

  /** Resolves when the entry is on its way, not when it is durable. `release` is called when its bytes are no longer needed. */
  async emit(draft: Draft, release?: () => void): Promise<void> {
    await this.room();
    for (const operation of draft.operations) this.#shipped.apply(operation);
    this.#inFlight.push(this.#send(draft, release));
  }

  /** Resolves when everything emitted before the call is durable; rejects if that can't come true any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#inFlight);
    this.check();
  }

  /** Throws if an entry failed. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Never rejects: the failure is kept and thrown to whoever asks next. */
  async #send(draft: Draft, release: (() => void) | undefined): Promise<void> {
    // Never settles before it is in the list.
    await Promise.resolve();
    try {
      const appended = await this.#writer.append(draft, this.#settings.signal);
      if (this.#failure === undefined) this.#settings.onDurable(draft, appended);
    } catch (error) {
      this.#failure ??= { error };
    } finally {
      void this.#inFlight.shift();
      release?.();
    }
  }
}
