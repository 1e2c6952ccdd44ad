import { hasCode, isKind, messageOf } from "../src/base/errors.js";
import { retrying } from "../src/bucket/retry.js";
import type { Life } from "../src/log/purge/fence.js";
import { purge, type PurgeComponents, type PurgeSettings } from "../src/log/purge/purge.js";
import { surveyPrefix } from "../src/log/purge/survey.js";
import { leaseLife } from "../src/member/election/lease-life.js";
import { SimulatedBucket } from "./bucket.js";
import { MachineClock, SimulatedClock } from "./clock.js";
import type { Cluster, Stage } from "./cluster.js";
import { Incarnation } from "./incarnation.js";
import { SimulatedLeases } from "./lease-server.js";
import type { Route } from "./network.js";
import type { PurgePlan } from "./profile.js";
import type { SeededRandom } from "./random.js";
import { Violation } from "./violation.js";

export interface PurgerParts {
  readonly stage: Stage;
  readonly cluster: Cluster;
  readonly plan: PurgePlan;
  /** It said that somebody lives. */
  readonly onRefused: () => void;
}

const again = { minMs: 50, maxMs: 3000 } as const;

/** `metamaster purge --yes --if-exists`, run until it succeeds: a process that may die at any request. */
export class Purger {
  readonly #parts: PurgerParts;
  readonly #random: SeededRandom;
  readonly #clock: MachineClock;
  readonly route: Route;
  #runs = 0;
  #deathsLeft: number;
  evenIfAlive: boolean;
  /** Of the store's time: the last time that one died, whose last request may still be on its way. */
  diedMs = -Infinity;
  refusals = 0;
  stopped = false;
  done = false;

  constructor(parts: PurgerParts) {
    const { stage, cluster, plan } = parts;
    this.#parts = parts;
    this.#random = stage.random.stream("purge");
    this.#clock = new MachineClock(stage.scheduler, {
      bootMs: this.#random.between(1000, 1_000_000),
      drift: (this.#random.float() - 0.5) * 0.002,
      wallOffsetMs: this.#random.between(-2000, 2000),
    });
    this.route = { faults: cluster.profile.network, state: "open" };
    this.#deathsLeft = plan.deaths;
    this.evenIfAlive = plan.evenIfAlive;
  }

  start(): void {
    if (this.stopped || this.done) return;
    const { scheduler, trace, report } = this.#parts.stage;
    const incarnation = new Incarnation(scheduler, `purge.${++this.#runs}`);
    const random = this.#random.stream(`run ${this.#runs}`);
    trace.line("purge", `starts, run ${this.#runs}${this.evenIfAlive ? ", even if somebody is alive" : ""}`);
    if (this.#deathsLeft-- > 0) {
      incarnation.dieAtOperation(random.between(0, this.#parts.plan.diesWithin), () => {
        trace.line("purge", "DIES");
        incarnation.crash();
        this.diedMs = scheduler.nowMs;
        this.#later();
      });
    }
    void this.#end(incarnation, this.#run(incarnation, random)).catch(report);
  }

  async #end(incarnation: Incarnation, run: Promise<void>): Promise<void> {
    const { trace } = this.#parts.stage;
    try {
      await run;
      if (!incarnation.alive) return;
      trace.line("purge", "is done");
      this.done = true;
    } catch (error) {
      if (!incarnation.alive) return;
      trace.line("purge", messageOf(error));
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const { cluster, onRefused } = this.#parts;
    if (hasCode(error, "ClusterAlive")) {
      this.refusals++;
      if (cluster.ledger.removal.begun) throw new Violation("PurgeEndsEmpty", "refused, though it has begun to delete");
      onRefused();
    } else if (hasCode(error, "HistoryMissing") && cluster.ledger.removal.gone) {
      // What members left that ran on meanwhile; it can't be told whose it is.
      this.done = true;
      return;
    } else if (!hasCode(error, "PurgeIncomplete") && !isKind(error, "transient")) throw error;
    this.#later();
  }

  #later(): void {
    const { scheduler } = this.#parts.stage;
    scheduler.after(this.#random.between(again.minMs, again.maxMs), () => this.start());
  }

  async #run(incarnation: Incarnation, random: SeededRandom): Promise<void> {
    const { stage, cluster, plan } = this.#parts;
    const { scheduler, trace, mutation } = stage;
    const { profile } = cluster;
    const end = { scheduler, machine: this.#clock, incarnation, random: random.stream("bucket"), route: this.route };
    const simulated = new SimulatedBucket({ ...end, store: cluster.store });
    const clock = new SimulatedClock(this.#clock, incarnation);
    let tries = 0;
    const bucket = retrying(mutation.purgeBucket?.(simulated, stage.depot) ?? simulated, {
      clock,
      random,
      policy: {
        attempt: { callMs: 600, minBytesPerSecond: 1_000_000 },
        totalMs: 4 * profile.leaseMs,
        firstPauseMs: 10,
        maxPauseMs: 300,
      },
      onRetry: ({ operation }) => {
        if (operation === "putIfAbsent" || operation === "put" || operation === "delete") tries++;
      },
    });
    const leases = new SimulatedLeases(cluster.leases, { ...end, random: random.stream("api") });
    const life: Life = profile.election === "Log" ? "Log" : async (signal) => leaseLife(await leases.read(signal));
    const { signal } = new AbortController();
    const survey = await surveyPrefix(bucket, signal);
    const settings: PurgeSettings = {
      evenIfAlive: this.evenIfAlive,
      by: "purge",
      leaseMs: profile.leaseMs,
      lookMs: profile.leaseMs / 6,
      settleMs: plan.settleMs,
      parallel: 4,
    };
    const components: PurgeComponents = {
      bucket,
      clock,
      logger: trace.logger("purge"),
      life,
      onDeleted: () => undefined,
      triedAgain: () => tries,
    };
    await purge(
      survey,
      mutation.purgeSettings?.(settings) ?? settings,
      mutation.purgeComponents?.(components) ?? components,
      signal,
    );
  }
}
