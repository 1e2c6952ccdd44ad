import { MetaMasterError } from "../../../base/errors.js";
import type { Position, ReadEntry, WriterId } from "../../../formats/entry.js";
import type { Appended, Draft, LogWriter } from "../../../log/log.js";

/** A log in memory by the rules of LogWriter, that can be away for a while, or fenced. Bytes are copied when an entry becomes durable. */
export class TestPen implements LogWriter {
  readonly epoch: number;
  readonly writer: WriterId = { member: "a", nonce: "00" };
  readonly entries: ReadEntry[] = [];
  fenced: Error | undefined;
  readonly trouble = undefined;
  readonly lastSentMs = 0;
  #away: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #position: Position;

  constructor(epoch: number, claim: Position) {
    this.epoch = epoch;
    this.#position = claim;
  }

  get position(): Position {
    return this.#position;
  }

  away(): void {
    this.#away ??= Promise.withResolvers<void>();
  }

  back(): void {
    this.#away?.resolve();
    this.#away = undefined;
  }

  fence(): void {
    this.fenced = new MetaMasterError("Fenced", "fenced", "another member claimed");
    this.back();
  }

  append(draft: Draft, signal: AbortSignal): Promise<Appended> {
    const appended = this.#last.then(() => this.#append(draft, signal));
    this.#last = appended.catch(() => undefined);
    return appended;
  }

  async checkFence(): Promise<void> {
    if (this.fenced !== undefined) throw this.fenced;
  }

  async #append(draft: Draft, signal: AbortSignal): Promise<Appended> {
    const aborted = new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    aborted.catch(() => undefined);
    await Promise.race([aborted, this.#away?.promise]);
    signal.throwIfAborted();
    if (this.fenced !== undefined) throw this.fenced;
    const slot = this.#position.slot + 1;
    this.#position = { slot, chain: `chain-${slot}` };
    const operations = draft.operations.map((operation) =>
      "bytes" in operation ? { ...operation, bytes: new Uint8Array(operation.bytes) } : operation,
    );
    const size = operations.reduce((sum, operation) => sum + ("bytes" in operation ? operation.bytes.length : 0), 300);
    const { kind, more, sequences } = draft;
    const { writer, epoch } = this;
    this.entries.push({
      header: { version: 1, cluster: "", slot, epoch, kind, previous: "", writer, wallTimeMs: 0, more, sequences },
      operations,
      position: this.#position,
      size,
    });
    return { position: this.#position, sentMs: 0, size };
  }
}
