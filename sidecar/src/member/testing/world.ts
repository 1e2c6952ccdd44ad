import type { Clock } from "../../base/clock.js";
import type { Logger } from "../../base/log.js";
import type { WriterId } from "../../formats/entry.js";
import { MachineClock, SimulatedClock } from "../../../sim/clock.js";
import { Incarnation } from "../../../sim/incarnation.js";
import { SeededRandom } from "../../../sim/random.js";
import { Scheduler } from "../../../sim/scheduler.js";
import type { MemberComponents, MemberEnd } from "../context.js";
import type { FailoverRecord } from "../failover-record.js";
import type { Halt } from "../halts.js";
import { LogElection } from "../election/log-election.js";
import { Member } from "../member.js";
import type { MemberRecords } from "../records.js";
import { defaultMemberSettings, type MemberSettings } from "../settings.js";
import { memoryClaim, MemoryLog, memoryReader, memoryRollCall } from "./memory-log.js";
import { ModelMaster } from "./model-master.js";
import { ModelDisk, ModelFollower, modelReconcile, ModelShipper, rowsOf } from "./model-replica.js";

/** What a member keeps across restarts. */
class MemoryRecords implements MemberRecords {
  halt: Halt | undefined;
  failovers: readonly FailoverRecord[] = [];
  readonly nonces: string[] = [];

  async readHalt(): Promise<Halt | undefined> {
    return this.halt;
  }

  async writeHalt(halt: Halt): Promise<void> {
    this.halt = halt;
  }

  async clearHalt(): Promise<void> {
    this.halt = undefined;
  }

  async beginRun(nonce: string): Promise<readonly string[]> {
    const earlier = [...this.nonces];
    this.nonces.unshift(nonce);
    return earlier;
  }

  async readFailovers(): Promise<readonly FailoverRecord[]> {
    return this.failovers;
  }

  async writeFailovers(records: readonly FailoverRecord[]): Promise<void> {
    this.failovers = records;
  }
}

/** One machine: its disk and records outlive the process (`start` again after the end or a crash). */
export class Machine {
  readonly name: string;
  readonly disk = new ModelDisk();
  readonly records = new MemoryRecords();
  readonly lines: string[] = [];
  readonly #world: World;
  readonly machineClock: MachineClock;
  incarnation!: Incarnation;
  clock!: Clock;
  master!: ModelMaster;
  member!: Member;
  shipper: ModelShipper | undefined;
  follower: ModelFollower | undefined;
  stop!: AbortController;
  end: MemberEnd | undefined;
  failure: unknown;
  self!: WriterId;
  runs = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
    this.machineClock = new MachineClock(world.scheduler, {
      bootMs: 1000 * (name.charCodeAt(0) % 7),
      drift: 0,
      wallOffsetMs: 0,
    });
  }

  start(settings: Partial<MemberSettings> = {}, override: Partial<MemberComponents> = {}): this {
    const { scheduler, log, random } = this.#world;
    this.runs += 1;
    this.self = { member: this.name, nonce: `${this.name}#${this.runs}` };
    this.incarnation = new Incarnation(scheduler, this.self.nonce);
    this.clock = new SimulatedClock(this.machineClock, this.incarnation);
    this.end = undefined;
    this.stop = new AbortController();
    this.master = new ModelMaster(this.clock);
    this.shipper = undefined;
    const reader = memoryReader(log, this.name, this.clock);
    const full: MemberSettings = { ...defaultMemberSettings({ ...this.self }, this.#world.leaseMs), ...settings };
    const logger = this.#logger();
    const components: MemberComponents = {
      clock: this.clock,
      random: random.stream(this.self.nonce),
      logger,
      records: this.records,
      reader,
      claim: memoryClaim(log, this.self, this.clock),
      proof: { within: async () => true },
      rollCall: memoryRollCall(log, this.name, this.clock),
      election: new LogElection(
        { member: this.name, leaseMs: this.#world.leaseMs, onBucketLoss: this.#world.onBucketLoss },
        { clock: this.clock, random: random.stream(`${this.self.nonce}/election`), logger },
      ),
      master: this.master,
      reconcile: (signal) => modelReconcile(this.disk, reader, signal),
      makeFollower: () => (this.follower = new ModelFollower(this.disk, reader)),
      sealAhead: async (image, position, epoch) => {
        this.disk.ownEpoch = epoch;
        return { ...image, position, epoch };
      },
      makeShipper: ({ writer, image }) =>
        (this.shipper = new ModelShipper(this.disk, image.files.size, writer, this.clock)),
      ...override,
    };
    this.member = new Member(full, components);
    void this.#run(this.member);
    return this;
  }

  async #run(member: Member): Promise<void> {
    try {
      this.end = await member.run(this.stop.signal);
    } catch (error) {
      this.failure = error;
    }
  }

  get role(): string {
    return this.member.roles.state.role;
  }

  get roles(): string[] {
    return this.member.roles.history.map(({ role }) => role);
  }

  /** The process, and the master with it: the watchdog sees to that. */
  crash(): void {
    if (this.runs === 0) return;
    this.incarnation.crash();
    this.master.crash({ code: undefined, signal: "SIGKILL" });
  }

  write(row: string): void {
    if (!this.master.running) throw new Error(`${this.name}'s master does not run`);
    this.disk.rows.push(row);
  }

  #logger(): Logger {
    const at = (level: string) => (fields: object, message: string) => {
      this.lines.push(`${level} ${message}`);
      if (process.env["MEMBER_LOG"] !== undefined) {
        process.stdout.write(
          `${this.#world.scheduler.nowMs.toFixed(0)} ${this.name} ${level} ${message} ${JSON.stringify(fields)}\n`,
        );
      }
    };
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }
}

/** Some machines and one log, in virtual time. */
export class World {
  readonly scheduler = new Scheduler();
  readonly random = new SeededRandom(1, "member-test");
  readonly log: MemoryLog;
  readonly machines = new Map<string, Machine>();
  readonly leaseMs: number;
  onBucketLoss: "Fence" | "Hold" = "Fence";

  constructor(leaseMs = 3000) {
    this.leaseMs = leaseMs;
    const clock = new SimulatedClock(
      new MachineClock(this.scheduler, { bootMs: 0, drift: 0, wallOffsetMs: 0 }),
      new Incarnation(this.scheduler, "world"),
    );
    this.log = new MemoryLog(clock);
  }

  machine(name: string): Machine {
    const machine = this.machines.get(name) ?? new Machine(this, name);
    this.machines.set(name, machine);
    return machine;
  }

  get primaries(): Machine[] {
    return [...this.machines.values()].filter(
      ({ runs, member, incarnation }) => runs > 0 && incarnation.alive && member.roles.state.role === "Primary",
    );
  }

  get rows(): string[] {
    return rowsOf(this.log.entries);
  }

  /** Until `condition`; throws if that isn't so after `limitMs` of virtual time. */
  async until(condition: () => boolean, limitMs = 60_000): Promise<void> {
    const end = await this.scheduler.run(condition, { untilMs: this.scheduler.nowMs + limitMs, steps: 500_000 });
    if (end !== "done") {
      const roles = [...this.machines.values()].map(
        ({ name, member }) => `${name}: ${member.roles.state.role} (${member.roles.state.reason})`,
      );
      throw new Error(`it did not come to that (${end}) by ${this.scheduler.nowMs} ms: ${roles.join(", ")}`);
    }
  }

  async pass(ms: number): Promise<void> {
    await this.scheduler.run(() => false, { untilMs: this.scheduler.nowMs + ms, steps: 500_000 });
  }

  /** Runs virtual time until `work` settles. */
  async settle<T>(work: Promise<T>, limitMs = 60_000): Promise<T> {
    let settled = false;
    const done = work.finally(() => {
      settled = true;
    });
    done.catch(() => undefined);
    await this.until(() => settled, limitMs);
    return await done;
  }

  /** Ends everything that still runs, so that no test leaves a promise behind. */
  close(): void {
    for (const machine of this.machines.values()) machine.crash();
  }
}
