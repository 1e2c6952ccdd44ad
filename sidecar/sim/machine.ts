import { messageOf, MetaMasterError } from "../src/base/errors.js";
import type { Logger } from "../src/base/log.js";
import type { Member } from "../src/member/member.js";
import type { Layout } from "../src/replica/layout.js";
import { assemble, type Assembled } from "./assembly.js";
import type { Holder } from "../src/member/election/lease-record.js";
import { SimulatedBucket } from "./bucket.js";
import { SimulatedLeases, type LeaseServer } from "./lease-server.js";
import { callOver, type NetworkEnd, type Route } from "./network.js";
import { MachineClock, SimulatedClock } from "./clock.js";
import { Disk } from "./disk.js";
import { checkDisk, type DiskCheck } from "./disk-check.js";
import { SimulatedFileSystem } from "./file-system.js";
import type { History } from "./history.js";
import { Incarnation, never } from "./incarnation.js";
import type { Ledger } from "./ledger.js";
import { ModelMaster } from "./master/model-master.js";
import { MasterProcess } from "./master/process.js";
import { Workload } from "./master/workload.js";
import type { Mutation } from "./mutation.js";
import type { ObjectStore } from "./object-store.js";
import type { SeedSource } from "../src/replica/seed.js";
import { livePast, type Past } from "./past.js";
import { dataDirectory, type Profile } from "./profile.js";
import { foreignView } from "./foreign-view.js";
import type { SeededRandom } from "./random.js";
import type { Scheduler } from "./scheduler.js";
import type { Trace } from "./trace.js";
import { Violation } from "./violation.js";

/** Where a cluster begins. */
export interface SeedOrigin {
  readonly source: SeedSource;
  readonly store: ObjectStore;
  /** For every machine the same. */
  readonly route: Route;
  readonly onSeeded: (machine: Machine) => void;
}

/** What all machines share. */
export interface Surroundings {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly profile: Profile;
  readonly store: ObjectStore;
  readonly leases: LeaseServer;
  /** This run of a sidecar is over, and no master of its machine runs. */
  readonly hasEnded: (run: Holder) => boolean;
  readonly ledger: Ledger;
  readonly history: History;
  readonly trace: Trace;
  readonly mutation: Mutation;
  readonly report: (error: unknown) => void;
  /** A sidecar ended by itself, or because it was told to. */
  readonly onExit: (machine: Machine) => void;
  /** Masters write no more. */
  readonly quiet: () => boolean;
  /** Masters ask for a barrier after every write. */
  readonly asksAlways: () => boolean;
  /** All members have `bootstrapFrom`. */
  readonly seed: SeedOrigin | undefined;
  /** Somebody would start it again. */
  readonly mayStart: (machine: Machine) => boolean;
}

interface Sidecar {
  readonly incarnation: Incarnation;
  readonly master: ModelMaster;
  readonly stop: AbortController;
  readonly nonce: string;
  member: Member | undefined;
}

/** How long a machine that thawed may be late in noticing it: its watchdog and its master wake in any order. */
const wakeMs = 50;

/** Mostly as a time service leaves it; else an hour off, or as after a boot without a battery. */
function wallOffsetMs(random: SeededRandom): number {
  const near = random.between(-2000, 2000);
  return random.chance(0.85) ? near : random.pick([-3_600_000, 3_600_000, -56 * 365 * 86_400_000]);
}

/** One member's machine: a disk, a clock, a way to the bucket, a sidecar process, a watchdog and a master. */
export class Machine {
  readonly name: string;
  readonly foreign: boolean;
  readonly disk: Disk;
  readonly clock: MachineClock;
  readonly route: Route;
  /** To the API server. */
  readonly apiRoute: Route;
  readonly layout: Layout;
  readonly #world: Surroundings;
  readonly #random: SeededRandom;
  #sidecar: Sidecar | undefined;
  #process: { readonly incarnation: Incarnation; readonly run: MasterProcess; readonly epoch: number } | undefined;
  #watchdog: Incarnation;
  #boots = 1;
  #wipes = 0;
  #runs = 0;
  #thawedMs = -Infinity;
  #frozen = false;
  /** The databases are as the last master here left them, half written records and all. */
  #ownTail = false;
  /** What was on the disk before there was a cluster. */
  past: Past | undefined;
  /** Why the last sidecar that could not begin did not. */
  refusal: string | undefined;
  /** What the next SIGKILL to a master here takes. */
  dyingMs = 0;

  /** `foreign`: configured for another cluster, whose identity it sees in this one's bucket. */
  constructor(name: string, world: Surroundings, foreign = false) {
    this.name = name;
    this.foreign = foreign;
    this.#world = world;
    this.#random = world.random.stream(name);
    const { scheduler, profile } = world;
    this.clock = new MachineClock(scheduler, {
      bootMs: this.#random.between(1000, 1_000_000),
      drift: (this.#random.float() - 0.5) * 0.002,
      wallOffsetMs: wallOffsetMs(this.#random),
    });
    this.disk = new Disk(BigInt(this.#random.between(1, 1000)), () => this.clock.wallMs());
    this.disk.makeDirectory(dataDirectory);
    this.disk.syncDirectory("/");
    this.route = { faults: profile.network, state: "open" };
    this.apiRoute = { faults: { ...profile.network, deadlineMs: profile.leaseMs }, state: "open" };
    this.#watchdog = new Incarnation(scheduler, `${name}.watch`);
    this.layout = {
      dataDirectory,
      databases: profile.master.workload.databases.map(({ path, walPath }, index) => ({
        name: `db${index}`,
        path,
        ...(walPath === path ? {} : { walPath }),
      })),
      companions: [
        ...(profile.master.workload.checkpoints ? ["checkpoint/*"] : []),
        ...(profile.master.workload.note ? ["NOTE"] : []),
      ],
    };
  }

  /** Of its pod, which a restart in place leaves as it is. */
  get uid(): string {
    return `${this.name}-${this.#wipes}`;
  }

  /** For the evidence of an end: true also where a master is left. */
  runs({ uid, nonce }: Holder): boolean {
    if (uid !== this.uid) return false;
    return this.#sidecar?.nonce === nonce || this.process !== undefined;
  }

  /** Before the first start. */
  givePast(steps: number): void {
    const { profile, history } = this.#world;
    this.past = livePast(this.disk, profile.master.workload, this.#random.stream("past"), this.name, steps);
    this.#ownTail = true;
    history.existed(this.name, this.past.rows);
  }

  /** The same databases, as somebody copied them. */
  copyPast(from: Machine): void {
    this.disk.copyFrom(from.disk, dataDirectory);
    this.disk.syncAll();
    this.past = from.past;
    this.#ownTail = true;
    this.#world.history.existed(this.name, from.past?.rows ?? []);
  }

  /** So many starts. */
  get starts(): number {
    return this.#runs;
  }

  get running(): boolean {
    return this.#sidecar !== undefined;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  get member(): Member | undefined {
    return this.#sidecar?.member;
  }

  get process(): MasterProcess | undefined {
    return this.#process?.run.exit === undefined ? this.#process?.run : undefined;
  }

  /** Its master may for the moment be late in dying. */
  get justThawed(): boolean {
    return this.#world.scheduler.nowMs - this.#thawedMs < wakeMs;
  }

  start(): void {
    if (this.#sidecar !== undefined || !this.#world.mayStart(this)) return;
    const { scheduler, trace, report } = this.#world;
    const incarnation = new Incarnation(scheduler, `${this.name}.${++this.#runs}`);
    if (this.#frozen) incarnation.freeze();
    const random = this.#random.stream(`run ${this.#runs}`);
    const master: ModelMaster = new ModelMaster({
      incarnation,
      machine: this.clock,
      random: random.stream("master"),
      watchdog: this.#watchdog,
      spawn: (epoch, onExit) => this.#spawn(incarnation, epoch, onExit),
    });
    const sidecar: Sidecar = {
      incarnation,
      master,
      stop: new AbortController(),
      nonce: random.hex(16),
      member: undefined,
    };
    this.#sidecar = sidecar;
    trace.line(this.name, `starts, run ${this.#runs}`);
    incarnation.after(0, () => {
      this.#run(sidecar, random).catch((error: unknown) => {
        if (!incarnation.alive) return;
        // What `main` would print before it exits; whatever started it starts it again.
        const expected = error instanceof MetaMasterError && error.kind !== "corrupt";
        this.refusal = error instanceof MetaMasterError ? error.code : undefined;
        if (expected || sidecar.stop.signal.aborted) this.#exited(sidecar, messageOf(error));
        else report(error);
      });
    });
  }

  /** The sidecar process is killed; its watchdog ends the master. */
  crashSidecar(): void {
    const sidecar = this.#sidecar;
    if (sidecar === undefined) return;
    this.#world.trace.line(this.name, "CRASH of the sidecar");
    this.#sidecar = undefined;
    sidecar.incarnation.crash();
    sidecar.master.sidecarDied();
  }

  /** The sidecar dies before its `operations`-th next use of the disk or the bucket. */
  crashSidecarAt(operations: number, then: () => void): void {
    this.#sidecar?.incarnation.dieAtOperation(operations, () => {
      this.crashSidecar();
      then();
    });
  }

  /** SIGKILL to everything. */
  crash(): void {
    this.crashSidecar();
    this.#process?.run.kill();
  }

  powerFailure(): void {
    this.#world.trace.line(this.name, "POWER FAILURE");
    this.#endAll();
    this.disk.powerFailure(this.#random.stream(`power ${this.#boots}`));
    this.#boots++;
  }

  wipe(): void {
    this.#world.trace.line(this.name, "WIPE");
    this.#endAll();
    this.#wipes += 1;
    this.past = undefined;
    this.disk.wipe();
    this.disk.makeDirectory(dataDirectory);
    this.disk.syncDirectory("/");
  }

  killMaster(): void {
    this.#world.trace.line(this.name, "the master is KILLED");
    this.#process?.run.kill();
  }

  freeze(): void {
    this.#world.trace.line(this.name, "FREEZE");
    this.#frozen = true;
    for (const each of [this.#sidecar?.incarnation, this.#watchdog, this.#process?.incarnation]) each?.freeze();
  }

  freezeSidecar(): void {
    this.#world.trace.line(this.name, "FREEZE of the sidecar alone");
    this.#sidecar?.incarnation.freeze();
  }

  thaw(): void {
    if (this.#frozen) this.#thawedMs = this.#world.scheduler.nowMs;
    this.#frozen = false;
    this.#world.trace.line(this.name, "thaws");
    // In any order: who wakes first is the kernel's choice.
    const all = [this.#watchdog, this.#process?.incarnation, this.#sidecar?.incarnation];
    if (this.#random.chance(0.5)) all.reverse();
    for (const each of all) each?.thaw();
  }

  stopGracefully(): void {
    this.#world.trace.line(this.name, "STOP");
    this.#sidecar?.stop.abort(new Error("SIGTERM"));
  }

  #endAll(): void {
    this.#frozen = false;
    const sidecar = this.#sidecar;
    this.#sidecar = undefined;
    sidecar?.incarnation.crash();
    this.#watchdog.crash();
    this.#watchdog = new Incarnation(this.#world.scheduler, `${this.name}.watch`);
    const process = this.#process;
    this.#process = undefined;
    process?.incarnation.crash();
  }

  async #run(sidecar: Sidecar, random: SeededRandom): Promise<void> {
    const { incarnation, master, nonce, stop } = sidecar;
    const { scheduler, store, profile, trace, mutation, leases, hasEnded, ledger, report } = this.#world;
    const logger: Logger = trace.logger(this.name);
    const api: NetworkEnd = {
      scheduler,
      machine: this.clock,
      incarnation,
      random: random.stream("api"),
      route: this.apiRoute,
    };
    const bucketOf = (of: ObjectStore, stream: string, route: Route): SimulatedBucket =>
      new SimulatedBucket({
        store: of,
        scheduler,
        machine: this.clock,
        incarnation,
        random: random.stream(stream),
        route,
      });
    const bucket = bucketOf(store, "bucket", this.route);
    const { seed } = this.#world;
    const assembled: Assembled = await assemble({
      name: this.name,
      nonce,
      bootId: `boot-${this.#boots}`,
      pid: this.#runs,
      isAlive: (pid) => pid === this.#runs && incarnation.alive,
      profile,
      layout: this.layout,
      clock: new SimulatedClock(this.clock, incarnation),
      random: random.stream("member"),
      fs: new SimulatedFileSystem(this.disk, incarnation, random.stream("files"), profile.files),
      uid: this.uid,
      leases: new SimulatedLeases(leases, api),
      witness: {
        ownMasterEnded: async () => this.process === undefined,
        evidence: (holder, signal) =>
          callOver(api, { what: "asking for a pod", codes: "Kube", signal, effect: async () => hasEnded(holder) }),
      },
      bucket: this.foreign ? foreignView(bucket) : bucket,
      master,
      logger,
      mutation,
      signal: stop.signal,
      seed: seed && { source: seed.source, bucket: bucketOf(seed.store, "source", seed.route) },
      onSeeded: () => {
        if (incarnation.alive) seed?.onSeeded(this);
      },
      onIdle: (slot) => {
        if (incarnation.alive && random.chance(0.3)) this.#check(slot, "Followed");
      },
      onUnproven: () =>
        report(new Violation("ClaimsWhatIsProven", `${this.name} claims in a bucket that was not found safe yet`)),
      onSealed: (slot, ahead) => {
        if (ledger.slot(slot) === undefined)
          report(new Violation("LeadsInTheHistory", `${this.name} leads from slot ${slot}, which is not in it`));
        this.#ownTail = ahead;
        this.#check(slot, ahead ? "Ahead" : "Exact");
      },
    });
    if (!incarnation.alive) return never();
    sidecar.member = assembled.member;
    this.refusal = undefined;
    const end = await assembled.run(stop.signal);
    this.#exited(sidecar, JSON.stringify(end));
  }

  #exited(sidecar: Sidecar, how: string): void {
    this.#world.trace.line(this.name, `the sidecar exits: ${how}`);
    if (this.#sidecar !== sidecar) return;
    this.#sidecar = undefined;
    sidecar.incarnation.crash();
    sidecar.master.sidecarDied();
    this.#world.onExit(this);
  }

  /** How many rows a master would find here; looks only, but for what opening a database does first. */
  recoverableRows(): number {
    const { profile, history } = this.#world;
    const parts = {
      disk: this.disk,
      random: this.#random.stream("look"),
      history,
      who: this.name,
      epoch: 0,
      reopens: true,
    };
    return new Workload(profile.master.workload, parts).look().length;
  }

  /** The disk against the log, folded independently. */
  #check(slot: number, how: DiskCheck["how"]): void {
    const { ledger, report } = this.#world;
    try {
      const { disk, layout, name } = this;
      checkDisk({ disk, layout, who: name, files: ledger.filesAt(slot), slot, how });
    } catch (error) {
      report(error);
    }
  }

  #spawn(
    sidecar: Incarnation,
    epoch: number,
    onExit: ConstructorParameters<typeof MasterProcess>[1]["onExit"],
  ): MasterProcess {
    const { scheduler, history, ledger, trace, profile, report, quiet, asksAlways } = this.#world;
    const incarnation = new Incarnation(scheduler, `${this.name}.master`);
    const random = this.#random.stream(`master ${epoch} ${scheduler.steps}`);
    const reopens = this.#ownTail;
    this.#ownTail = true;
    trace.line(this.name, `the master opens epoch ${epoch}${reopens ? " again" : ""}`);
    const workload = new Workload(profile.master.workload, {
      disk: this.disk,
      random: random.stream("workload"),
      history,
      who: this.name,
      epoch,
      reopens,
    });
    const run: MasterProcess = new MasterProcess(profile.master.process, {
      incarnation,
      random: random.stream("process"),
      workload,
      quiet,
      asksAlways,
      barrier: async () => {
        const member = this.#sidecar?.incarnation === sidecar ? this.#sidecar.member : undefined;
        if (member === undefined || sidecar.frozen) throw new Error("nobody answers");
        const { position } = await member.barrier(new AbortController().signal);
        try {
          ledger.acknowledged(this.name, position);
        } catch (error) {
          report(error);
        }
      },
      acknowledged: (row) => history.acknowledges(this.name, epoch, row),
      report,
      onExit: (exit) => {
        trace.line(this.name, `the master of epoch ${epoch} ended: ${exit.signal ?? exit.code}`);
        if (this.#process?.run === run) this.#process = undefined;
        onExit(exit);
      },
    });
    run.dyingMs = this.dyingMs;
    this.#process = { incarnation, run, epoch };
    if (this.#frozen) incarnation.freeze();
    return run;
  }
}
