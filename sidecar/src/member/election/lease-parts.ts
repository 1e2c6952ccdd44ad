import type { Clock } from "../../base/clock.js";
import type { Logger } from "../../base/log.js";
import type { LeaseStore } from "../../kube/leases.js";
import { callMsOf, type LeaseTimes } from "./lease-times.js";
import { stampOf, type Holder } from "./lease-record.js";
import { within } from "../../base/scope.js";

/** A writing whose outcome is not known: it may have happened, or still happen. */
export interface Attempt {
  readonly stamp: string;
  /** Monotonic ms. */
  readonly sentMs: number;
}

/** More than can be open at a time; one that was forgotten proves nothing. */
const attemptsMax = 32;

/** What everybody who writes one run's lease shares. */
export class LeaseDesk {
  readonly store: LeaseStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly self: Holder;
  readonly times: LeaseTimes;
  #writings = 0;
  #attempts: Attempt[] = [];

  constructor(
    self: Holder,
    times: LeaseTimes,
    components: { readonly store: LeaseStore; readonly clock: Clock; readonly logger: Logger },
  ) {
    this.self = self;
    this.times = times;
    this.store = components.store;
    this.clock = components.clock;
    this.logger = components.logger;
  }

  /** To be called when a writing is sent. */
  attempt(): Attempt {
    const attempt = { stamp: stampOf(this.clock.wallMs(), this.#writings++), sentMs: this.clock.monotonicMs() };
    this.#attempts = [...this.#attempts.slice(1 - attemptsMax), attempt];
    return attempt;
  }

  /** When what bears this stamp was sent, if this run sent it. */
  sentMs(stamp: string): number | undefined {
    return this.#attempts.find((attempt) => attempt.stamp === stamp)?.sentMs;
  }

  /** One call within its deadline. */
  async call<T>(what: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return await within({ clock: this.clock, ms: callMsOf(this.times), signal, what }, work);
  }
}
