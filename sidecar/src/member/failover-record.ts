import type { Clock } from "../base/clock.js";
import type { Candidacy } from "./election/election.js";

/** How a member became primary, and where the time went; milliseconds. Kept, shown by status, printed by the demo. */
export interface FailoverRecord {
  readonly kind: "Start" | "Failover" | "Switchover" | "Resumed";
  /** Why it could claim. */
  readonly cause: Candidacy["reason"];
  /** The member that was primary before; undefined if there was none or it isn't known. */
  readonly from: string | undefined;
  readonly to: string;
  readonly epoch: number;
  /** Slot of the claim. */
  readonly slot: number;
  readonly atWallMs: number;
  /** From the last sign of life of the old primary to noticing its absence. */
  readonly detectMs: number;
  /** From there to being allowed to claim. */
  readonly leaseMs: number;
  /** Following to the very end. */
  readonly drainMs: number;
  readonly claimMs: number;
  /** From the claim to the master's first good health check. */
  readonly openMs: number | undefined;
  /** From there to the first durable bytes of its WAL (or the first barrier). */
  readonly firstWriteMs: number | undefined;
}

const kinds: Readonly<Record<Candidacy["reason"], FailoverRecord["kind"]>> = {
  EmptyHistory: "Start",
  LeaseExpired: "Failover",
  Evidence: "Failover",
  Released: "Switchover",
  OwnEpoch: "Resumed",
};

/** Measures one promotion. */
export class TimeSplit {
  readonly #clock: Clock;
  readonly #candidacy: Candidacy;
  #lastMs: number;
  #drainMs = 0;
  #claimMs = 0;
  #openMs: number | undefined;
  #firstWriteMs: number | undefined;

  constructor(clock: Clock, candidacy: Candidacy) {
    this.#clock = clock;
    this.#candidacy = candidacy;
    this.#lastMs = clock.monotonicMs();
  }

  drained(): void {
    this.#drainMs += this.#lap();
  }

  claimTried(): void {
    this.#claimMs += this.#lap();
  }

  opened(): void {
    this.#openMs ??= this.#lap();
  }

  /** True the first time, once opened. */
  wrote(): boolean {
    if (this.#openMs === undefined || this.#firstWriteMs !== undefined) return false;
    this.#firstWriteMs = this.#lap();
    return true;
  }

  record(who: Pick<FailoverRecord, "from" | "to" | "epoch" | "slot">): FailoverRecord {
    return {
      kind: kinds[this.#candidacy.reason],
      cause: this.#candidacy.reason,
      ...who,
      atWallMs: this.#clock.wallMs(),
      detectMs: this.#candidacy.detectMs,
      leaseMs: this.#candidacy.leaseMs,
      drainMs: this.#drainMs,
      claimMs: this.#claimMs,
      openMs: this.#openMs,
      firstWriteMs: this.#firstWriteMs,
    };
  }

  #lap(): number {
    const nowMs = this.#clock.monotonicMs();
    const lap = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    return lap;
  }
}
