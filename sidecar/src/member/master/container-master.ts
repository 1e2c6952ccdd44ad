import type { Clock } from "../../base/clock.js";
import { messageOf, MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import type { ContainerGuard } from "./container-guard.js";
import { endAll, failureOf, stillThere, victimsOf } from "./container-kill.js";
import { containersOf, rootsOf, type ProcessInfo, type ProcessTable } from "./container-processes.js";
import type { Gate } from "./gate.js";
import type { Health, HealthProbe } from "./health.js";
import type { LockBar } from "./lock-bar.js";
import type { LockHolder } from "./lock-holders.js";
import { heldElsewhere } from "./lock-probe.js";
import type { Master, MasterExit } from "./master.js";
import { pause } from "../../base/scope.js";

export interface ContainerMasterComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly probe: HealthProbe;
  readonly gate: Gate;
  readonly bar: LockBar;
  readonly table: ProcessTable;
  readonly guard: Pick<ContainerGuard, "extend" | "rest" | "acknowledged" | "untilMs" | "absence">;
}

/** How often processes are looked at: the master's while it runs, and those that are to end. */
const lookMs = 100;
const endLookMs = 20;
/** While nobody has opened a database yet: all of it is part of a failover. */
const openLookMs = 50;

/** Nobody tells us how a process that is no child of ours ended. */
const unknownExit: MasterExit = { code: undefined, signal: undefined };

interface Run {
  /** Of the containers that hold a LOCK; empty until one does. */
  processes: readonly ProcessInfo[];
  readonly exit: PromiseWithResolvers<MasterExit>;
}

/**
 * The master as a container beside ours in one pod with a shared process namespace (docs/decisions/0013). The kubelet starts it and starts it again; ours is only
 * whether it can open its databases: `start` opens the gate and takes the bar from the LOCKs, `stop` and `kill` put the bar back and end whoever holds one, with all of its container. It runs
 * from `start` on, and has ended when the processes that held a LOCK have.
 */
export class ContainerMaster implements Master {
  readonly #components: ContainerMasterComponents;
  #run: Run | undefined;
  #living: readonly ProcessInfo[] = [];
  /** How often it was to end: a start that is under way meanwhile must not open anything any more. */
  #ends = 0;

  constructor(components: ContainerMasterComponents) {
    this.#components = components;
  }

  get running(): boolean {
    return this.#run !== undefined;
  }

  get hindrance(): Error | undefined {
    return this.#components.guard.absence;
  }

  async start(_epoch: number, leaseMs: number): Promise<void> {
    // Beside a standby (`gate: RoleAware`) the kubelet has started it, and it may not open anything for writing.
    if (leaseMs === Infinity) return;
    if (this.#run !== undefined)
      throw new MetaMasterError("MasterStillRunning", "conflict", "the master has not ended yet");
    const { bar, gate, guard, clock } = this.#components;
    const ends = this.#ends;
    const deadlineMs = clock.monotonicMs() + leaseMs;
    guard.extend(deadlineMs);
    try {
      await guard.acknowledged(deadlineMs);
    } catch (error) {
      if (this.#ends === ends) guard.rest();
      throw error;
    }
    if (this.#ends !== ends) {
      throw new MetaMasterError("MasterStartFailed", "invalid", "it was ended while it was being started");
    }
    bar.lower();
    const run: Run = { processes: [], exit: Promise.withResolvers<MasterExit>() };
    this.#run = run;
    gate.open();
    void this.#watch(run);
  }

  extend(fromMs: number, leaseMs: number): void {
    if (this.#run === undefined) return;
    this.#components.guard.extend(fromMs + leaseMs);
  }

  async healthy(signal: AbortSignal): Promise<Health> {
    const run = this.#run;
    if (run === undefined) return { ok: false, reason: "it is not running" };
    if (run.processes.length === 0) {
      return { ok: false, reason: "no process holds the LOCK of a database yet: is the master's container starting?" };
    }
    try {
      return await this.#components.probe(signal);
    } catch (error) {
      return { ok: false, reason: messageOf(error) };
    }
  }

  exited(): Promise<MasterExit> {
    return this.#run?.exit.promise ?? Promise.resolve(unknownExit);
  }

  async stop(how: {
    readonly graceMs: number;
    readonly killWithinMs: number;
    readonly hurry?: AbortSignal;
  }): Promise<MasterExit> {
    const { clock } = this.#components;
    this.#close();
    const untilMs = clock.monotonicMs() + how.graceMs;
    const hurry = how.hurry ?? new AbortController().signal;
    if (this.#signal("SIGTERM") > 0) {
      while (this.#victims().length > 0 && clock.monotonicMs() < untilMs) {
        if (!(await pause(clock, endLookMs, hurry))) break;
      }
    }
    await this.kill(how.killWithinMs);
    return unknownExit;
  }

  async kill(withinMs: number): Promise<void> {
    const { clock, bar, guard, table } = this.#components;
    this.#close();
    const untilMs = clock.monotonicMs() + withinMs;
    const never = new AbortController().signal;
    for (;;) {
      const { refused, unbarred } = endAll(this.#living, bar, table);
      const living = this.#victims();
      let { holders } = bar.suspects();
      const unknown = failureOf(() => (holders = bar.holders()));
      const isClear = living.length === 0 && holders.length === 0 && unknown === undefined;
      const unseen = isClear && unbarred === undefined ? bar.heldUnseen() : [];
      const isGone = isClear && unseen.length === 0;
      if (isGone && unbarred === undefined) break;
      if (clock.monotonicMs() >= untilMs) {
        if (isGone) throw notBarred(unbarred);
        throw unseen.length > 0 ? heldElsewhere(unseen) : willNotDie(living, holders, withinMs, refused ?? unknown);
      }
      await pause(clock, endLookMs, never);
    }
    this.#living = [];
    guard.rest();
    this.#ended();
  }

  /** From here on nobody can open a database; false: the bar could not be put up. */
  #close(): boolean {
    const { bar, gate } = this.#components;
    this.#ends += 1;
    gate.close();
    return failureOf(() => bar.raise()) === undefined;
  }

  #ended(): void {
    const run = this.#run;
    this.#run = undefined;
    run?.exit.resolve(unknownExit);
  }

  /** Follows who holds the LOCKs, until they have ended. Never rejects. */
  async #watch(run: Run): Promise<void> {
    const { clock, logger, guard } = this.#components;
    const never = new AbortController().signal;
    let complained = false;
    while (this.#run === run) {
      try {
        if (clock.monotonicMs() >= guard.untilMs ? this.#endUnguarded() : this.#look(run)) return;
        complained = false;
      } catch (error) {
        if (!complained) logger.error({ err: error }, `the master's processes can't be looked at: ${messageOf(error)}`);
        complained = true;
      }
      await pause(clock, run.processes.length === 0 ? openLookMs : lookMs, never);
    }
  }

  /** The watchdog has let it live until now, and no longer, or is gone, and nobody else would end it. True once nobody is left. */
  #endUnguarded(): boolean {
    const { bar, table, guard, logger } = this.#components;
    this.#close();
    const { victims, refused, unbarred } = endAll(this.#living, bar, table);
    if (victims.length === 0 && unbarred === undefined) {
      guard.rest();
      this.#ended();
      return true;
    }
    const why = refused ?? unbarred;
    logger.error(
      { ...(why === undefined ? {} : { err: why }), processes: victims.length },
      "the watchdog has not acknowledged that leadership goes on: the master is killed",
    );
    return false;
  }

  /** True once it has ended. */
  #look(run: Run): boolean {
    const { bar, table } = this.#components;
    const living = stillThere(run.processes, table.all());
    const known = new Set(living.map(({ pid }) => pid));
    const opened = bar.holders().filter(({ pid }) => !known.has(pid));
    if (opened.length > 0) {
      run.processes = containersOf([...known, ...opened.map(({ pid }) => pid)], table);
      this.#living = run.processes;
      return false;
    }
    if (run.processes.length === 0 || living.length > 0) return false;
    // Without the bar it may be started again: the watchdog stays, and whoever ends it next says why.
    if (this.#close()) this.#components.guard.rest();
    this.#ended();
    return true;
  }

  #victims(): ProcessInfo[] {
    const { bar, table } = this.#components;
    return victimsOf(this.#living, bar, table);
  }

  /** To the first process of each container, and to those that hold a LOCK. Returns how many there are. */
  #signal(signal: NodeJS.Signals): number {
    const { table, bar, logger } = this.#components;
    const victims = this.#victims();
    this.#living = victims;
    const holders = new Set(bar.suspects().holders.map(({ pid }) => pid));
    const roots = new Set(rootsOf(victims).map(({ pid }) => pid));
    for (const { pid } of victims) {
      if (!roots.has(pid) && !holders.has(pid)) continue;
      try {
        table.signal(pid, signal);
      } catch (error) {
        logger.error({ err: error, pid }, `process ${pid} can't be sent ${signal}: ${messageOf(error)}`);
      }
    }
    return victims.length;
  }
}

function notBarred(cause: unknown): MetaMasterError {
  return new MetaMasterError(
    "MasterWillNotDie",
    "transient",
    `the master was ended, but its container may be started again and open the databases: ${messageOf(cause)}`,
    {
      cause,
      hint: "The volume takes no write: free space on it or mend it. Nothing is claimed or acknowledged before.",
    },
  );
}

function willNotDie(
  living: readonly ProcessInfo[],
  holders: readonly LockHolder[],
  withinMs: number,
  refused: unknown,
): MetaMasterError {
  const held = holders.map(({ path, pid }) => `${path} is held by process ${pid}`).join("; ");
  const lives =
    living.length === 0
      ? "it can't be told who has a database open"
      : `processes ${living.map(({ pid }) => pid).join(", ")} live`;
  const what = held === "" ? lives : held;
  const why = refused === undefined ? "" : ` (${messageOf(refused)})`;
  return new MetaMasterError("MasterWillNotDie", "transient", `${withinMs} ms after SIGKILL ${what}${why}`, {
    cause: refused,
    hint: "The sidecar must run as the master's user, in a pod with shareProcessNamespace; a process in uninterruptible sleep needs its device back.",
    details: { processes: living.map(({ pid }) => pid).join(" "), locks: held },
  });
}
