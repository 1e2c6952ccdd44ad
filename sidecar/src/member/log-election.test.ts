import { expect, test } from "@jest/globals";
import { SimulatedClock, MachineClock } from "../../sim/clock.js";
import { Incarnation } from "../../sim/incarnation.js";
import { SeededRandom } from "../../sim/random.js";
import { Scheduler } from "../../sim/scheduler.js";
import type { Logger } from "../base/log.js";
import type { Clock } from "../base/clock.js";
import type { Position, WriterId } from "../formats/entry.js";
import type { LogWriter } from "../log/log.js";
import type { LeadershipEnd } from "./election.js";
import { LeaderPen } from "./leader-pen.js";
import { LogElection } from "./log-election.js";
import { electionContract, type Contender, type ElectionWorld } from "./testing/election-contract.js";
import { MemoryLog, MemoryWriter, memoryClaim, memoryReader } from "./testing/memory-log.js";

const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

class LogContender implements Contender {
  readonly name: string;
  readonly election: LogElection;
  readonly #world: LogWorld;
  readonly #machine: MachineClock;
  readonly #incarnation: Incarnation;
  readonly #clock: Clock;
  #stop = new AbortController();
  #pen: LeaderPen | undefined;
  #writer: LogWriter | undefined;
  leads = false;
  provenUntilMs: number | undefined;
  deadMs: number | undefined;
  ended: LeadershipEnd | undefined;
  wins = 0;
  mayRenew = true;
  readonly #bootMs: number;

  /** The longest lease that the watchdog was given. */
  longestMs = 0;

  constructor(world: LogWorld, name: string, onBucketLoss: "Fence" | "Hold" = "Fence") {
    this.name = name;
    this.#world = world;
    this.#bootMs = name.charCodeAt(0) * 1000;
    this.#machine = new MachineClock(world.scheduler, { bootMs: this.#bootMs, drift: 0, wallOffsetMs: 0 });
    this.#incarnation = new Incarnation(world.scheduler, name);
    this.#clock = new SimulatedClock(this.#machine, this.#incarnation);
    this.election = new LogElection(
      { member: name, leaseMs: world.leaseMs, onBucketLoss },
      { clock: this.#clock, random: world.random.stream(name), logger: silent },
    );
  }

  stand(): void {
    void this.#run();
  }

  async release(to: string): Promise<void> {
    void this.#pen?.release(to, 2000, this.#stop.signal);
    await this.#world.until(() => this.#world.log.last?.header.kind === "release");
    this.#stop.abort(new Error("released"));
  }

  stop(): void {
    this.#stop.abort(new Error("stop"));
  }

  freeze(): void {
    this.#incarnation.freeze();
  }

  thaw(): void {
    this.#incarnation.thaw();
  }

  cutOff(cut: boolean): void {
    if (cut) this.#world.log.cutOff.add(this.name);
    else this.#world.log.cutOff.delete(this.name);
  }

  stepWall(ms: number): void {
    this.#machine.stepWall(ms);
  }

  /** As if an entry sent `agoMs` ago had just become durable. */
  appended(agoMs: number): void {
    if (!(this.#writer instanceof MemoryWriter)) throw new Error("it doesn't lead");
    const sentMs = this.#clock.monotonicMs() - agoMs;
    this.#writer.lastSentMs = sentMs;
    this.election.durable({ position: this.#writer.position, sentMs, size: 1 });
  }

  crash(): void {
    this.#incarnation.crash();
  }

  /** As a standby of member does it, without anything to follow. */
  async #run(): Promise<void> {
    const { log } = this.#world;
    const self: WriterId = { member: this.name, nonce: this.name };
    const reader = memoryReader(log, this.name, this.#clock);
    const { signal } = this.#stop;
    let end: Position = { slot: -1, chain: "" };
    let epoch = 0;
    const { election } = this;
    for (let begun = false; ;) {
      const sentMs = this.#clock.monotonicMs();
      const entry = await reader.next(end, signal);
      if (entry !== undefined) {
        end = entry.position;
        epoch = entry.header.epoch;
        if (begun) election.observed(entry, this.#clock.monotonicMs());
        continue;
      }
      const last = log.entries[end.slot];
      if (begun) election.observedEnd(sentMs);
      else election.begin({ slot: end.slot, last, ownEpoch: false, atMs: this.#clock.monotonicMs() });
      begun = true;
      if (election.candidacy(this.#clock.monotonicMs()) !== undefined) {
        const claimed = await memoryClaim(log, self, this.#clock)(end, epoch + 1, signal);
        if (claimed.outcome === "won") {
          await this.#lead(claimed.writer);
          return;
        }
        continue;
      }
      await this.#clock.sleep(election.pollDelayMs(this.#clock.monotonicMs()), signal);
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
          this.provenUntilMs = untilMs - this.#bootMs;
          this.deadMs = deadMs - this.#bootMs;
        },
      },
      this.#stop.signal,
    );
    this.leads = false;
  }
}

class LogWorld implements ElectionWorld {
  readonly leaseMs = 3000;
  readonly scheduler = new Scheduler();
  readonly random = new SeededRandom(7, "election");
  readonly log: MemoryLog;
  readonly #contenders: LogContender[] = [];

  constructor() {
    const machine = new MachineClock(this.scheduler, { bootMs: 0, drift: 0, wallOffsetMs: 0 });
    this.log = new MemoryLog(new SimulatedClock(machine, new Incarnation(this.scheduler, "log")));
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  contender(name: string, onBucketLoss?: "Fence" | "Hold"): LogContender {
    const contender = new LogContender(this, name, onBucketLoss);
    this.#contenders.push(contender);
    return contender;
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
}

test("what a durable entry proves is told at once: a barrier that waited for it may be answered", async () => {
  const world = new LogWorld();
  const contender = world.contender("a");
  contender.stand();
  await world.until(() => contender.leads);
  await world.pass(world.leaseMs / 6);
  const before = contender.provenUntilMs ?? Infinity;
  contender.appended(5);
  expect(contender.provenUntilMs).toBe(world.nowMs - 5 + (world.leaseMs * 2) / 3);
  expect(contender.provenUntilMs).toBeGreaterThan(before);
  world.close();
});

test("Hold: however long the bucket is away, the watchdog is given the same short lease, anew all the time", async () => {
  const world = new LogWorld();
  const contender = world.contender("a", "Hold");
  contender.stand();
  await world.until(() => contender.leads);
  contender.cutOff(true);
  for (let leases = 0; leases < 100; leases++) {
    await world.pass(world.leaseMs);
    expect(contender.deadMs).toBeGreaterThan(world.nowMs + world.leaseMs / 2);
  }
  expect(contender.leads).toBe(true);
  expect(contender.provenUntilMs).toBeLessThan(world.leaseMs * 2);
  // A watchdog leaves out extensions that are a small part of its lease: of one that began long ago that would be too much.
  expect(contender.longestMs).toBeLessThanOrEqual(world.leaseMs);
  world.close();
});

electionContract("through the log", () => new LogWorld());
