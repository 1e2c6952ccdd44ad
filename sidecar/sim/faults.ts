import type { Machine } from "./machine.js";
import { noFaultWeights, type Fault, type FaultWeights } from "./fault-kinds.js";
import type { Profile } from "./profile.js";
import type { SeededRandom } from "./random.js";
import type { Scheduler } from "./scheduler.js";

export interface FaultParts {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly profile: Profile;
  readonly machines: Machine[];
  readonly addMachine: () => void;
  /** The cluster can live without what this machine's disk holds. */
  readonly mayLose: (machine: Machine) => boolean;
  readonly say: (what: string) => void;
}

const membersMax = 6;

/** Draws faults, one after the other, until it is told to stop; then undoes what is still under way. */
export class Faults {
  readonly #parts: FaultParts;
  readonly #weights: FaultWeights;
  readonly counts = new Map<Fault, number>();
  #over = false;

  constructor(parts: FaultParts) {
    this.#parts = parts;
    const { random } = parts;
    const { faults } = parts.profile;
    const some = (weight: number): number => (random.chance(0.6) ? weight : 0);
    this.#weights = {
      crash: some(3) + 0.1,
      crashSidecar: some(2),
      crashBetween: some(3),
      killMaster: some(3),
      power: some(3),
      freeze: some(2),
      freezeSidecar: some(2),
      wipe: some(1),
      hang: some(1),
      undying: some(0.5),
      stop: some(2),
      switchover: some(2),
      checkpoint: some(2),
      cut: some(2),
      outage: some(1),
      clock: some(1),
      diskFull: some(1),
      scaleOut: some(0.5),
    };
    if (faults !== undefined) this.#weights = { ...noFaultWeights, ...faults };
  }

  start(): void {
    const { scheduler, random, profile } = this.#parts;
    scheduler.after(-Math.log(1 - random.float()) * profile.faultEveryMs, () => {
      if (this.#over) return;
      this.#inject(random.weighted(this.#weights));
      this.start();
    });
  }

  /** No more faults, and everything mended; machines that are down come back. */
  end(): void {
    this.#over = true;
    for (const machine of this.#parts.machines) {
      machine.route.state = "open";
      machine.apiRoute.state = "open";
      machine.disk.capacityBytes = Infinity;
      machine.dyingMs = 0;
      machine.thaw();
      const { process } = machine;
      if (process !== undefined) process.hung = "no";
      machine.start();
    }
  }

  /** The sidecar dies so many operations after its start. */
  dieAt(machine: Machine, operations: number): void {
    machine.crashSidecarAt(operations, () => this.restart(machine));
  }

  /** What an operator does about a machine whose master would not die, once it has. */
  mend(): void {
    for (const { member, process } of this.#parts.machines) {
      if (member?.status.halt?.reason === "MasterWillNotDie" && process === undefined)
        member.resume("MasterWillNotDie");
    }
  }

  /** Starts it again after a while, as an init system would. */
  restart(machine: Machine): void {
    const { scheduler, random, profile } = this.#parts;
    const delayMs = random.chance(0.5) ? 60 + random.float() * 100 : random.float() * profile.pauseMsMax + 60;
    scheduler.after(this.#over ? 100 : delayMs, () => machine.start());
  }

  #inject(fault: Fault): void {
    const { random, machines, say } = this.#parts;
    const primary = machines.find(({ member }) => member?.roles.state.role === "Primary");
    // Half of what happens, happens to the primary.
    const machine = primary !== undefined && random.chance(0.5) ? primary : random.pick(machines);
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
    say(`fault ${fault} at ${machine.name}`);
    this.#one(fault, machine);
  }

  #one(fault: Fault, machine: Machine): void {
    const { random, machines, profile, addMachine } = this.#parts;
    switch (fault) {
      case "crash":
        machine.crash();
        return this.restart(machine);
      case "crashSidecar":
        machine.crashSidecar();
        return this.restart(machine);
      case "crashBetween":
        return machine.crashSidecarAt(random.between(0, 400), () => this.restart(machine));
      case "killMaster":
        return machine.killMaster();
      case "power":
        machine.powerFailure();
        return this.restart(machine);
      case "wipe":
        if (!this.#parts.mayLose(machine)) return undefined;
        machine.wipe();
        return this.restart(machine);
      case "freeze":
        machine.freeze();
        return this.#later(profile.pauseMsMax, () => machine.thaw());
      case "freezeSidecar":
        machine.freezeSidecar();
        return this.#later(profile.pauseMsMax, () => machine.thaw());
      case "hang": {
        const { process } = machine;
        if (process === undefined) return undefined;
        process.hung = random.pick(["silent", "writes"]);
        return this.#later(profile.leaseMs * 4, () => (process.hung = "no"));
      }
      case "undying":
        machine.dyingMs = random.float() * 4 * profile.leaseMs;
        if (machine.process !== undefined) machine.process.dyingMs = machine.dyingMs;
        return this.#later(profile.leaseMs * 6, () => (machine.dyingMs = 0));
      case "stop":
        return machine.stopGracefully();
      case "switchover":
        return this.#switchover(machine);
      case "checkpoint":
        machine.member?.checkpoint("OnDemand", new AbortController().signal).catch(() => undefined);
        return undefined;
      case "cut":
        return this.#cut([machine], random.pick(["cut", "mute", "refused"]), profile.pauseMsMax);
      case "outage":
        return this.#cut(machines, "refused", profile.leaseMs * 2);
      case "clock":
        return machine.clock.stepWall(random.pick([-3_600_000, 3_600_000, -5, 90_000]));
      case "diskFull":
        machine.disk.capacityBytes = machine.disk.usedBytes + random.between(0, 3000);
        return this.#later(profile.leaseMs * 3, () => (machine.disk.capacityBytes = Infinity));
      case "scaleOut":
        if (machines.length < membersMax) addMachine();
        return undefined;
    }
  }

  /** From the bucket; with another election from that, or from both. */
  #cut(machines: readonly Machine[], state: Machine["route"]["state"], msMax: number): void {
    const { profile, random } = this.#parts;
    const from = profile.election === "Log" ? "bucket" : random.pick(["bucket", "api", "both"]);
    const routes = machines.flatMap(({ route, apiRoute }) =>
      from === "bucket" ? [route] : from === "api" ? [apiRoute] : [route, apiRoute],
    );
    for (const route of routes) route.state = state;
    this.#later(msMax, () => {
      for (const route of routes) route.state = "open";
    });
  }

  #switchover(machine: Machine): void {
    const { random, machines } = this.#parts;
    const to = random.chance(0.5) ? random.pick(machines).name : undefined;
    machine.member?.switchover({ to }, new AbortController().signal).catch(() => undefined);
  }

  #later(msMax: number, action: () => void): void {
    const { scheduler, random } = this.#parts;
    scheduler.after(random.float() * msMax, () => {
      if (!this.#over) action();
    });
  }
}
