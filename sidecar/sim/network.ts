import { MetaMasterError } from "../src/base/errors.js";
import { never, type Incarnation } from "./incarnation.js";
import type { MachineClock } from "./clock.js";
import type { SeededRandom } from "./random.js";
import type { Scheduler, Timer } from "./scheduler.js";

/** How the way to a server behaves; shares are of all calls. */
export interface NetworkFaults {
  /** One way, milliseconds, uniform. */
  readonly delayMsMax: number;
  readonly listDelayMsMax: number;
  /** An error is answered and nothing happened. */
  readonly failedShare: number;
  /** It took effect and no answer comes. */
  readonly lostAnswerShare: number;
  /** No answer comes, and it takes effect up to `lateMsMax` later, perhaps long after the caller gave up. */
  readonly lateShare: number;
  readonly lateMsMax: number;
  /** The server is asked twice and the second answer is the one that comes. */
  readonly duplicatedShare: number;
  /** One bit of what is read is wrong; the next reading of that object is right. */
  readonly flippedShare: number;
  /** Milliseconds; for the first byte of an answer, and bodies arrive at once here: a call's own deadline counts only if it is shorter. */
  readonly deadlineMs: number;
}

export const noFaults: NetworkFaults = {
  delayMsMax: 4,
  listDelayMsMax: 8,
  failedShare: 0,
  lostAnswerShare: 0,
  lateShare: 0,
  lateMsMax: 0,
  duplicatedShare: 0,
  flippedShare: 0,
  deadlineMs: 2000,
};

/** A machine's way to a server; the world switches it. */
export interface Route {
  faults: NetworkFaults;
  /** `cut`: nothing arrives. `mute`: requests arrive, answers do not. `refused`: errors at once. */
  state: "open" | "cut" | "mute" | "refused";
}

/** One process's end of the way. */
export interface NetworkEnd {
  readonly scheduler: Scheduler;
  readonly machine: MachineClock;
  readonly incarnation: Incarnation;
  readonly random: SeededRandom;
  readonly route: Route;
}

export interface NetworkCall<T> {
  /** For its errors, whose codes begin with `codes`. */
  readonly what: string;
  readonly codes: "Bucket" | "Kube";
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Takes as long as a listing. */
  readonly slow?: boolean;
  /** What happens at the server: it does, though the caller is gone, frozen or dead. */
  readonly effect: () => Promise<T>;
}

/** One call over a bad network. */
export function callOver<T>(end: NetworkEnd, call: NetworkCall<T>): Promise<T> {
  const { incarnation, random, route, scheduler } = end;
  const { effect } = call;
  if (!incarnation.enter()) return never();
  if (call.signal?.aborted === true) return Promise.reject(call.signal.reason);
  const answer = new Answer<T>(end, call);
  const { faults } = route;
  const delayMs = random.float() * (call.slow === true ? faults.listDelayMsMax : faults.delayMsMax);
  const fate = fateOf(random, faults);
  if (route.state === "cut") return answer.promise;
  if (route.state === "refused" || fate === "failed") {
    answer.later(delayMs, () =>
      answer.fail(new MetaMasterError(`${call.codes}Unavailable`, "transient", `${call.what}: the connection broke.`)),
    );
    return answer.promise;
  }
  const arriveMs = fate === "late" ? random.float() * faults.lateMsMax : delayMs;
  const returnMs = random.chance(0.3) ? random.float() * faults.delayMsMax : 0;
  scheduler.after(arriveMs, () => {
    if (fate === "duplicated") effect().catch(() => undefined);
    effect().then(
      (value) => {
        const heard = fate !== "lost" && fate !== "late" && route.state !== "mute" && route.state !== "cut";
        if (heard) answer.later(returnMs, () => answer.give(value));
        return heard;
      },
      (error: unknown) => answer.later(returnMs, () => answer.fail(error)),
    );
  });
  return answer.promise;
}

function fateOf(random: SeededRandom, faults: NetworkFaults): "right" | "failed" | "lost" | "late" | "duplicated" {
  let dice = random.float();
  if ((dice -= faults.failedShare) < 0) return "failed";
  if ((dice -= faults.lostAnswerShare) < 0) return "lost";
  if ((dice -= faults.lateShare) < 0) return "late";
  if ((dice -= faults.duplicatedShare) < 0) return "duplicated";
  return "right";
}

/** What the caller is told: once, before its deadline, unless it gave up. */
class Answer<T> {
  readonly promise: Promise<T>;
  readonly #incarnation: Incarnation;
  readonly #signal: AbortSignal | undefined;
  readonly #deadline: Timer;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onAbort = (): void => this.fail(this.#signal?.reason);
  #open = true;

  constructor(end: NetworkEnd, call: NetworkCall<T>) {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#incarnation = end.incarnation;
    this.#signal = call.signal;
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    const ms = Math.min(call.deadlineMs ?? Infinity, end.route.faults.deadlineMs);
    this.#deadline = end.incarnation.after(end.machine.virtualMs(ms), () => {
      this.fail(new MetaMasterError(`${call.codes}Timeout`, "transient", `${call.what}: no answer within ${ms} ms.`));
    });
  }

  later(ms: number, action: () => void): void {
    if (ms === 0) this.#incarnation.deliver(action);
    else this.#incarnation.after(ms, action);
  }

  give(value: T): void {
    if (!this.#end()) return;
    this.#resolve(value);
  }

  fail(error: unknown): void {
    if (!this.#end()) return;
    this.#reject(error);
  }

  #end(): boolean {
    if (!this.#open) return false;
    this.#open = false;
    this.#deadline.cancel();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    return true;
  }
}
