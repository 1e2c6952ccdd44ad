import { Cluster, type Stage } from "./cluster.js";
import { purgeStory } from "./purge-story.js";
import type { Play } from "./play.js";
import { noMutation, type Mutation } from "./mutation.js";
import { Depot } from "./object-store.js";
import type { SeedOrigin } from "./machine.js";
import { seedStory } from "./seed-story.js";
import { profileOf, type Family, type Profile } from "./profile.js";
import { SeededRandom } from "./random.js";
import { Scheduler } from "./scheduler.js";
import { Trace } from "./trace.js";
import { Violation } from "./violation.js";

export interface SimulationSettings {
  readonly seed: number;
  readonly mutation?: Mutation;
  readonly print?: (line: string) => void;
  /** Instead of the seed's own. */
  readonly family?: Family | undefined;
}

export interface Outcome {
  readonly seed: number;
  readonly violation: Error | undefined;
  /** The last lines before the violation. */
  readonly recent: readonly string[];
  readonly traceHash: string;
  readonly virtualMs: number;
  readonly steps: number;
  readonly slots: number;
  readonly epochs: number;
  readonly rows: number;
  readonly acknowledged: number;
  readonly opens: number;
  readonly faults: ReadonlyMap<string, number>;
}

const stepsMax = 3_000_000;
/** In leases, and for what has its own pace in milliseconds: from the last fault to a primary that acknowledges, and then to agreement. */
const recoveryLeases = 25;
const recoveryMs = 60_000;

/** Runs one seed: faults for a while, then none; everything is checked all the time, and at the end all members agree. */
export async function simulate(settings: SimulationSettings): Promise<Outcome> {
  const undo = settings.mutation?.install?.();
  const world = new World(settings);
  let violation: Error | undefined;
  try {
    await world.run();
  } catch (error) {
    violation = error instanceof Error ? error : new Error(String(error));
  } finally {
    undo?.();
  }
  return world.outcome(violation);
}

class World implements Play {
  readonly #seed: number;
  readonly #scheduler = new Scheduler();
  readonly profile: Profile;
  readonly #trace: Trace;
  readonly stage: Stage;
  readonly #clusters: Cluster[] = [];
  #failure: Error | undefined;

  constructor({ seed, mutation = noMutation, print, family }: SimulationSettings) {
    this.#seed = seed;
    const random = new SeededRandom(seed, "simulation");
    const scheduler = this.#scheduler;
    // A bug is looked for where it lies; those of the Lease and of other families say so.
    const told = mutation === noMutation ? undefined : (mutation.family ?? "Cluster");
    const drawn = profileOf(random.stream("profile"), family ?? told);
    const profile: Profile = mutation === noMutation ? drawn : { ...drawn, election: "Log" };
    this.profile = mutation.adjust?.(profile) ?? profile;
    this.#trace = new Trace(() => scheduler.nowMs, print);
    const report = (error: unknown): void => {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    };
    this.stage = { scheduler, random, depot: new Depot(), trace: this.#trace, mutation, report };
    this.#trace.line("world", `seed ${seed}: ${JSON.stringify(this.profile)}`);
  }

  async run(): Promise<void> {
    const { family, chaosMs, foreigner } = this.profile;
    if (family === "Purge") return await purgeStory(this);
    if (family === "Seed") return await seedStory(this);
    const cluster = this.addCluster("", "m");
    cluster.begin();
    cluster.faults.start();
    if (foreigner) cluster.expectForeigner();
    await this.until("chaos", chaosMs, () => false, true);
    await this.liveOn(cluster);
  }

  outcome(violation: Error | undefined): Outcome {
    const faults = new Map<string, number>();
    for (const each of this.#clusters) {
      for (const [fault, count] of each.faults.counts) faults.set(fault, (faults.get(fault) ?? 0) + count);
    }
    const sum = (of: (cluster: Cluster) => number): number =>
      this.#clusters.reduce((total, cluster) => total + of(cluster), 0);
    return {
      seed: this.#seed,
      violation,
      recent: this.#trace.recent,
      traceHash: this.#trace.hash,
      virtualMs: this.#scheduler.nowMs,
      steps: this.#scheduler.steps,
      slots: sum(({ ledger }) => ledger.lastSlot + 1),
      epochs: sum(({ ledger }) => ledger.epoch),
      rows: sum(({ history }) => history.written),
      acknowledged: sum(({ history }) => history.acknowledgements),
      opens: sum(({ history }) => history.opens),
      faults,
    };
  }

  addCluster(prefix: string, letter: string, seed?: SeedOrigin): Cluster {
    const cluster = new Cluster(this.stage, {
      prefix,
      letter,
      profile: this.profile,
      ...(seed === undefined ? {} : { seed }),
    });
    this.#clusters.push(cluster);
    return cluster;
  }

  /** From the last fault, at most. */
  get recoveryMs(): number {
    return recoveryLeases * this.profile.leaseMs + recoveryMs;
  }

  /** No more faults: it acknowledges again, and at last all of its members agree. */
  async liveOn(cluster: Cluster): Promise<void> {
    this.#trace.line("world", "the faults end");
    cluster.endFaults();
    const limitMs = this.recoveryMs;
    const before = cluster.history.acknowledgements;
    await this.until(
      "a primary acknowledges rows again",
      limitMs,
      () => cluster.progressed(before) || cluster.asksOperator(),
    );
    if (cluster.asksOperator()) return;
    cluster.quiet = true;
    this.#trace.line("world", "the masters fall quiet");
    await this.until("all members agree", limitMs, () => cluster.agreed());
    this.#trace.line("world", `agreed at slot ${cluster.ledger.lastSlot}`);
    cluster.checkEnd();
  }

  async until(what: string, forMs: number, reached: () => boolean, mayEnd = false): Promise<void> {
    const untilMs = this.#scheduler.nowMs + forMs;
    const end = await this.#scheduler.run(reached, { untilMs, steps: stepsMax }, () => {
      if (this.#failure !== undefined) throw this.#failure;
    });
    if (end === "done" || (mayEnd && end === "late")) return;
    const told = this.#clusters.map((cluster) => cluster.describe());
    throw new Violation("Progress", `${end} while waiting for: ${what}; ${told.join("\n")}`);
  }
}
