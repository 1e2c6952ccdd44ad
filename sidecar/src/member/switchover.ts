import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import { Changes } from "../base/changes.js";

export interface SwitchoverRequest {
  /** Undefined: whoever comes first. */
  readonly to?: string | undefined;
  /** Refused while more bytes than this are not durable yet. */
  readonly maxLagBytes?: number | undefined;
}

export interface SwitchoverResult {
  /** Who is primary now; this very member if nobody else took over in time. */
  readonly primary: string;
  readonly epoch: number;
  /** Milliseconds: announcing and the checkpoint, while the master still ran ... */
  readonly prepareMs: number;
  /** ... ending the master ... */
  readonly stopMs: number;
  /** ... shipping its tail and the release ... */
  readonly shipMs: number;
  /** ... and from there until the next claim was seen. */
  readonly claimMs: number;
}

/** The one switchover that may be under way, from the request to the next claim. */
export class Switchovers {
  readonly #clock: Clock;
  readonly #changes = new Changes();
  #pending: PendingSwitchover | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get pending(): PendingSwitchover | undefined {
    return this.#pending;
  }

  begin(request: SwitchoverRequest): PendingSwitchover {
    this.#pending = new PendingSwitchover(request, this.#clock);
    this.#changes.notify();
    return this.#pending;
  }

  /** The next request that the primary hasn't taken up. */
  async next(signal: AbortSignal): Promise<PendingSwitchover> {
    for (;;) {
      if (this.#pending !== undefined && !this.#pending.taken) return this.#pending;
      await this.#changes.wait(signal);
    }
  }

  /** Somebody claimed: that ends a switchover whose release is written. */
  claimed(primary: string, epoch: number): void {
    const pending = this.#pending;
    if (pending === undefined || !pending.released) return;
    this.#pending = undefined;
    pending.resolve(primary, epoch);
  }

  /** Leadership ended before the release was written. */
  failUnreleased(error: Error): void {
    if (this.#pending?.released === false) this.fail(error);
  }

  fail(error: Error): void {
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.reject(error);
  }
}

type Lap = "prepareMs" | "stopMs" | "shipMs" | "claimMs";

export class PendingSwitchover {
  readonly request: SwitchoverRequest;
  readonly result: Promise<SwitchoverResult>;
  taken = false;
  released = false;
  readonly #clock: Clock;
  readonly #settle: PromiseWithResolvers<SwitchoverResult>;
  readonly #laps: Record<Lap, number> = { prepareMs: 0, stopMs: 0, shipMs: 0, claimMs: 0 };
  #lastMs: number;

  constructor(request: SwitchoverRequest, clock: Clock) {
    this.request = request;
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
    this.#settle = Promise.withResolvers<SwitchoverResult>();
    this.result = this.#settle.promise;
    // The caller may have gone (its signal aborted) before this is settled.
    this.result.catch(() => undefined);
  }

  lap(name: Lap): void {
    const nowMs = this.#clock.monotonicMs();
    this.#laps[name] += nowMs - this.#lastMs;
    this.#lastMs = nowMs;
  }

  resolve(primary: string, epoch: number): void {
    this.lap("claimMs");
    this.#settle.resolve({ primary, epoch, ...this.#laps });
  }

  reject(error: Error): void {
    this.#settle.reject(error);
  }
}

export function switchoverFailed(message: string, cause?: unknown): MetaMasterError {
  return new MetaMasterError("SwitchoverFailed", "transient", message, {
    ...(cause === undefined ? {} : { cause }),
    hint: "The member's log says more; the cluster goes on by itself. Try again once it is healthy.",
  });
}
