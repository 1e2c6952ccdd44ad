import type { Cluster } from "./cluster.js";
import type { Slot } from "./ledger.js";
import type { Play } from "./play.js";
import type { PurgePlan } from "./profile.js";
import { Purger } from "./purger.js";
import { Violation } from "./violation.js";

const prefix = "meta";
/** Names that begin alike, and one that lies within. */
const neighbours = ["met", "meta2", "meta-old", "meta/other"] as const;
/** Nobody gave these names but a user. Those below `log/` would disturb the members (src/log/testing/purge-contract.ts has them). */
const others = ["cluster.json.bak", "logs/1", "notes/plan.txt", "tables.txt"] as const;

/** A cluster lives through faults, and is deleted meanwhile; another one may come after it. */
export async function purgeStory(play: Play): Promise<void> {
  const { stage, profile } = play;
  const plan = profile.purge;
  if (plan === undefined) throw new Error("nothing is said of the purge");
  const cluster = play.addCluster(prefix, "m");
  cluster.begin();
  cluster.faults.start();
  const deletion = new Deletion(play, cluster, plan);
  stage.scheduler.after(plan.atMs, () => deletion.begin());
  await play.until("chaos", profile.chaosMs + plan.atMs, () => deletion.look(), true);
  if (deletion.givenUp) {
    deletion.checkNeighbours();
    return await play.liveOn(cluster);
  }
  const limitMs = play.recoveryMs + 20 * plan.settleMs;
  await play.until("the purge is done, or given up", limitMs, () => deletion.look());
  if (deletion.givenUp) {
    deletion.checkNeighbours();
    return await play.liveOn(cluster);
  }
  stage.trace.line("world", "the faults end, the cluster is deleted");
  deletion.checkEmpty();
  const next = plan.again ? play.addCluster(prefix, "n") : undefined;
  if (next !== undefined) await deletion.beginAnew(next);
  cluster.endFaults();
  await play.until("all members know that their cluster is gone", play.recoveryMs, () => {
    cluster.faults.mend();
    return cluster.allTold;
  });
  deletion.checkNeighbours();
  if (next === undefined) return;
  if (deletion.isInTheWay)
    await play.until(
      "the next cluster says what is in its way",
      play.recoveryMs,
      () => next.allTold || next.progressed(0),
    );
  else await play.liveOn(next);
  const uid = next.ledger.clusterUid;
  if (uid !== undefined && uid === cluster.ledger.clusterUid)
    throw new Violation("AnotherHistory", `what was begun after the purge has the uid of what was deleted, ${uid}`);
}

/** The deletion of one cluster, and what must become of it. */
class Deletion {
  readonly #play: Play;
  readonly #cluster: Cluster;
  readonly #plan: PurgePlan;
  readonly #purger: Purger;
  #outside: ReadonlyMap<string, Uint8Array> = new Map();
  #fenced = false;
  /** Some member lived on, or came to life, when the end was in the log already. */
  #livedOn = false;
  #saidGoodbye = false;
  #next: Cluster | undefined;
  givenUp = false;
  /** A member of the deleted cluster wrote or deleted something below the next one's prefix. */
  isInTheWay = false;

  constructor(play: Play, cluster: Cluster, plan: PurgePlan) {
    this.#play = play;
    this.#cluster = cluster;
    this.#plan = plan;
    this.#purger = new Purger({ stage: play.stage, cluster, plan, onRefused: () => this.#refused() });
    cluster.ledger.removal.onAfterwards = ({ who, what, key }) => {
      if (this.#next === undefined) return;
      this.isInTheWay = true;
      if (what === "deleted" && this.#next.ledger.knows(key))
        play.stage.report(new Violation("OtherHistoryStays", `${who} deleted ${key}, which is the next cluster's`));
    };
  }

  begin(): void {
    const { scheduler } = this.#play.stage;
    const { members, revivesMs } = this.#plan;
    this.#fillNeighbours();
    if (members !== "Alive") this.#cluster.retire(members);
    if (revivesMs !== undefined) scheduler.after(revivesMs, () => this.#revive());
    this.#purger.start();
  }

  /** Between any two events. True: it has come to its end. */
  look(): boolean {
    const { machines, ledger } = this.#cluster;
    if (ledger.removal.fencedMs !== undefined) {
      if (!this.#fenced) {
        this.#fenced = true;
        this.#checkNobody(ledger.slot(ledger.lastSlot));
      }
      this.#cluster.endBeginners();
      this.#livedOn ||= machines.some(({ running }) => running);
    }
    // It came before there was anything.
    if (this.#purger.done && !this.#fenced) this.#giveUp();
    return this.#purger.done || this.givenUp;
  }

  /** A primary that wrote within its lease, and did not say that it ends, lives. */
  #checkNobody(last: Slot | undefined): void {
    const { leaseMs, election } = this.#play.profile;
    this.#saidGoodbye = last?.entry.header.kind === "release";
    if (last === undefined || this.#saidGoodbye || this.#purger.evenIfAlive || election !== "Log") return;
    const agoMs = this.#play.stage.scheduler.nowMs - last.atMs;
    if (agoMs < leaseMs * 0.98)
      throw new Violation(
        "LivingIsRefused",
        `the log was closed ${agoMs.toFixed(0)} ms after a ${last.entry.header.kind}`,
      );
  }

  checkEmpty(): void {
    const { removal } = this.#cluster.ledger;
    const left = removal.left();
    if (left.length > 0) throw new Violation("PurgeEndsEmpty", `it is done, and ${left.join(", ")} is still there`);
    const [late] = removal.lateKeys;
    if (late !== undefined && !this.#livedOn && !this.#saidGoodbye)
      throw new Violation("PurgeEndsEmpty", `nobody lived, and ${late} landed after it was deleted`);
  }

  async beginAnew(next: Cluster): Promise<void> {
    const { scheduler } = this.#play.stage;
    const { lateMsMax } = this.#play.profile.network;
    // A process that died can't be asked about its last request.
    const landedMs = this.#purger.diedMs + lateMsMax;
    await this.#play.until("all landed", Math.max(0, landedMs - scheduler.nowMs), () => false, true);
    this.isInTheWay = this.#cluster.ledger.removal.lateKeys.length > 0;
    this.#next = next;
    next.begin();
    await this.#play.until("the next cluster's first days", 3 * this.#play.profile.leaseMs, () => false, true);
  }

  checkNeighbours(): void {
    const { objects } = this.#play.stage.depot;
    const now = new Map(objects.entries());
    for (const [key, bytes] of this.#outside) {
      const found = now.get(key);
      if (found === undefined || Buffer.compare(found, bytes) !== 0)
        throw new Violation("OtherPrefixesStay", `${key} is ${found === undefined ? "gone" : "another"}`);
    }
    for (const key of now.keys()) {
      if (!this.#outside.has(key) && !key.startsWith(`${prefix}/`))
        throw new Violation("OtherPrefixesStay", `${key} was added`);
    }
  }

  #fillNeighbours(): void {
    const { objects } = this.#play.stage.depot;
    const own = this.#cluster.store.entries();
    const outside = new Map<string, Uint8Array>();
    const add = (key: string, bytes: Uint8Array): void => {
      objects.poke(key, bytes);
      outside.set(key, bytes);
      if (key.startsWith(`${prefix}/`)) this.#cluster.ledger.removal.leave(key.slice(prefix.length + 1));
    };
    for (const each of neighbours) for (const [key, bytes] of own) add(`${each}/${key}`, bytes.slice());
    for (const key of others) add(`${prefix}/${key}`, Buffer.from("somebody else's"));
    this.#outside = outside;
  }

  #revive(): void {
    const { random, trace } = this.#play.stage;
    const machine = random.stream("revived").pick(this.#cluster.machines);
    trace.line("world", `${machine.name} is started all the same`);
    this.#cluster.retired.delete(machine);
    machine.start();
  }

  /** The cluster goes on as if nothing had been. */
  #giveUp(): void {
    this.givenUp = true;
    this.#purger.stopped = true;
    this.#cluster.retired.clear();
    for (const machine of this.#cluster.machines) machine.start();
  }

  #refused(): void {
    const { refused } = this.#plan;
    const { trace } = this.#play.stage;
    if (this.#fenced) return;
    trace.line("world", `the purge was refused: ${refused}`);
    if (refused === "GiveUp") this.#giveUp();
    else if (refused === "Insist") this.#purger.evenIfAlive = true;
    else this.#cluster.retire("Stopped");
  }
}
