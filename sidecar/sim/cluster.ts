import type { Member } from "../src/member/member.js";
import { checkDisk } from "./disk-check.js";
import { Faults } from "./faults.js";
import { History } from "./history.js";
import { LeaseServer } from "./lease-server.js";
import { Ledger } from "./ledger.js";
import { Machine, type SeedOrigin, type Surroundings } from "./machine.js";
import type { Mutation } from "./mutation.js";
import { noFaults } from "./network.js";
import { ObjectStore, type Depot, type StoreChange } from "./object-store.js";
import { checkUntouched } from "./past.js";
import { LocalFolders } from "../src/replica/local-folders.js";
import { dataDirectory, type Profile } from "./profile.js";
import { isPurger } from "./removal.js";
import type { SeededRandom } from "./random.js";
import type { Scheduler } from "./scheduler.js";
import type { Trace } from "./trace.js";
import { Violation } from "./violation.js";

/** What all clusters of a simulation share. */
export interface Stage {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly depot: Depot;
  readonly trace: Trace;
  readonly mutation: Mutation;
  readonly report: (error: unknown) => void;
}

export interface ClusterSettings {
  /** "" is the depot's root. */
  readonly prefix: string;
  /** Its machines are called m1, m2, ... */
  readonly letter: string;
  readonly profile: Profile;
  readonly seed?: SeedOrigin;
}

/** How a member says that its cluster is there no more. */
const told: ReadonlySet<string> = new Set(["ClusterDeleted", "ClusterMissing", "ForeignCluster"]);

/** Rows that must be acknowledged after the last fault. */
const progressRows = 3;

/** The machines of one cluster, the prefix of the store that they use, and what is known of both. */
export class Cluster {
  readonly profile: Profile;
  readonly store: ObjectStore;
  readonly ledger: Ledger;
  readonly history: History;
  readonly machines: Machine[] = [];
  readonly faults: Faults;
  readonly leases = new LeaseServer();
  /** Nobody starts these again. */
  readonly retired = new Set<Machine>();
  readonly #letter: string;
  readonly #stage: Stage;
  readonly #surroundings: Surroundings;
  readonly #barriers = new Map<Member, "asked" | "done">();
  /** Masters write no more. */
  quiet = false;
  #faultsOver = false;

  constructor(stage: Stage, { prefix, letter, profile, seed }: ClusterSettings) {
    const { scheduler, random, trace, mutation, report } = stage;
    this.#stage = stage;
    this.#letter = letter;
    this.profile = profile;
    const changed = (change: StoreChange): void => {
      if (!change.who.startsWith(letter) && !isPurger(change.who))
        report(new Violation("SourceStays", `${change.who} ${change.what} ${change.key} of ${prefix}`));
      this.ledger.changed(change);
    };
    this.store = new ObjectStore(changed, stage.depot, prefix);
    this.ledger = new Ledger({
      store: this.store,
      trace,
      report,
      nowMs: () => scheduler.nowMs,
      graceMs: profile.retention.graceMs,
    });
    this.history = new History(
      () => scheduler.nowMs,
      (who) => {
        const { onBucketLoss, election } = profile;
        return (election === "Log" && onBucketLoss === "Hold") || this.#machine(who)?.justThawed === true;
      },
    );
    this.#surroundings = {
      scheduler,
      random,
      profile,
      store: this.store,
      leases: this.leases,
      hasEnded: (run) => this.machines.every((machine) => !machine.runs(run)),
      ledger: this.ledger,
      history: this.history,
      trace,
      mutation,
      report,
      onExit: (machine) => this.faults.restart(machine),
      quiet: () => this.quiet,
      asksAlways: () => this.#faultsOver,
      seed,
      mayStart: (machine) => this.#mayStart(machine),
    };
    this.faults = new Faults({
      scheduler,
      random: random.stream(letter === "m" ? "faults" : `faults of ${letter}`),
      profile,
      machines: this.machines,
      addMachine: () => this.addMachine(),
      mayLose: ({ past }) =>
        !this.#isBeingDeleted && (past === undefined || this.ledger.filesAt(this.ledger.lastSlot).size > 0),
      say: (what) => trace.line("world", what),
    });
  }

  begin(): void {
    const { members, adopts } = this.profile;
    for (let index = 0; index < members; index++) this.makeMachine();
    const [first, second] = this.machines;
    if (adopts !== undefined) {
      first?.givePast(adopts.steps);
      if (adopts.second === "Others") second?.givePast(adopts.steps);
      if (adopts.second === "Copy" && first !== undefined) second?.copyPast(first);
    }
    for (const machine of this.machines) machine.start();
    if (adopts?.diesAt !== undefined && first !== undefined) this.faults.dieAt(first, adopts.diesAt);
  }

  addMachine(foreign = false): void {
    this.makeMachine(foreign).start();
  }

  makeMachine(foreign = false): Machine {
    const machine = new Machine(`${this.#letter}${this.machines.length + 1}`, this.#surroundings, foreign);
    this.machines.push(machine);
    return machine;
  }

  /** Once there is a history: who comes first to an empty bucket makes it his. */
  expectForeigner(): void {
    this.#stage.scheduler.after(this.profile.chaosMs / 3, () => {
      if (this.ledger.lastSlot >= 0) this.addMachine(true);
    });
  }

  endFaults(): void {
    this.faults.end();
    this.#faultsOver = true;
    for (const { route, apiRoute } of this.machines) route.faults = apiRoute.faults = noFaults;
  }

  get primaries(): Machine[] {
    return this.machines.filter(({ member }) => member?.roles.state.role === "Primary");
  }

  /** Since so many acknowledgements. */
  progressed(before: number): boolean {
    // Where only one member holds the data nobody else can step in for it.
    this.faults.mend();
    return this.history.acknowledgements >= before + progressRows && this.primaries.length === 1;
  }

  /** What a power failure did to databases of which nothing is in the bucket yet is for their owner to look at; all of it is still there then. */
  asksOperator(): boolean {
    if (this.ledger.filesAt(this.ledger.lastSlot).size > 0) return false;
    const machine = this.machines.find(({ member }) => member?.status.halt?.code === "AdoptionDamaged");
    if (machine === undefined) return false;
    if (!machine.disk.exists(`${dataDirectory}/.metamaster/quarantine`)) return true;
    throw new Violation("ForeignDataStays", `${machine.name} moved what is nowhere else`);
  }

  /** One primary with nothing left to ship, and everybody else at the image that it has. */
  agreed(): boolean {
    this.faults.mend();
    const [primary, ...others] = this.primaries;
    if (primary?.process?.settled !== true || others.length > 0) return false;
    if (!this.#lastBarrier(primary)) return false;
    const last = this.ledger.filesAt(this.ledger.lastSlot);
    return this.machines.every((machine) => {
      if (machine === primary || machine.foreign) return true;
      const status = machine.member?.status;
      if (this.#isStranger(machine)) return status?.halt?.code === "ForeignDatabase";
      return status?.role.role === "Standby" && this.ledger.filesAt(status.position?.slot ?? -1) === last;
    });
  }

  checkEnd(): void {
    const slot = this.ledger.lastSlot;
    const files = this.ledger.filesAt(slot);
    const [primary] = this.primaries;
    for (const machine of this.machines) {
      const { disk, layout, name, foreign } = machine;
      if (foreign) continue;
      if (machine.past !== undefined && this.#isStranger(machine)) {
        checkUntouched(name, disk, dataDirectory, machine.past);
        continue;
      }
      checkDisk({ disk, layout, who: name, files, slot, how: machine === primary ? "Ahead" : "Followed" });
      const rows = machine.recoverableRows();
      const written = primary?.process?.written;
      if (rows !== written) {
        throw new Violation(
          "NothingIsMissing",
          `${name} would open with ${rows} rows, the primary wrote ${String(written)}`,
        );
      }
    }
  }

  describe(): string {
    const members = this.machines.map((machine) => {
      const status = machine.member?.status;
      return `${machine.name}: ${status?.role.role ?? "down"} at ${String(status?.position?.slot)} (${status?.role.reason ?? "-"}; ${status?.trouble ?? "no trouble"})`;
    });
    return `the log ends at ${this.ledger.lastSlot}\n  ${members.join("\n  ")}`;
  }

  /** What is told to a cluster's members before it is deleted. */
  retire(how: "Stopped" | "Killed"): void {
    for (const machine of this.machines) {
      this.retired.add(machine);
      if (how === "Stopped") machine.stopGracefully();
      else machine.crash();
    }
  }

  /** Who has not yet read which cluster it is must not find the next one. */
  endBeginners(): void {
    for (const machine of this.machines) {
      if (machine.running && machine.member === undefined && !this.#mayStart(machine)) machine.crashSidecar();
    }
  }

  /** Nobody is left who has not noticed that the cluster is gone. */
  get allTold(): boolean {
    return this.machines.every(({ running, member, process, refusal }) => {
      if (process !== undefined) return false;
      if (!running && member === undefined) return true;
      const code = member === undefined ? refusal : member.status.halt?.code;
      return code !== undefined && told.has(code);
    });
  }

  get #isBeingDeleted(): boolean {
    return this.ledger.removal.fencedMs !== undefined;
  }

  /** An empty disk would belong to whatever cluster comes next. */
  #mayStart(machine: Machine): boolean {
    if (this.retired.has(machine)) return false;
    return !this.#isBeingDeleted || machine.disk.exists(new LocalFolders(dataDirectory).state);
  }

  /** It holds other databases than those that the cluster began with: nobody asked anybody to throw them away. */
  #isStranger({ name, past }: Machine): boolean {
    return past !== undefined && this.profile.adopts?.second === "Others" && this.history.adoptedFrom !== name;
  }

  #machine(name: string): Machine | undefined {
    return this.machines.find((machine) => machine.name === name);
  }

  /** What the quiet primary has written is durable. */
  #lastBarrier(primary: Machine): boolean {
    const { member } = primary;
    if (member === undefined) return false;
    const known = this.#barriers.get(member);
    if (known !== undefined) return known === "done";
    this.#barriers.set(member, "asked");
    member.barrier(new AbortController().signal).then(
      () => this.#barriers.set(member, "done"),
      () => this.#barriers.delete(member),
    );
    return false;
  }
}
