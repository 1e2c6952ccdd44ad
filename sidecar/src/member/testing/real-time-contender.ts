import type { Clock } from "../../base/clock.js";
import { MetaMasterError } from "../../base/errors.js";
import { SystemClock } from "../../base/system-clock.js";
import type { LeaseRecord, LeaseStore, StoredLease } from "../../kube/leases.js";
import type { Election } from "../election/election.js";
import { LogContender } from "./contender.js";
import type { Contender, ElectionWorld } from "./election-contract.js";
import { MemoryLog } from "./memory-log.js";

const patienceMs = 60_000;

/** What a contender does not do while it is frozen: nothing is sent, and of nothing is it told. */
class Gate {
  #closed: PromiseWithResolvers<void> | undefined;

  freeze(): void {
    this.#closed ??= Promise.withResolvers();
  }

  thaw(): void {
    this.#closed?.resolve();
    this.#closed = undefined;
  }

  async pass(): Promise<void> {
    while (this.#closed !== undefined) await this.#closed.promise;
  }
}

class GatedClock implements Clock {
  readonly #clock = new SystemClock();
  readonly #gate: Gate;
  wallOffsetMs = 0;

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  wallMs(): number {
    return this.#clock.wallMs() + this.wallOffsetMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await this.#clock.sleep(ms, signal);
    await this.#gate.pass();
    signal?.throwIfAborted();
  }
}

/** A real lease, behind a contender's own way to it. */
class GatedLeases implements LeaseStore {
  readonly #store: LeaseStore;
  readonly #gate: Gate;
  cutOff = false;

  constructor(store: LeaseStore, gate: Gate) {
    this.#store = store;
    this.#gate = gate;
  }

  read(signal: AbortSignal): Promise<StoredLease | undefined> {
    return this.#gated(() => this.#store.read(signal));
  }

  create(record: LeaseRecord, signal: AbortSignal): Promise<StoredLease> {
    return this.#gated(() => this.#store.create(record, signal));
  }

  update(from: StoredLease, record: LeaseRecord, signal: AbortSignal): Promise<StoredLease> {
    return this.#gated(() => this.#store.update(from, record, signal));
  }

  async #gated<T>(call: () => Promise<T>): Promise<T> {
    await this.#gate.pass();
    if (this.cutOff) throw new MetaMasterError("KubeUnavailable", "transient", "cut off");
    try {
      return await call();
    } finally {
      await this.#gate.pass();
    }
  }
}

class RealTimeContender extends LogContender implements Contender {
  readonly #world: RealTimeElections;
  readonly #gate: Gate;
  readonly #clock: GatedClock;
  readonly #leases: GatedLeases;

  constructor(world: RealTimeElections, name: string, store: LeaseStore, make: MakeElection) {
    const gate = new Gate();
    const clock = new GatedClock(gate);
    const leases = new GatedLeases(store, gate);
    const until = (condition: () => boolean): Promise<void> => world.until(condition);
    const life = { name, clock, log: world.log, bootMs: world.bootMs, until, reservedMs: patienceMs };
    super(life, make(name, leases, clock));
    this.#world = world;
    this.#gate = gate;
    this.#clock = clock;
    this.#leases = leases;
  }

  freeze(): void {
    this.#gate.freeze();
  }

  thaw(): void {
    this.#gate.thaw();
  }

  cutOff(cut: boolean): void {
    this.#leases.cutOff = cut;
    if (cut) this.#world.log.cutOff.add(this.name);
    else this.#world.log.cutOff.delete(this.name);
  }

  stepWall(ms: number): void {
    this.#clock.wallOffsetMs += ms;
  }
}

type MakeElection = (name: string, store: LeaseStore, clock: Clock) => Election;

/** Contenders for a real lease, in real time, over a log in memory. */
export class RealTimeElections implements ElectionWorld {
  readonly leaseMs: number;
  readonly manyLeases = 6;
  readonly log = new MemoryLog(new SystemClock());
  readonly #clock = new SystemClock();
  readonly bootMs = this.#clock.monotonicMs();
  readonly #store: LeaseStore;
  readonly #make: MakeElection;
  readonly #contenders: RealTimeContender[] = [];

  constructor(leaseMs: number, store: LeaseStore, make: MakeElection) {
    this.leaseMs = leaseMs;
    this.#store = store;
    this.#make = make;
  }

  get nowMs(): number {
    return this.#clock.monotonicMs() - this.bootMs;
  }

  contender(name: string): Contender {
    const contender = new RealTimeContender(this, name, this.#store, this.#make);
    this.#contenders.push(contender);
    return contender;
  }

  /** A machine may stand still for seconds: how soon it comes to that is for the simulated worlds to show. */
  async until(condition: () => boolean): Promise<void> {
    const endMs = this.nowMs + patienceMs;
    while (!condition()) {
      if (this.nowMs > endMs) throw new Error(`it did not come to that within ${patienceMs} ms`);
      await this.#clock.sleep(2);
    }
  }

  async pass(ms: number): Promise<void> {
    await this.#clock.sleep(ms);
  }

  close(): void {
    for (const contender of this.#contenders) {
      contender.thaw();
      contender.stop();
      void contender.election.end();
    }
  }
}
