import type { Member } from "../src/member/member.js";
import { noFaults } from "./network.js";
import { checkDisk } from "./disk-check.js";
import { Faults } from "./faults.js";
import { History } from "./history.js";
import { Ledger } from "./ledger.js";
import { LeaseServer } from "./lease-server.js";
import { Machine, type Surroundings } from "./machine.js";
import { noMutation, type Mutation } from "./mutation.js";
import { checkUntouched } from "./past.js";
import { ObjectStore } from "./object-store.js";
import { dataDirectory, profileOf, type Profile } from "./profile.js";
import { SeededRandom } from "./random.js";
import { Scheduler } from "./scheduler.js";
import { Trace } from "./trace.js";
import { Violation } from "./violation.js";

export interface SimulationSettings {
  readonly seed: number;
  readonly mutation?: Mutation;
  readonly print?: (line: string) => void;
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
/** Rows that must be acknowledged after the last fault. */
const progressRows = 3;

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

class World {
  readonly #seed: number;
  readonly #scheduler = new Scheduler();
  readonly #profile: Profile;
  readonly #trace: Trace;
  readonly #store: ObjectStore;
  readonly #ledger: Ledger;
  readonly #history: History;
  readonly #machines: Machine[] = [];
  readonly #surroundings: Surroundings;
  readonly #faults: Faults;
  #failure: Error | undefined;
  #quiet = false;
  #faultsOver = false;
  readonly #barriers = new Map<Member, "asked" | "done">();

  constructor({ seed, mutation, print }: SimulationSettings) {
    this.#seed = seed;
    const random = new SeededRandom(seed, "simulation");
    const scheduler = this.#scheduler;
    const drawn = profileOf(random.stream("profile"));
    // A bug is looked for where it lies; those of the Lease say so.
    const profile: Profile = mutation === undefined ? drawn : { ...drawn, election: "Log" };
    this.#profile = mutation?.adjust?.(profile) ?? profile;
    this.#trace = new Trace(() => scheduler.nowMs, print);
    const report = (error: unknown): void => {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    };
    this.#store = new ObjectStore((change) => this.#ledger.changed(change));
    this.#ledger = new Ledger({
      store: this.#store,
      trace: this.#trace,
      report,
      nowMs: () => scheduler.nowMs,
      graceMs: this.#profile.retention.graceMs,
    });
    this.#history = new History(
      () => scheduler.nowMs,
      (who) => {
        const { onBucketLoss, election } = this.#profile;
        return (election === "Log" && onBucketLoss === "Hold") || this.#machine(who)?.justThawed === true;
      },
    );
    this.#surroundings = {
      scheduler,
      random,
      profile: this.#profile,
      store: this.#store,
      leases: new LeaseServer(),
      hasEnded: (run) => this.#machines.every((machine) => !machine.runs(run)),
      ledger: this.#ledger,
      history: this.#history,
      trace: this.#trace,
      mutation: mutation ?? noMutation,
      report,
      onExit: (machine) => this.#faults.restart(machine),
      quiet: () => this.#quiet,
      asksAlways: () => this.#faultsOver,
    };
    this.#faults = new Faults({
      scheduler,
      random: random.stream("faults"),
      profile: this.#profile,
      machines: this.#machines,
      addMachine: () => this.#addMachine(),
      mayLose: ({ past }) => past === undefined || this.#ledger.filesAt(this.#ledger.lastSlot).size > 0,
      say: (what) => this.#trace.line("world", what),
    });
    this.#trace.line("world", `seed ${seed}: ${JSON.stringify(this.#profile)}`);
  }

  async run(): Promise<void> {
    this.#begin();
    this.#faults.start();
    if (this.#profile.foreigner) this.#expectForeigner();
    await this.#until("chaos", this.#profile.chaosMs, () => false, true);
    this.#trace.line("world", "the faults end");
    this.#faults.end();
    this.#faultsOver = true;
    for (const { route, apiRoute } of this.#machines) route.faults = apiRoute.faults = noFaults;
    const limitMs = recoveryLeases * this.#profile.leaseMs + recoveryMs;
    const before = this.#history.acknowledgements;
    await this.#until(
      "a primary acknowledges rows again",
      limitMs,
      () => this.#progressed(before) || this.#asksOperator(),
    );
    if (this.#asksOperator()) return;
    this.#quiet = true;
    this.#trace.line("world", "the masters fall quiet");
    await this.#until("all members agree", limitMs, () => this.#agreed());
    this.#trace.line("world", `agreed at slot ${this.#ledger.lastSlot}`);
    this.#checkEnd();
  }

  outcome(violation: Error | undefined): Outcome {
    return {
      seed: this.#seed,
      violation,
      recent: this.#trace.recent,
      traceHash: this.#trace.hash,
      virtualMs: this.#scheduler.nowMs,
      steps: this.#scheduler.steps,
      slots: this.#ledger.lastSlot + 1,
      epochs: this.#ledger.epoch,
      rows: this.#history.written,
      acknowledged: this.#history.acknowledgements,
      opens: this.#history.opens,
      faults: this.#faults.counts,
    };
  }

  async #until(what: string, forMs: number, reached: () => boolean, mayEnd = false): Promise<void> {
    const untilMs = this.#scheduler.nowMs + forMs;
    const end = await this.#scheduler.run(reached, { untilMs, steps: stepsMax }, () => {
      if (this.#failure !== undefined) throw this.#failure;
    });
    if (end === "done" || (mayEnd && end === "late")) return;
    const members = this.#machines.map((machine) => {
      const status = machine.member?.status;
      return `${machine.name}: ${status?.role.role ?? "down"} at ${String(status?.position?.slot)} (${status?.role.reason ?? "-"}; ${status?.trouble ?? "no trouble"})`;
    });
    throw new Violation(
      "Progress",
      `${end} while waiting for: ${what}; the log ends at ${this.#ledger.lastSlot}\n  ${members.join("\n  ")}`,
    );
  }

  #begin(): void {
    const { members, adopts } = this.#profile;
    for (let index = 0; index < members; index++) this.#makeMachine();
    const [first, second] = this.#machines;
    if (adopts !== undefined) {
      first?.givePast(adopts.steps);
      if (adopts.second === "Others") second?.givePast(adopts.steps);
      if (adopts.second === "Copy" && first !== undefined) second?.copyPast(first);
    }
    for (const machine of this.#machines) machine.start();
    if (adopts?.diesAt !== undefined && first !== undefined) this.#faults.dieAt(first, adopts.diesAt);
  }

  #addMachine(foreign = false): void {
    this.#makeMachine(foreign).start();
  }

  #makeMachine(foreign = false): Machine {
    const machine = new Machine(`m${this.#machines.length + 1}`, this.#surroundings, foreign);
    this.#machines.push(machine);
    return machine;
  }

  /** It holds other databases than those that the cluster began with: nobody asked anybody to throw them away. */
  #isStranger({ name, past }: Machine): boolean {
    return past !== undefined && this.#profile.adopts?.second === "Others" && this.#history.adoptedFrom !== name;
  }

  /** Once there is a history: who comes first to an empty bucket makes it his. */
  #expectForeigner(): void {
    this.#scheduler.after(this.#profile.chaosMs / 3, () => {
      if (this.#ledger.lastSlot >= 0) this.#addMachine(true);
    });
  }

  #machine(name: string): Machine | undefined {
    return this.#machines.find((machine) => machine.name === name);
  }

  #progressed(before: number): boolean {
    // Where only one member holds the data nobody else can step in for it.
    this.#faults.mend();
    return this.#history.acknowledgements >= before + progressRows && this.#primaries().length === 1;
  }

  /** What a power failure did to databases of which nothing is in the bucket yet is for their owner to look at; all of it is still there then. */
  #asksOperator(): boolean {
    if (this.#ledger.filesAt(this.#ledger.lastSlot).size > 0) return false;
    const machine = this.#machines.find(({ member }) => member?.status.halt?.code === "AdoptionDamaged");
    if (machine === undefined) return false;
    if (!machine.disk.exists(`${dataDirectory}/.metamaster/quarantine`)) return true;
    throw new Violation("ForeignDataStays", `${machine.name} moved what is nowhere else`);
  }

  #primaries(): Machine[] {
    return this.#machines.filter(({ member }) => member?.roles.state.role === "Primary");
  }

  /** One primary with nothing left to ship, and everybody else at the image that it has. */
  #agreed(): boolean {
    this.#faults.mend();
    const [primary, ...others] = this.#primaries();
    if (primary?.process?.settled !== true || others.length > 0) return false;
    if (!this.#lastBarrier(primary)) return false;
    const last = this.#ledger.filesAt(this.#ledger.lastSlot);
    return this.#machines.every((machine) => {
      if (machine === primary || machine.foreign) return true;
      const status = machine.member?.status;
      if (this.#isStranger(machine)) return status?.halt?.code === "ForeignDatabase";
      return status?.role.role === "Standby" && this.#ledger.filesAt(status.position?.slot ?? -1) === last;
    });
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

  #checkEnd(): void {
    const slot = this.#ledger.lastSlot;
    const files = this.#ledger.filesAt(slot);
    const [primary] = this.#primaries();
    for (const machine of this.#machines) {
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
}
