import { MetaMasterError } from "../base/errors.js";
import type { Position, WriterId } from "../formats/entry.js";
import type { Appended, Draft, LogWriter } from "../log/log.js";

/**
 * The writer as everybody in a term uses it (shipper, heartbeats, handover): tells what became durable, and keeps the rule that nothing
 * may follow a release, which would look like a sign of life.
 */
export class LeaderPen implements LogWriter {
  readonly #writer: LogWriter;
  readonly #onDurable: (draft: Draft, appended: Appended) => void;
  #released = false;

  constructor(writer: LogWriter, onDurable: (draft: Draft, appended: Appended) => void) {
    this.#writer = writer;
    this.#onDurable = onDurable;
  }

  get epoch(): number {
    return this.#writer.epoch;
  }

  get writer(): WriterId {
    return this.#writer.writer;
  }

  get position(): Position {
    return this.#writer.position;
  }

  get lastSentMs(): number {
    return this.#writer.lastSentMs;
  }

  get fenced(): Error | undefined {
    return this.#writer.fenced;
  }

  get trouble(): Error | undefined {
    return this.#writer.trouble;
  }

  get released(): boolean {
    return this.#released;
  }

  async append(draft: Draft, signal: AbortSignal): Promise<Appended> {
    if (this.#released) {
      throw new MetaMasterError("TermEnded", "fenced", `epoch ${this.epoch} was released: nothing may follow`);
    }
    const appended = await this.#writer.append(draft, signal);
    this.#onDurable(draft, appended);
    return appended;
  }

  announce(to: string, forMs: number, signal: AbortSignal): Promise<Appended> {
    return this.append(handoverDraft("handover", to, forMs), signal);
  }

  /** The last entry of this epoch: from the call on nothing else is taken. */
  async release(to: string, reservedMs: number, signal: AbortSignal): Promise<Appended> {
    this.#released = true;
    return await this.#writer.append(handoverDraft("release", to, reservedMs), signal);
  }

  checkFence(signal: AbortSignal): Promise<void> {
    return this.#writer.checkFence(signal);
  }
}

function handoverDraft(kind: "handover" | "release", to: string, untilMs: number): Draft {
  return { kind, operations: [{ type: "handover", to, untilMs }], sequences: [], more: false };
}
