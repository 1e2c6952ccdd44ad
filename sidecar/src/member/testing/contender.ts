import { MachineClock, SimulatedClock } from "../../../sim/clock.js";
import { Incarnation } from "../../../sim/incarnation.js";
import { SeededRandom } from "../../../sim/random.js";
import { Scheduler } from "../../../sim/scheduler.js";
import type { Clock } from "../../base/clock.js";
import type { Logger } from "../../base/log.js";
import type { Position, WriterId } from "../../formats/entry.js";
import type { LogWriter } from "../../log/log.js";
import type { Election, LeadershipEnd } from "../election/election.js";
import { LeaderPen } from "../leader-pen.js";
import type { Contender, ElectionWorld } from "./election-contract.js";
import { pauseOrChange } from "../../base/scope.js";
import { MemoryLog, MemoryWriter, memoryClaim, memoryReader } from "./memory-log.js";

export const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** What one run of a contender lives by. */
interface ContenderLife {
  readonly name: string;
  readonly clock: Clock;
  readonly log: MemoryLog;
  /** Of this clock, when the world's was 0. */
  readonly bootMs: number;
  readonly until: (condition: () => boolean) => Promise<void>;
  /** How long a release is reserved for the one it names. */
  readonly reservedMs: number;
}

/** Does what a member does with its election, with nothing to follow and no master. */
export class LogContender {
  readonly name: string;
  readonly election: Election;
  readonly #life: ContenderLife;
  readonly #stop = new AbortController();
  #pen: LeaderPen | undefined;
  #writer: LogWriter | undefined;
  leads = false;
  provenUntilMs: number | undefined;
  deadMs: number | undefined;
  ended: LeadershipEnd | undefined;
  wins = 0;
  mayRenew = true;
  /** The longest lease that the watchdog was given. */
  longestMs = 0;
  /** It stood, and does so no longer. */
  gone: Promise<void> | undefined;

  constructor(life: ContenderLife, election: Election) {
    this.name = life.name;
    this.#life = life;
    this.election = election;
  }

  stand(): void {
    this.gone = this.#run().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) throw error;
    });
  }

  async release(to: string): Promise<void> {
    void this.#pen?.release(to, this.#life.reservedMs, this.#stop.signal).then(() => this.election.released());
    await this.#life.until(() => this.#life.log.last?.header.kind === "release" && this.#pen?.released === true);
    await this.#life.until(() => this.#released);
    this.#stop.abort(new Error("released"));
  }

  stop(): void {
    this.#stop.abort(new Error("stop"));
  }

  /** As if an entry sent `agoMs` ago had just become durable. */
  appended(agoMs: number): void {
    if (!(this.#writer instanceof MemoryWriter)) throw new Error("it doesn't lead");
    const sentMs = this.#life.clock.monotonicMs() - agoMs;
    this.#writer.lastSentMs = sentMs;
    this.election.durable({ position: this.#writer.position, sentMs, size: 1 });
  }

  /** Our own release entry is the last, and was answered. */
  get #released(): boolean {
    const last = this.#life.log.last?.position.slot;
    return last !== undefined && this.#writer?.position.slot === last;
  }

  /** As a standby of member does it. */
  async #run(): Promise<void> {
    const { log, clock } = this.#life;
    const self: WriterId = { member: this.name, nonce: this.name };
    const reader = memoryReader(log, this.name, clock);
    const { signal } = this.#stop;
    let end: Position = { slot: -1, chain: "" };
    let epoch = 0;
    const { election } = this;
    for (let begun = false; ;) {
      const since = election.changed.count;
      const sentMs = clock.monotonicMs();
      const entry = await reader.next(end, signal);
      if (entry !== undefined) {
        end = entry.position;
        epoch = entry.header.epoch;
        if (begun) election.observed(entry, clock.monotonicMs());
        continue;
      }
      const last = log.entries[end.slot];
      if (begun) election.observedEnd(sentMs);
      else election.begin({ slot: end.slot, last, ownEpoch: false, atMs: clock.monotonicMs() });
      begun = true;
      if (election.candidacy(clock.monotonicMs()) !== undefined) {
        const claimed = await memoryClaim(log, self, clock)(end, epoch + 1, signal);
        if (claimed.outcome === "won") {
          await this.#lead(claimed.writer);
          return;
        }
        continue;
      }
      await pauseOrChange(
        clock,
        election.pollDelayMs(clock.monotonicMs()),
        { changes: election.changed, since },
        signal,
      );
    }
  }

  async #lead(writer: LogWriter): Promise<void> {
    this.wins += 1;
    this.leads = true;
    this.#writer = writer;
    this.#pen = new LeaderPen(writer, (_draft, appended) => this.election.durable(appended));
    this.ended = await this.election.lead(
      {
        writer: this.#pen,
        mayRenew: () => this.mayRenew,
        extended: (fromMs, untilMs, deadMs) => {
          this.longestMs = Math.max(this.longestMs, deadMs - fromMs);
          this.provenUntilMs = untilMs - this.#life.bootMs;
          this.deadMs = deadMs - this.#life.bootMs;
        },
      },
      this.#stop.signal,
    );
    this.leads = false;
  }
}

/** A contender on a machine of the simulator. */
export class SimulatedContender extends LogContender implements Contender {
  readonly #world: SimulatedElections;
  readonly machine: MachineClock;
  readonly incarnation: Incarnation;

  constructor(world: SimulatedElections, name: string, place: Place, election: Election) {
    super(
      {
        name,
        clock: place.clock,
        log: world.log,
        bootMs: place.bootMs,
        until: (c) => world.until(c),
        reservedMs: 2000,
      },
      election,
    );
    this.#world = world;
    this.machine = place.machine;
    this.incarnation = place.incarnation;
  }

  freeze(): void {
    this.incarnation.freeze();
  }

  thaw(): void {
    this.incarnation.thaw();
  }

  cutOff(cut: boolean): void {
    this.#world.cutOff(this.name, cut);
  }

  stepWall(ms: number): void {
    this.machine.stepWall(ms);
  }

  crash(): void {
    this.incarnation.crash();
  }
}

export interface Place {
  readonly machine: MachineClock;
  readonly incarnation: Incarnation;
  readonly clock: Clock;
  readonly bootMs: number;
}

/** Contenders on simulated machines over one log in memory. */
export abstract class SimulatedElections implements ElectionWorld {
  readonly leaseMs = 3000;
  readonly manyLeases = 20;
  readonly scheduler = new Scheduler();
  readonly random = new SeededRandom(7, "election");
  readonly log: MemoryLog;
  readonly #contenders: SimulatedContender[] = [];

  constructor() {
    const machine = new MachineClock(this.scheduler, { bootMs: 0, drift: 0, wallOffsetMs: 0 });
    this.log = new MemoryLog(new SimulatedClock(machine, new Incarnation(this.scheduler, "log")));
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  abstract contender(name: string): SimulatedContender;

  cutOff(name: string, cut: boolean): void {
    if (cut) this.log.cutOff.add(name);
    else this.log.cutOff.delete(name);
  }

  async until(condition: () => boolean, limitMs = 60_000): Promise<void> {
    const end = await this.scheduler.run(condition, { untilMs: this.nowMs + limitMs, steps: 200_000 });
    if (end !== "done") throw new Error(`it did not come to that by ${this.nowMs} ms (${end})`);
  }

  async pass(ms: number): Promise<void> {
    await this.scheduler.run(() => false, { untilMs: this.nowMs + ms, steps: 200_000 });
  }

  close(): void {
    for (const contender of this.#contenders) contender.crash();
  }

  /** A machine for a contender. */
  protected place(name: string): Place {
    const bootMs = name.charCodeAt(0) * 1000;
    const machine = new MachineClock(this.scheduler, { bootMs, drift: 0, wallOffsetMs: 0 });
    const incarnation = new Incarnation(this.scheduler, name);
    return { machine, incarnation, clock: new SimulatedClock(machine, incarnation), bootMs };
  }

  protected keep(contender: SimulatedContender): SimulatedContender {
    this.#contenders.push(contender);
    return contender;
  }
}
