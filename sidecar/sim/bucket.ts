import { MetaMasterError } from "../src/base/errors.js";
import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage } from "../src/bucket/bucket.js";
import { bytesSource, readExactly } from "../src/bucket/byte-source.js";
import { never, type Incarnation } from "./incarnation.js";
import type { MachineClock } from "./clock.js";
import type { ObjectStore, StoreView } from "./object-store.js";
import type { SeededRandom } from "./random.js";
import type { Scheduler, Timer } from "./scheduler.js";

/** How the way to the store behaves; shares are of all calls. */
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
  /** The store is asked twice and the second answer is the one that comes. */
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

/** A machine's way to the bucket; the world switches it. */
export interface Route {
  faults: NetworkFaults;
  /** `cut`: nothing arrives. `mute`: requests arrive, answers do not. `refused`: errors at once. */
  state: "open" | "cut" | "mute" | "refused";
}

export interface BucketParts {
  readonly store: ObjectStore;
  readonly scheduler: Scheduler;
  readonly machine: MachineClock;
  readonly incarnation: Incarnation;
  readonly random: SeededRandom;
  readonly route: Route;
}

type Effect<T> = (store: StoreView) => T;

function unavailable(what: string): MetaMasterError {
  return new MetaMasterError("BucketUnavailable", "transient", `${what}: the connection broke.`);
}

/** The store as one process sees it over a bad network. Effects belong to the store: they happen though the caller is gone, frozen or dead. */
export class SimulatedBucket implements Bucket {
  readonly url: string;
  readonly #parts: BucketParts;
  #closed = false;

  constructor(parts: BucketParts) {
    this.url = parts.store.url;
    this.#parts = parts;
  }

  putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
    // Read when it is sent, like any client's: a body that its caller has changed by then is another one.
    return this.#call(`putIfAbsent ${key}`, call, (store) => store.putIfAbsent(key, new Uint8Array(body)));
  }

  async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
    call.signal?.throwIfAborted();
    const bytes = new Uint8Array(await readExactly(source, 0, source.size));
    await this.#call(`put ${key}`, call, (store) => store.put(key, bytesSource(bytes)));
  }

  get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    const { random, route } = this.#parts;
    const flips = random.chance(route.faults.flippedShare);
    const at = random.float();
    const { maxBytes, range } = call;
    return this.#call(`get ${key}`, call, (store) =>
      store.get(key, { maxBytes, range, ...(flips ? { flipAt: at } : {}) }),
    );
  }

  head(key: string, call: CallOptions): Promise<number | undefined> {
    return this.#call(`head ${key}`, call, (store) => store.head(key));
  }

  list(prefix: string, call: ListOptions): Promise<ListPage> {
    const { startAfter, limit } = call;
    return this.#call(`list ${prefix}`, call, (store) => store.list(prefix, { startAfter, limit }), true);
  }

  delete(key: string, call: CallOptions): Promise<void> {
    return this.#call(`delete ${key}`, call, (store) => store.delete(key));
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #call<T>(what: string, call: CallOptions, effect: Effect<Promise<T>>, slow = false): Promise<T> {
    const { incarnation, random, route, store } = this.#parts;
    if (!incarnation.enter()) return never();
    const { signal } = call;
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (this.#closed) {
      return Promise.reject(new MetaMasterError("BucketClosed", "invalid", `The bucket ${this.url} was closed.`));
    }
    const answer = new Answer<T>(this.#parts, what, call);
    const { faults } = route;
    const delayMs = random.float() * (slow ? faults.listDelayMsMax : faults.delayMsMax);
    const fate = this.#fate(faults);
    if (route.state === "cut") return answer.promise;
    if (route.state === "refused" || fate === "failed") {
      answer.later(delayMs, () => answer.fail(unavailable(what)));
      return answer.promise;
    }
    const view = store.as(incarnation.name);
    const arriveMs = fate === "late" ? random.float() * faults.lateMsMax : delayMs;
    const returnMs = random.chance(0.3) ? random.float() * faults.delayMsMax : 0;
    this.#parts.scheduler.after(arriveMs, () => {
      if (fate === "duplicated") effect(view).catch(() => undefined);
      effect(view).then(
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

  #fate(faults: NetworkFaults): "right" | "failed" | "lost" | "late" | "duplicated" {
    let dice = this.#parts.random.float();
    if ((dice -= faults.failedShare) < 0) return "failed";
    if ((dice -= faults.lostAnswerShare) < 0) return "lost";
    if ((dice -= faults.lateShare) < 0) return "late";
    if ((dice -= faults.duplicatedShare) < 0) return "duplicated";
    return "right";
  }
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

  constructor(parts: BucketParts, what: string, call: CallOptions) {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#incarnation = parts.incarnation;
    this.#signal = call.signal;
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    const ms = Math.min(call.deadlineMs ?? Infinity, parts.route.faults.deadlineMs);
    this.#deadline = parts.incarnation.after(parts.machine.virtualMs(ms), () => {
      this.fail(new MetaMasterError("BucketTimeout", "transient", `${what}: no answer within ${ms} ms.`));
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
