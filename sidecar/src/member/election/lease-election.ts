import type { Clock } from "../../base/clock.js";
import type { Logger } from "../../base/log.js";
import type { Random } from "../../base/random.js";
import type { ReadEntry } from "../../formats/entry.js";
import type { LeaseStore } from "../../kube/leases.js";
import type { Appended } from "../../log/log.js";
import { Changes } from "../../base/changes.js";
import type { Candidacy, Election, LeadershipEnd, LeadershipTerm, WatchStart } from "./election.js";
import { LeaseCandidate, type LeaseWitness } from "./lease-candidate.js";
import type { LeaseHold } from "./lease-hold.js";
import { LeaseDesk } from "./lease-parts.js";
import type { Holder } from "./lease-record.js";
import { againMsOf, type LeaseTimes } from "./lease-times.js";
import { pauseOrChange } from "../../base/scope.js";

export interface LeaseElectionSettings extends LeaseTimes {
  readonly member: string;
  /** This run. */
  readonly self: Holder;
}

export interface LeaseElectionComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly store: LeaseStore;
  readonly witness: LeaseWitness;
}

/**
 * The election through a Kubernetes Lease (docs/decisions/0011). The Lease says who should try; a claim still needs an empty look at the log's end sent after it was
 * won, and the claim is what fences. The bucket's troubles don't end leadership here: barriers are merely not acknowledged meanwhile.
 */
export class LeaseElection implements Election {
  readonly changed = new Changes();
  readonly #settings: LeaseElectionSettings;
  readonly #components: LeaseElectionComponents;
  readonly #desk: LeaseDesk;
  readonly #wake = new Changes();
  #candidate: LeaseCandidate | undefined;
  #hold: LeaseHold | undefined;
  #releasing: Promise<boolean> | undefined;

  constructor(settings: LeaseElectionSettings, components: LeaseElectionComponents) {
    this.#settings = settings;
    this.#components = components;
    this.#desk = new LeaseDesk(settings.self, settings, components);
  }

  get trouble(): unknown {
    return this.#hold?.trouble ?? this.#candidate?.trouble;
  }

  begin(start: WatchStart): void {
    const { random, witness } = this.#components;
    const { member } = this.#settings;
    // Where a promotion came to nothing there is one still, and it may hold the lease.
    const before = this.#candidate?.handOver();
    const parts = { desk: this.#desk, random, member, witness, changed: this.changed, wake: this.#wake };
    this.#candidate = new LeaseCandidate(parts, start, before);
  }

  async end(): Promise<void> {
    const candidate = this.#candidate;
    this.#candidate = undefined;
    await candidate?.end();
  }

  observed(entry: ReadEntry, atMs: number): void {
    this.#candidate?.observed(entry, atMs);
  }

  observedEnd(atMs: number): void {
    this.#candidate?.observedEnd(atMs);
  }

  candidacy(nowMs: number): Candidacy | undefined {
    return this.#candidate?.candidacy(nowMs);
  }

  pollDelayMs(nowMs: number): number {
    return this.#candidate?.pollDelayMs(nowMs) ?? this.#settings.retryPeriodMs;
  }

  durable(_appended: Appended): void {
    this.#wake.notify();
  }

  released(): void {
    if (this.#hold !== undefined) this.#releasing ??= this.#hold.release();
  }

  async lead(term: LeadershipTerm, signal: AbortSignal): Promise<LeadershipEnd> {
    const hold = this.#candidate?.handOver()?.hold;
    this.#candidate = undefined;
    this.#hold = hold;
    this.#releasing = undefined;
    try {
      return hold === undefined ? { reason: "LeaseLost" } : await this.#lead(term, hold, signal);
    } finally {
      this.#hold = undefined;
      hold?.close();
      await this.#given();
    }
  }

  /** Others were told of a release, or it runs out. */
  async #given(): Promise<void> {
    await this.#releasing;
  }

  async #lead(term: LeadershipTerm, hold: LeaseHold, signal: AbortSignal): Promise<LeadershipEnd> {
    const { clock } = this.#components;
    for (;;) {
      const since = this.#wake.count;
      if (signal.aborted) return { reason: "Stopped" };
      if (term.writer.fenced !== undefined) return { reason: "Fenced", cause: term.writer.fenced };
      if (hold.lost !== undefined) return { reason: "LeaseLost", cause: hold.lost };
      const nowMs = clock.monotonicMs();
      if (nowMs >= hold.untilMs) return { reason: "LeaseLost", cause: hold.trouble };
      term.extended(hold.provenMs, hold.untilMs, hold.deadMs);
      const may = this.#releasing === undefined && term.mayRenew();
      if (may && nowMs >= hold.dueMs) hold.renew();
      await pauseOrChange(clock, this.#waitMs(hold, nowMs), { changes: this.#wake, since }, signal);
    }
  }

  /** Until the next renewal is due or, while one is under way or may not be sent, a part of the retry period. */
  #waitMs(hold: LeaseHold, nowMs: number): number {
    const { dueMs } = hold;
    const often = againMsOf(this.#settings) / 2;
    const nextMs = dueMs > nowMs && dueMs < hold.untilMs ? dueMs : nowMs + often;
    return Math.max(1, Math.min(nextMs, hold.untilMs) - nowMs);
  }
}
