import { hasCode, isKind, messageOf, MetaMasterError } from "../../base/errors.js";
import type { StoredLease } from "../../kube/leases.js";
import type { LeaseDesk } from "./lease-parts.js";
import { holderText, released, renewed } from "./lease-record.js";
import { againMsOf, callMsOf, deadAfterMs } from "./lease-times.js";
import { Scope } from "../../base/scope.js";

/** How long a server's wish for a pause is heeded at most, as a part of the renew deadline. */
const heedOfDeadline = 1 / 5;

/**
 * A lease that this run has won: renewed when told to, one round at a time. What is proven counts from the moment a writing was SENT that is known to have
 * happened, be it by its answer or by reading it.
 */
export class LeaseHold {
  readonly #desk: LeaseDesk;
  readonly #onChange: () => void;
  readonly #scope = new Scope();
  #stored: StoredLease | undefined;
  #record: StoredLease["record"];
  #provenMs: number;
  #sinceMs: number;
  #notBeforeMs = -Infinity;
  /** What is stored now is not known. */
  #doubt = false;
  #underWay: Promise<void> | undefined;
  #lost: MetaMasterError | undefined;
  trouble: unknown;

  /** `sentMs`: when the writing that won it was sent. `onChange`: called after each round. */
  constructor(desk: LeaseDesk, stored: StoredLease, sentMs: number, onChange: () => void) {
    this.#desk = desk;
    this.#stored = stored;
    this.#record = stored.record;
    this.#provenMs = sentMs;
    this.#sinceMs = desk.clock.monotonicMs();
    this.#onChange = onChange;
  }

  /** Leadership may be counted from here. */
  get provenMs(): number {
    return this.#provenMs;
  }

  get untilMs(): number {
    return this.#provenMs + this.#desk.times.renewDeadlineMs;
  }

  get deadMs(): number {
    return this.#provenMs + deadAfterMs(this.#desk.times);
  }

  /** Since when, without a gap in the proof, this run knows that it holds the lease. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** Somebody else holds it, or nobody: for certain. */
  get lost(): MetaMasterError | undefined {
    return this.#lost;
  }

  /** When to renew next; Infinity while a renewal is under way. */
  get dueMs(): number {
    if (this.#underWay !== undefined || this.#lost !== undefined) return Infinity;
    return Math.max(this.#provenMs + this.#desk.times.retryPeriodMs, this.#notBeforeMs);
  }

  /** Begins a round unless one is under way. */
  renew(): void {
    if (this.#underWay !== undefined || this.#lost !== undefined || this.#scope.signal.aborted) return;
    this.#notBeforeMs = this.#desk.clock.monotonicMs() + againMsOf(this.#desk.times);
    this.#underWay = this.#round().finally(() => {
      this.#underWay = undefined;
      this.#onChange();
    });
  }

  /** No more rounds; one under way is cut, and may still have its effect. */
  close(): void {
    this.#scope.abort(new MetaMasterError("TermEnded", "fenced", "the lease is no longer kept"));
  }

  /** Closes, and lets others take it at once. Within two calls' time; false: it could not be done, and runs out by itself. */
  async release(): Promise<boolean> {
    this.close();
    await this.#underWay;
    const { clock, logger, times } = this.#desk;
    const { signal } = new AbortController();
    const endMs = clock.monotonicMs() + 2 * callMsOf(times);
    let last: unknown = this.#lost;
    while (this.#lost === undefined && clock.monotonicMs() < endMs) {
      try {
        if (this.#doubt) await this.#resolve(signal);
        if (this.#lost !== undefined || this.#stored === undefined) return true;
        await this.#write(released(this.#record, this.#desk.attempt().stamp), signal);
        return true;
      } catch (error) {
        last = error;
        await clock.sleep(againMsOf(times) / 2);
      }
    }
    if (this.#lost !== undefined) return true;
    logger.warn({ err: last }, `the lease could not be given back, it runs out by itself: ${messageOf(last)}`);
    return false;
  }

  /** Never rejects. */
  async #round(): Promise<void> {
    const { signal } = this.#scope;
    const { logger, clock, times } = this.#desk;
    try {
      if (this.#doubt) await this.#resolve(signal);
      if (this.#lost === undefined) await this.#renew(signal);
      this.trouble = undefined;
    } catch (error) {
      if (signal.aborted) return;
      this.trouble = error;
      const wishMs = error instanceof MetaMasterError ? Number(error.details["retryAfterMs"] ?? 0) : 0;
      const heedMs = Math.min(wishMs, times.renewDeadlineMs * heedOfDeadline);
      this.#notBeforeMs = Math.max(this.#notBeforeMs, clock.monotonicMs() + heedMs);
      logger.warn({ err: error }, `the lease could not be renewed, trying again: ${messageOf(error)}`);
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    for (let tries = 1; tries <= 2; tries++) {
      const attempt = this.#desk.attempt();
      try {
        const stored = await this.#write(renewed(this.#record, this.#desk.times.leaseMs, attempt.stamp), signal);
        this.#prove(stored, attempt.sentMs);
        return;
      } catch (error) {
        if (!isKind(error, "conflict")) throw error;
        const before = this.#provenMs;
        await this.#resolve(signal);
        // It is another's, or a try of ours whose answer was lost came first. Else somebody labelled or deleted it: once more.
        if (this.#lost !== undefined || this.#provenMs > before) return;
      }
    }
  }

  async #write(record: StoredLease["record"], signal: AbortSignal): Promise<StoredLease> {
    const { store } = this.#desk;
    const from = this.#stored;
    // Until there is an answer nobody knows.
    this.#doubt = true;
    try {
      const stored = await this.#desk.call("writing the lease", signal, (inner) =>
        from === undefined ? store.create(record, inner) : store.update(from, record, inner),
      );
      this.#doubt = false;
      return stored;
    } catch (error) {
      if (!hasCode(error, "KubeNotFound") || from === undefined) throw error;
      // Somebody deleted it: who waits for us still waits a whole lease, and it is made again.
      this.#stored = undefined;
      return await this.#write(record, signal);
    }
  }

  /** Reads what is stored. */
  async #resolve(signal: AbortSignal): Promise<void> {
    const stored = await this.#desk.call("reading the lease", signal, (inner) => this.#desk.store.read(inner));
    this.#doubt = false;
    if (stored !== undefined && stored.record.holder !== holderText(this.#desk.self)) {
      const now = stored.record.holder === "" ? "nobody" : stored.record.holder;
      this.#lost = new MetaMasterError("LeaseTaken", "fenced", `the lease is held by ${now}`);
      return;
    }
    const sentMs = stored === undefined ? undefined : this.#desk.sentMs(stored.record.renewTime);
    if (stored !== undefined && sentMs !== undefined) this.#prove(stored, sentMs);
    else this.#stored = stored;
  }

  #prove(stored: StoredLease, sentMs: number): void {
    const nowMs = this.#desk.clock.monotonicMs();
    if (nowMs >= this.untilMs) this.#sinceMs = nowMs;
    this.#stored = stored;
    this.#record = stored.record;
    this.#provenMs = Math.max(this.#provenMs, sentMs);
  }
}
