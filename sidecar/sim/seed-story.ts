import { CLUSTER_KEY } from "../src/formats/entry.js";
import { SeedFolders } from "../src/replica/seed.js";
import { LocalFolders } from "../src/replica/local-folders.js";
import type { Cluster } from "./cluster.js";
import { Disk } from "./disk.js";
import { localPath } from "./disk-check.js";
import { bytesOf, type Files } from "./fold.js";
import { History } from "./history.js";
import type { Machine } from "./machine.js";
import { Workload } from "./master/workload.js";
import type { Route } from "./network.js";
import type { Play } from "./play.js";
import { dataDirectory, type SeedPlan } from "./profile.js";
import { Purger } from "./purger.js";
import { SeededRandom } from "./random.js";
import { Violation } from "./violation.js";

const from = "meta";
const named = "n1";

/** A cluster begins with the state of another one, which may live on, be away, be damaged or be deleted meanwhile. */
export async function seedStory(play: Play): Promise<void> {
  const { profile } = play;
  const plan = profile.seed;
  if (plan === undefined) throw new Error("nothing is said of the source");
  const source = play.addCluster(from, "m");
  source.begin();
  source.faults.start();
  await play.until("the source's first days", plan.atMs, () => false, true);
  const hasHistory = (): boolean => source.ledger.filesAt(source.ledger.lastSlot).size > 0;
  await play.until("the source has a history", play.recoveryMs, hasHistory, true);
  if (!hasHistory()) {
    // One member alone, down again and again.
    source.endFaults();
    await play.until("the source has a history, left alone", play.recoveryMs, hasHistory);
  }
  const seeding = new Seeding(play, source, plan);
  const cluster = seeding.begin();
  await play.until("chaos", profile.chaosMs, () => seeding.look(), true);
  seeding.endTrouble();
  source.faults.end();
  source.endFaults();
  source.quiet = true;
  cluster.endFaults();
  await play.until("it has begun, or says why not", play.recoveryMs, () => seeding.isDecided);
  if (seeding.hasBegun) return await play.liveOn(cluster);
  if (seeding.mayFail) return;
  throw new Violation("Progress", `the new cluster does not begin: ${cluster.describe()}`);
}

class Seeding {
  readonly #play: Play;
  readonly #source: Cluster;
  readonly #plan: SeedPlan;
  readonly #random: SeededRandom;
  readonly #route: Route;
  readonly #slot: number | undefined;
  /** Of the source, when the new cluster was made. */
  readonly #newest: number;
  #cluster: Cluster | undefined;
  #deathsLeft: number;
  #seenStarts = 0;
  #mend: () => void = () => undefined;
  /** There may be nothing to begin with, for good. */
  #isSpoilt = false;

  constructor(play: Play, source: Cluster, plan: SeedPlan) {
    this.#play = play;
    this.#source = source;
    this.#plan = plan;
    this.#random = play.stage.random.stream("seeding");
    this.#route = { faults: play.profile.network, state: "open" };
    this.#newest = source.ledger.lastSlot;
    this.#slot = plan.slotShare === undefined ? undefined : Math.floor(plan.slotShare * (this.#newest + 1));
    this.#deathsLeft = plan.deaths;
  }

  begin(): Cluster {
    const { stage } = this.#play;
    const cluster = this.#play.addCluster("copy", "n", {
      source: { member: named, url: `${stage.depot.url}/${from}`, slot: this.#slot },
      store: this.#source.store,
      route: this.#route,
      onSeeded: (machine) => this.#seeded(machine),
    });
    this.#cluster = cluster;
    cluster.history.beginsWithData = true;
    this.#endSource();
    const first = cluster.makeMachine();
    for (let index = 1; index < this.#play.profile.members; index++) cluster.addMachine();
    stage.scheduler.after(this.#plan.lateMs, () => first.start());
    stage.scheduler.after(this.#plan.troubleMs, () => this.#trouble());
    cluster.faults.start();
    return cluster;
  }

  /** Between any two events; never the end. */
  look(): boolean {
    const first = this.#first;
    if (first === undefined || first.starts === this.#seenStarts || !first.running) return false;
    this.#seenStarts = first.starts;
    if (this.#deathsLeft-- <= 0) return false;
    const power = this.#random.chance(this.#plan.powerShare);
    first.crashSidecarAt(this.#random.between(0, this.#plan.diesWithin), () => {
      if (power) first.powerFailure();
      this.#cluster?.faults.restart(first);
    });
    return false;
  }

  endTrouble(): void {
    this.#deathsLeft = 0;
    if (this.#plan.mendMs === undefined && this.#plan.trouble !== "None") this.#isSpoilt = true;
    else this.#mend();
  }

  get hasBegun(): boolean {
    const { ledger } = this.#cluster ?? {};
    return ledger !== undefined && ledger.filesAt(ledger.lastSlot).size > 0;
  }

  /** The source was deleted, is damaged or away for good, or holds no such state (any more). */
  get mayFail(): boolean {
    return this.#isSpoilt || this.#plan.source === "Purged" || this.#slot !== undefined;
  }

  get isDecided(): boolean {
    if (this.hasBegun) return true;
    // It waits, with nobody leading.
    return this.mayFail && this.#play.stage.scheduler.nowMs > this.#waitsUntilMs();
  }

  #waitedFromMs: number | undefined;

  #waitsUntilMs(): number {
    this.#waitedFromMs ??= this.#play.stage.scheduler.nowMs;
    return this.#waitedFromMs + 20 * this.#play.profile.leaseMs;
  }

  get #first(): Machine | undefined {
    return this.#cluster?.machines[0];
  }

  #endSource(): void {
    const { source: how } = this.#plan;
    if (how === "Lives") return;
    this.#source.retire(how === "Killed" ? "Killed" : "Stopped");
    if (how !== "Purged") return;
    const { stage, profile } = this.#play;
    const plan = {
      atMs: 0,
      members: "Stopped",
      revivesMs: undefined,
      evenIfAlive: true,
      refused: "Insist",
      deaths: 0,
      diesWithin: 0,
      settleMs: profile.network.lateMsMax / 10,
      silenceMs: 0,
      again: false,
    } as const;
    const purger = new Purger({ stage, cluster: this.#source, plan, onRefused: () => undefined });
    stage.scheduler.after(this.#random.float() * 2 * profile.leaseMs, () => purger.start());
  }

  #trouble(): void {
    const { trouble, mendMs } = this.#plan;
    const { scheduler, trace } = this.#play.stage;
    if (trouble === "None") return;
    trace.line("world", `the source is ${trouble}`);
    if (trouble === "Away") {
      this.#route.state = this.#random.pick(["cut", "refused", "mute"]);
      this.#mend = () => (this.#route.state = "open");
    } else this.#damage();
    if (mendMs !== undefined) scheduler.after(mendMs, () => this.#mend());
  }

  /** Some objects of it, behind everybody's back. */
  #damage(): void {
    const { objects } = this.#play.stage.depot;
    // Whoever of the source's members started again would report it as well.
    const mine = objects
      .entries()
      .filter(([key, bytes]) => key.startsWith(`${from}/`) && !key.endsWith(CLUSTER_KEY) && bytes.length > 0);
    const undo: (() => void)[] = [];
    for (let count = this.#random.between(1, 5); count > 0 && mine.length > 0; count--) {
      const [key, bytes] = this.#random.pick(mine);
      const damaged = bytes.slice();
      const at = this.#random.between(0, damaged.length - 1);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      objects.poke(key, damaged);
      undo.push(() => {
        if (objects.entries().some(([each, now]) => each === key && now === damaged)) objects.poke(key, bytes);
      });
    }
    this.#mend = () => {
      for (const each of undo.splice(0)) each();
    };
  }

  /** Whose disk now holds the source's state, and which. */
  #seeded(machine: Machine): void {
    const bad = (what: string): Violation => new Violation("BeginsWithTheSource", `${machine.name}: ${what}`);
    const { report, trace } = this.#play.stage;
    const { seeded } = new SeedFolders(new LocalFolders(dataDirectory));
    const { slot } = JSON.parse(Buffer.from(machine.disk.file(seeded).data.view()).toString()) as { slot: number };
    trace.line("world", `${machine.name} holds the source's state at slot ${slot}`);
    const files = this.#source.ledger.filesAt(slot);
    if (machine.name !== named) report(bad("it is not the one that is named"));
    else if (this.#slot === undefined && files !== this.#source.ledger.filesAt(Math.max(slot, this.#newest)))
      report(bad(`slot ${slot} is older than ${this.#newest}, which was there`));
    else if (this.#slot !== undefined && files !== this.#source.ledger.filesAt(this.#slot))
      report(bad(`slot ${slot} is not the state at ${this.#slot}`));
    else this.#cluster?.history.existed(`${machine.name} at ${slot}`, this.#rowsOf(files, machine));
  }

  /** What a master finds in these files. */
  #rowsOf(files: Files, { layout }: Machine): readonly string[] {
    const disk = new Disk(1n, () => 0);
    for (const [name, file] of files) {
      const path = localPath(layout, name);
      const folder = file.kind === "directory" ? path : path.slice(0, path.lastIndexOf("/"));
      disk.makeDirectory(folder);
      if (file.kind !== "directory") disk.append(disk.create(path), bytesOf(file));
    }
    const history = new History(
      () => 0,
      () => false,
    );
    const random = new SeededRandom(1, "look");
    const parts = { disk, history, who: "source", epoch: 0, reopens: true, random };
    return new Workload(this.#play.profile.master.workload, parts).look();
  }
}
