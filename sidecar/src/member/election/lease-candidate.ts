import { isKind, messageOf, MetaMasterError } from "../../base/errors.js";
import type { Random } from "../../base/random.js";
import type { StoredLease } from "../../kube/leases.js";
import type { ReadEntry } from "../../formats/entry.js";
import type { Changes } from "../../base/changes.js";
import type { Candidacy, WatchStart } from "./election.js";
import { LeaseHold } from "./lease-hold.js";
import type { LeaseDesk } from "./lease-parts.js";
import { holderText, isStranger, parseHolder, takenBy, type Holder } from "./lease-record.js";
import { againMsOf } from "./lease-times.js";
import { logIsOlder, seeLease, verdictOf, type LeaseView, type LogSays, type Verdict } from "./lease-view.js";
import { beginWatch, candidacyOf, pollDelayOf, seeEnd, seeEntry, type LeaseWatch } from "./lease-watch.js";
import { pauseOrChange, Scope } from "../../base/scope.js";

/** So many retry periods without a renewal. */
const missedRetries = 1.5;

/** What is asked of the cluster before a lease is taken early; both may reject, which is a no. */
export interface LeaseWitness {
  /** The lease is of this pod's previous run. True once no master that it left behind runs. */
  ownMasterEnded(holder: Holder, signal: AbortSignal): Promise<boolean>;
  /** Positive evidence that this holder's master has ended and can't come back without the lease. That nothing is heard of it is none. */
  evidence(holder: Holder, signal: AbortSignal): Promise<boolean>;
}

export interface CandidateParts {
  readonly desk: LeaseDesk;
  readonly random: Random;
  readonly member: string;
  readonly witness: LeaseWitness;
  /** Notified when `candidacy` may have changed. */
  readonly changed: Changes;
  readonly wake: Changes;
}

export interface Won {
  readonly hold: LeaseHold;
  readonly candidacy: Candidacy;
}

/** One stint as a standby: watches lease and log, and takes the lease when both allow it. */
export class LeaseCandidate {
  readonly #parts: CandidateParts;
  readonly #scope = new Scope();
  readonly #ownEpoch: boolean;
  readonly #running: Promise<void>;
  #jitter: number;
  #log: LeaseWatch;
  #releasedBy: string | undefined;
  #view: LeaseView | undefined;
  #hold: LeaseHold | undefined;
  #won: Candidacy | undefined;
  #intent: Candidacy["reason"] = "LeaseExpired";
  #tried = false;
  /** When this member last looked at the log and asked for its candidacy. */
  #activeMs = -Infinity;
  #wantedMs = -Infinity;
  #quietUntilMs = -Infinity;
  #trouble: unknown;
  #stranger: MetaMasterError | undefined;

  /** `before`: what an earlier stint had won and did not use. */
  constructor(parts: CandidateParts, start: WatchStart, before?: Won) {
    this.#parts = parts;
    this.#jitter = parts.random.float();
    this.#log = beginWatch(start, parts.member);
    this.#noteRelease(start.last);
    this.#ownEpoch = start.ownEpoch;
    this.#hold = before?.hold;
    this.#won = before?.candidacy;
    this.#running = this.#run();
  }

  observed(entry: ReadEntry, atMs: number): void {
    this.#jitter = this.#parts.random.float();
    this.#log = seeEntry(this.#log, entry, atMs, this.#parts.member);
    this.#noteRelease(entry);
    this.#activeMs = atMs;
  }

  observedEnd(atMs: number): void {
    this.#log = seeEnd(this.#log, atMs);
    this.#activeMs = Math.max(this.#activeMs, atMs);
  }

  /** The lease is ours, provably, and a look at the log sent since then found nothing new. */
  candidacy(nowMs: number): Candidacy | undefined {
    const fresh = nowMs - this.#wantedMs > this.#wantMs;
    this.#wantedMs = nowMs;
    this.#activeMs = Math.max(this.#activeMs, nowMs);
    const hold = this.#hold;
    if (hold === undefined) {
      if (fresh || this.#verdict()?.may === true) this.#parts.wake.notify();
      return undefined;
    }
    if (hold.lost !== undefined || nowMs >= hold.untilMs) return undefined;
    const { lastEmptyMs } = this.#log;
    return lastEmptyMs !== undefined && lastEmptyMs >= hold.sinceMs ? this.#won : undefined;
  }

  pollDelayMs(nowMs: number): number {
    return pollDelayOf(this.#log, this.#watchSettings(), nowMs);
  }

  /** What is in the way of reading, taking or keeping the lease. */
  get trouble(): unknown {
    return this.#hold?.trouble ?? this.#trouble ?? this.#stranger;
  }

  /** For leadership: ends the stint, and what was won goes to the caller. */
  handOver(): Won | undefined {
    const hold = this.#hold;
    this.#hold = undefined;
    this.#end();
    return hold === undefined || this.#won === undefined ? undefined : { hold, candidacy: this.#won };
  }

  /** Ends the stint; what was won, or may have been, is given back unless this disk holds what the log lacks. Bounded, never rejects. */
  async end(): Promise<void> {
    this.#end();
    await this.#running;
    const hold = this.#hold;
    this.#hold = undefined;
    const keep = this.#ownEpoch || this.#won?.reason === "OwnEpoch" || (hold === undefined && !this.#tried);
    if (keep) hold?.close();
    else await (hold ?? (await this.#late()))?.release();
  }

  /** A try whose outcome was never seen may have won. */
  async #late(): Promise<LeaseHold | undefined> {
    const { desk } = this.#parts;
    try {
      const stored = await desk.call("reading the lease", new AbortController().signal, (inner) =>
        desk.store.read(inner),
      );
      if (stored?.record.holder !== holderText(desk.self)) return undefined;
      return new LeaseHold(desk, stored, -Infinity, () => undefined);
    } catch (error) {
      desk.logger.debug({ err: error }, `it is not known whether the lease was won: ${messageOf(error)}`);
      return undefined;
    }
  }

  #end(): void {
    this.#scope.abort(new Error("the stint is over"));
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { clock, logger } = this.#parts.desk;
    const { signal } = this.#scope;
    const { wake } = this.#parts;
    while (!signal.aborted) {
      const since = wake.count;
      try {
        await this.#step(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#quietUntilMs = clock.monotonicMs() + againMsOf(this.#parts.desk.times);
        const level = this.#trouble === undefined ? "warn" : "debug";
        logger[level]({ err: error }, `the lease can't be read or taken: ${messageOf(error)}`);
        this.#trouble = error;
      }
      await pauseOrChange(clock, this.#pauseMs(), { changes: wake, since }, signal);
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    const nowMs = this.#parts.desk.clock.monotonicMs();
    if (this.#hold !== undefined) return this.#keep(this.#hold, nowMs);
    if (nowMs < this.#quietUntilMs) return;
    await this.#look(signal);
    const verdict = this.#verdict();
    if (this.#hold !== undefined || verdict === undefined || !this.#wants()) return this.#mended();
    const reason = verdict.may ? verdict.reason : await this.#ask(verdict, signal);
    if (reason !== undefined && this.#wants()) await this.#take(reason, signal);
    else this.#mended();
  }

  #keep(hold: LeaseHold, nowMs: number): void {
    if (hold.lost !== undefined) {
      this.#parts.desk.logger.warn({ err: hold.lost }, `not leading: ${hold.lost.message}`);
      this.#hold = undefined;
      this.#view = undefined;
      this.#parts.wake.notify();
      return;
    }
    // A member that gets nowhere lets another one try.
    const active = nowMs - this.#activeMs < this.#parts.desk.times.renewDeadlineMs;
    if (active && nowMs >= hold.dueMs) hold.renew();
  }

  async #look(signal: AbortSignal): Promise<StoredLease | undefined> {
    const { desk } = this.#parts;
    const sentMs = desk.clock.monotonicMs();
    const stored = await desk.call("reading the lease", signal, (inner) => desk.store.read(inner));
    const before = this.#view;
    this.#noteStranger(stored?.record.holder ?? "");
    this.#view = seeLease(before, stored, { sentMs, readMs: desk.clock.monotonicMs() });
    const log = this.#logSays();
    if (this.#view.readAtMs !== before?.readAtMs && log !== undefined && logIsOlder(this.#view, log)) {
      this.#parts.changed.notify();
    }
    // A try of ours whose answer was lost.
    if (this.#tried && stored?.record.holder === holderText(desk.self)) {
      const wonMs = desk.sentMs(stored.record.renewTime);
      if (wonMs !== undefined) this.#win(stored, wonMs);
    }
    return stored;
  }

  /** As long as it renews nobody can lead, and everything else looks well. */
  #noteStranger(holder: string): void {
    if (!isStranger(holder)) this.#stranger = undefined;
    else if (this.#stranger?.details["holder"] !== holder) {
      this.#stranger = new MetaMasterError(
        "LeaseForeign",
        "conflict",
        `the lease is held by ${holder}, which is no member: nobody can lead as long as it renews it`,
        { details: { holder }, hint: "Give `election.leaseName` (or the other program's Lease) another name." },
      );
      this.#parts.desk.logger.warn({ err: this.#stranger }, this.#stranger.message);
    }
  }

  async #ask(verdict: Extract<Verdict, { may: false }>, signal: AbortSignal): Promise<Candidacy["reason"] | undefined> {
    const { desk, witness } = this.#parts;
    const holder = parseHolder(this.#view?.stored?.record.holder ?? "");
    if (holder === undefined || verdict.ask === undefined) return undefined;
    if (verdict.ask === "Evidence" && !this.#missed()) return undefined;
    if (verdict.ask === "Own") {
      const ended = await desk.call("looking for a master of this pod's previous run", signal, (inner) =>
        witness.ownMasterEnded(holder, inner),
      );
      return ended ? "OwnEpoch" : undefined;
    }
    try {
      const dead = await desk.call("asking for evidence", signal, (inner) => witness.evidence(holder, inner));
      return dead ? "Evidence" : undefined;
    } catch (error) {
      signal.throwIfAborted();
      desk.logger.debug({ err: error }, `no evidence of the holder's death can be had: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** A renewal is overdue: before, there is nothing to ask the cluster for. */
  #missed(): boolean {
    const { readAtMs = 0, lastSameMs = 0 } = this.#view ?? {};
    return lastSameMs - readAtMs >= missedRetries * this.#parts.desk.times.retryPeriodMs;
  }

  async #take(reason: Candidacy["reason"], signal: AbortSignal): Promise<void> {
    const { desk } = this.#parts;
    const from = this.#view?.stored;
    this.#intent = reason;
    this.#tried = true;
    const attempt = desk.attempt();
    const record = takenBy(desk.self, desk.times.leaseMs, attempt.stamp, from);
    try {
      const stored = await desk.call("taking the lease", signal, (inner) =>
        from === undefined ? desk.store.create(record, inner) : desk.store.update(from, record, inner),
      );
      this.#win(stored, attempt.sentMs);
    } catch (error) {
      if (!isKind(error, "conflict")) throw error;
      // Another one was first, or a try of ours whose answer was lost.
      await this.#look(signal);
    }
  }

  #mended(): void {
    if (this.#trouble === undefined) return;
    this.#parts.desk.logger.info({}, "the lease can be read and written again");
    this.#trouble = undefined;
  }

  #win(stored: StoredLease, sentMs: number): void {
    const { desk, changed, wake } = this.#parts;
    const reason = this.#intent;
    const nowMs = desk.clock.monotonicMs();
    const byLease = reason === "LeaseExpired" || reason === "Evidence";
    const fromMs = (byLease ? this.#view?.readAtMs : this.#log.lastAtMs) ?? nowMs;
    const noticedMs = (byLease ? this.#view?.firstSameMs : this.#log.firstEmptyMs) ?? fromMs;
    const detectMs = Math.max(0, noticedMs - fromMs);
    this.#won = { reason, detectMs, leaseMs: Math.max(0, nowMs - fromMs - detectMs) };
    this.#mended();
    desk.logger.info({ reason, transitions: stored.record.transitions }, `took the lease: ${reason}`);
    this.#hold = new LeaseHold(desk, stored, sentMs, () => {
      changed.notify();
      wake.notify();
    });
    changed.notify();
  }

  #verdict(): Verdict | undefined {
    const log = this.#logSays();
    if (this.#view === undefined || log === undefined) return undefined;
    const { desk } = this.#parts;
    return verdictOf(this.#view, log, { self: desk.self, leaseMs: desk.times.leaseMs, jitter: this.#jitter });
  }

  /** Until the log's end was reached nothing is known of who wrote last. */
  #logSays(): LogSays | undefined {
    const { lastEmptyMs, last } = this.#log;
    if (lastEmptyMs === undefined) return undefined;
    const open = candidacyOf(this.#log, this.#watchSettings(), this.#parts.desk.clock.monotonicMs()) !== undefined;
    return { last: last.kind, open, releasedBy: this.#releasedBy, emptyMs: lastEmptyMs };
  }

  #pauseMs(): number {
    const { clock, times } = this.#parts.desk;
    const nowMs = clock.monotonicMs();
    const often = Math.max(1, times.retryPeriodMs / 4);
    if (this.#hold !== undefined) {
      const dueMs = this.#hold.dueMs - nowMs;
      return dueMs > 0 ? Math.min(dueMs, times.retryPeriodMs) : often;
    }
    if (nowMs < this.#quietUntilMs) return Math.max(1, this.#quietUntilMs - nowMs);
    const usual = times.retryPeriodMs * (1 + this.#jitter / 5);
    const verdict = this.#verdict();
    if (verdict === undefined || verdict.may) return usual;
    const dueMs = verdict.dueMs - nowMs;
    return dueMs > 0 && dueMs < usual ? dueMs : usual;
  }

  /** It asked for its candidacy a moment ago: a member that may not stand, or can't read the log, must not keep others from it. */
  #wants(): boolean {
    return this.#parts.desk.clock.monotonicMs() - this.#wantedMs <= this.#wantMs;
  }

  get #wantMs(): number {
    return this.#parts.desk.times.leaseMs / 2;
  }

  #noteRelease(entry: ReadEntry | undefined): void {
    const released = entry?.header.kind === "release";
    this.#releasedBy = released ? entry.header.writer.nonce : undefined;
    if (released) this.#parts.wake.notify();
  }

  #watchSettings(): { readonly member: string; readonly leaseMs: number; readonly jitter: number } {
    return { member: this.#parts.member, leaseMs: this.#parts.desk.times.leaseMs, jitter: this.#jitter };
  }
}
