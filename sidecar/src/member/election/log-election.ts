import type { Clock } from "../../base/clock.js";
import { isKind, messageOf } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import type { Random } from "../../base/random.js";
import type { ReadEntry } from "../../formats/entry.js";
import type { Appended } from "../../log/log.js";
import { Changes } from "../../base/changes.js";
import type { Candidacy, Election, LeadershipEnd, LeadershipTerm, WatchStart } from "./election.js";
import {
  beginWatch,
  candidacyOf,
  pollDelayOf,
  seeEnd,
  seeEntry,
  type LeaseWatch,
  type LeaseWatchSettings,
} from "./lease-watch.js";
import { pauseOrChange } from "../../base/scope.js";

export interface LogElectionSettings {
  readonly member: string;
  /** At least 1000. */
  readonly leaseMs: number;
  /** The bucket can't be written for longer than the renew deadline. `Fence`: stop the master; `Hold`: let it run, acknowledge nothing. */
  readonly onBucketLoss: "Fence" | "Hold";
}

export interface LogElectionComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Without a newer durable entry leadership ends this part of a lease after the last one's put was sent ... */
const renewDeadlineOfLease = 2 / 3;
/** ... and the watchdog kills the master here, if this process couldn't: the rest of the lease is for the kill and for clocks that differ. */
const deadOfLease = 5 / 6;
const heartbeatOfLease = 1 / 3;

/** The election through the log itself: needs nothing but the bucket's create-if-absent (docs/decisions/0006). */
export class LogElection implements Election {
  readonly #settings: LogElectionSettings;
  readonly #components: LogElectionComponents;
  readonly changed = new Changes();
  /** The log's own troubles are told by who reads and writes it. */
  readonly trouble = undefined;
  readonly #changes = new Changes();
  #watch: LeaseWatch;
  /** Tells the term what the last durable entry proves; undefined while not leading. */
  #prove: (() => void) | undefined;
  #jitter: number;

  constructor(settings: LogElectionSettings, components: LogElectionComponents) {
    this.#settings = settings;
    this.#components = components;
    this.#jitter = components.random.float();
    this.#watch = beginWatch(
      { slot: 0, last: undefined, ownEpoch: false, atMs: components.clock.monotonicMs() },
      settings.member,
    );
  }

  begin(start: WatchStart): void {
    this.#jitter = this.#components.random.float();
    this.#watch = beginWatch(start, this.#settings.member);
  }

  async end(): Promise<void> {
    // What was won is an entry in the log.
  }

  observed(entry: ReadEntry, atMs: number): void {
    this.#jitter = this.#components.random.float();
    this.#watch = seeEntry(this.#watch, entry, atMs, this.#settings.member);
  }

  observedEnd(atMs: number): void {
    this.#watch = seeEnd(this.#watch, atMs);
  }

  candidacy(nowMs: number): Candidacy | undefined {
    return candidacyOf(this.#watch, this.#watchSettings(), nowMs);
  }

  pollDelayMs(nowMs: number): number {
    return pollDelayOf(this.#watch, this.#watchSettings(), nowMs);
  }

  durable(_appended: Appended): void {
    this.#prove?.();
    this.#changes.notify();
  }

  released(): void {
    // The release entry says it.
  }

  async lead(term: LeadershipTerm, signal: AbortSignal): Promise<LeadershipEnd> {
    this.#prove = () => this.#extend(term, term.writer.lastSentMs);
    try {
      return await this.#lead(term, signal);
    } finally {
      this.#prove = undefined;
    }
  }

  /** `livesFromMs`: what the watchdog counts from; later than what is proven only while held. The lease it is given is never longer than the real one. */
  #extend(term: LeadershipTerm, livesFromMs: number): void {
    const sentMs = term.writer.lastSentMs;
    const { leaseMs } = this.#settings;
    term.extended(livesFromMs, sentMs + leaseMs * renewDeadlineOfLease, livesFromMs + leaseMs * deadOfLease);
  }

  async #lead(term: LeadershipTerm, signal: AbortSignal): Promise<LeadershipEnd> {
    const { clock } = this.#components;
    const { leaseMs } = this.#settings;
    const heartbeats = new Heartbeats(term, signal, this.#changes, this.#components.logger);
    let heldSinceMs: number | undefined;
    for (;;) {
      const since = this.#changes.count;
      if (signal.aborted) return { reason: "Stopped" };
      if (term.writer.fenced !== undefined) return { reason: "Fenced", cause: term.writer.fenced };
      const nowMs = clock.monotonicMs();
      const sentMs = term.writer.lastSentMs;
      const untilMs = sentMs + leaseMs * renewDeadlineOfLease;
      const mayRenew = term.mayRenew();
      if (nowMs >= untilMs && !(mayRenew && this.#settings.onBucketLoss === "Hold")) {
        return { reason: "LeaseLost", cause: heartbeats.trouble ?? term.writer.trouble };
      }
      heldSinceMs = this.#sayHeld(nowMs >= untilMs, heldSinceMs, nowMs);
      this.#extend(term, heldSinceMs === undefined ? sentMs : nowMs);
      if (mayRenew && nowMs >= sentMs + leaseMs * heartbeatOfLease) heartbeats.send(nowMs, leaseMs / 20);
      await pauseOrChange(clock, this.#waitMs(sentMs, nowMs), { changes: this.#changes, since }, signal);
    }
  }

  /** Until the next heartbeat is due, or the lease is over, or (one is under way, or may not be sent) a fraction of the lease. */
  #waitMs(sentMs: number, nowMs: number): number {
    const { leaseMs } = this.#settings;
    const often = leaseMs / 20;
    for (const dueMs of [sentMs + leaseMs * heartbeatOfLease, sentMs + leaseMs * renewDeadlineOfLease]) {
      if (dueMs > nowMs)
        return nowMs > sentMs + leaseMs * heartbeatOfLease ? Math.min(often, dueMs - nowMs) : dueMs - nowMs;
    }
    return often;
  }

  #sayHeld(held: boolean, sinceMs: number | undefined, nowMs: number): number | undefined {
    const { logger } = this.#components;
    if (held && sinceMs === undefined) {
      logger.error(
        { onBucketLoss: "Hold" },
        "the bucket can't be written: leadership is no longer proven. The master is left running (election.onBucketLoss: Hold), no barrier is acknowledged, and what it writes now goes to quarantine if another member has taken over",
      );
      return nowMs;
    }
    if (!held && sinceMs !== undefined) {
      logger.warn(
        { heldMs: Math.round(nowMs - sinceMs) },
        "the bucket can be written again: leadership is proven again",
      );
      return undefined;
    }
    return sinceMs;
  }

  #watchSettings(): LeaseWatchSettings {
    return { member: this.#settings.member, leaseMs: this.#settings.leaseMs, jitter: this.#jitter };
  }
}

/** One heartbeat under way at a time; what goes wrong shows in the writer (fenced) or as time that runs out. */
class Heartbeats {
  readonly #term: LeadershipTerm;
  readonly #signal: AbortSignal;
  readonly #changes: Changes;
  readonly #logger: Logger;
  #underWay = false;
  #notBeforeMs = -Infinity;
  trouble: unknown;

  constructor(term: LeadershipTerm, signal: AbortSignal, changes: Changes, logger: Logger) {
    this.#term = term;
    this.#signal = signal;
    this.#changes = changes;
    this.#logger = logger;
  }

  send(nowMs: number, pauseMs: number): void {
    if (this.#underWay || nowMs < this.#notBeforeMs) return;
    this.#underWay = true;
    this.#notBeforeMs = nowMs + pauseMs;
    void this.#append();
  }

  /** Never rejects. */
  async #append(): Promise<void> {
    try {
      await this.#term.writer.append({ kind: "heartbeat", operations: [], sequences: [], more: false }, this.#signal);
      this.trouble = undefined;
    } catch (error) {
      this.trouble = error;
      if (!this.#signal.aborted && !isKind(error, "fenced")) {
        this.#logger.warn({ err: error }, `a heartbeat could not be written: ${messageOf(error)}`);
      }
    }
    this.#underWay = false;
    this.#changes.notify();
  }
}
