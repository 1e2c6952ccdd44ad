import { MetaMasterError } from "../base/errors.js";
import type { Appended, Draft, LogWriter } from "../log/log.js";
import { WrappedLogWriter } from "../log/wrapped-log-writer.js";

/**
 * The writer as everybody in a term uses it (shipper, heartbeats, handover): tells what became durable, and keeps the rule that nothing
 * may follow a release, which would look like a sign of life.
 */
export class LeaderPen extends WrappedLogWriter {
  readonly #onDurable: (draft: Draft, appended: Appended) => void;
  #released = false;

  constructor(writer: LogWriter, onDurable: (draft: Draft, appended: Appended) => void) {
    super(writer);
    this.#onDurable = onDurable;
  }

  get released(): boolean {
    return this.#released;
  }

  override async append(draft: Draft, signal: AbortSignal): Promise<Appended> {
    if (this.#released) {
      throw new MetaMasterError("TermEnded", "fenced", `epoch ${this.epoch} was released: nothing may follow`);
    }
    const appended = await this.inner.append(draft, signal);
    this.#onDurable(draft, appended);
    return appended;
  }

  announce(to: string, forMs: number, signal: AbortSignal): Promise<Appended> {
    return this.append(handoverDraft("handover", to, forMs), signal);
  }

  /** The last entry of this epoch: from the call on nothing else is taken. */
  async release(to: string, reservedMs: number, signal: AbortSignal): Promise<Appended> {
    this.#released = true;
    return await this.inner.append(handoverDraft("release", to, reservedMs), signal);
  }
}

function handoverDraft(kind: "handover" | "release", to: string, untilMs: number): Draft {
  return { kind, operations: [{ type: "handover", to, untilMs }], sequences: [], more: false };
}
