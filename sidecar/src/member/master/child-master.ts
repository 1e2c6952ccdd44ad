import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { Writable } from "node:stream";
import type { Clock } from "../../base/clock.js";
import { messageOf, MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import { launchScript } from "./guard-script.js";
import { Guard } from "./guard.js";
import type { Health, HealthProbe } from "./health.js";
import { lockHolders, type LockHolder } from "./lock-holders.js";
import { heldElsewhere, lockedByAnybody } from "./lock-probe.js";
import type { Master, MasterExit } from "./master.js";
import { isSystemError, livingMembers } from "./process-group.js";
import { pause, within } from "../../base/scope.js";

export interface ChildMasterSettings {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** What it inherits. */
  readonly env: NodeJS.ProcessEnv;
  /** Given to it as METAMASTER_URL, METAMASTER_MEMBER and METAMASTER_CLUSTER (and METAMASTER_EPOCH). */
  readonly url: string;
  readonly member: string;
  readonly cluster: string;
  /** Directories whose `LOCK` nobody may hold once it has ended: those of the databases. */
  readonly lockDirectories: readonly string[];
}

export interface ChildMasterComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly probe: HealthProbe;
  /** For tests. */
  readonly system?: Partial<ChildMasterSystem> | undefined;
}

export interface ChildMasterSystem {
  readonly signalGroup: (group: number, signal: NodeJS.Signals) => void;
  readonly livingMembers: (group: number) => readonly number[];
  readonly lockHolders: (directories: readonly string[]) => readonly LockHolder[];
  readonly lockedByAnybody: (paths: readonly string[]) => readonly string[];
}

const startMsMax = 5000;
const lookMs = 20;

interface Run {
  readonly child: ChildProcess;
  readonly group: number;
  readonly exit: Promise<MasterExit>;
  guard: Guard;
  leaseMs: number;
  deadlineMs: number;
  /** SIGTERM was sent: whoever is left of the group is given its time, also after the first process has ended. */
  stopping: boolean;
  /** `kill` was called: it may not be let go, even if its end was not heard of yet. */
  killed: boolean;
}

/**
 * The master as a child of ours (`metamaster run -- COMMAND`), in a process group and session of its own, with a watchdog beside it. Its group is gone when no
 * process in it lives; what left the group (setsid) is out of reach, unless it holds a LOCK. Linux only: it reads /proc.
 */
export class ChildMaster implements Master {
  /** Its watchdog is started with it. */
  readonly hindrance = undefined;
  readonly #settings: ChildMasterSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #probe: HealthProbe;
  readonly #system: ChildMasterSystem;
  #run: Run | undefined;
  /** Of a run whose first process has ended, until nothing of it is left. */
  #remains: Run | undefined;
  #lastExit: MasterExit = { code: undefined, signal: undefined };

  constructor(settings: ChildMasterSettings, components: ChildMasterComponents) {
    if (!existsSync("/proc/locks") || !existsSync("/proc/uptime")) {
      throw new MetaMasterError(
        "PlatformUnsupported",
        "invalid",
        "a master can only be supervised on Linux, with /proc mounted",
      );
    }
    this.#settings = settings;
    this.#clock = components.clock;
    this.#logger = components.logger;
    this.#probe = components.probe;
    this.#system = { signalGroup, livingMembers, lockHolders, lockedByAnybody, ...components.system };
  }

  get running(): boolean {
    return this.#run !== undefined;
  }

  get pid(): number | undefined {
    return this.#run?.group;
  }

  async start(epoch: number, leaseMs: number): Promise<void> {
    if (this.#run !== undefined || this.#remains !== undefined) {
      throw new MetaMasterError("MasterStillRunning", "conflict", "the master has not ended yet");
    }
    this.#checkCommand();
    const deadlineMs = this.#clock.monotonicMs() + leaseMs;
    const child = this.#launch(epoch);
    if (child.pid === undefined) throw await whyNotSpawned(child, this.#settings.command);
    // From here on `kill` finds it: nothing is awaited between the birth of the process and this.
    const exit = Promise.withResolvers<MasterExit>();
    const guard = new Guard(this.#clock, child.pid);
    const run: Run = {
      child,
      group: child.pid,
      exit: exit.promise,
      guard,
      leaseMs,
      deadlineMs,
      stopping: false,
      killed: false,
    };
    this.#run = run;
    child.once("exit", (code, signal) => {
      this.#ended(run, { code: code ?? undefined, signal: signal ?? undefined }, exit.resolve);
    });
    try {
      await this.#withinStart(guard.ready);
    } catch (error) {
      await this.kill(startMsMax);
      throw error;
    }
    if (this.#run !== run || run.killed)
      throw startFailed(this.#settings.command, "it was ended while it was being started");
    guard.extend(run.deadlineMs, run.leaseMs);
    void this.#keepGuard(run, guard);
    goAhead(child);
  }

  extend(fromMs: number, leaseMs: number): void {
    const run = this.#run;
    if (run === undefined) return;
    run.leaseMs = leaseMs;
    run.deadlineMs = fromMs + leaseMs;
    run.guard.extend(run.deadlineMs, leaseMs);
  }

  async healthy(signal: AbortSignal): Promise<Health> {
    if (this.#run === undefined) return { ok: false, reason: "it is not running" };
    try {
      return await this.#probe(signal);
    } catch (error) {
      return { ok: false, reason: messageOf(error) };
    }
  }

  exited(): Promise<MasterExit> {
    return this.#run?.exit ?? Promise.resolve(this.#lastExit);
  }

  async stop(how: {
    readonly graceMs: number;
    readonly killWithinMs: number;
    readonly hurry?: AbortSignal;
  }): Promise<MasterExit> {
    const run = this.#run;
    if (run !== undefined) {
      run.stopping = true;
      this.#system.signalGroup(run.group, "SIGTERM");
      await this.#untilGone(run, how.graceMs, how.hurry ?? new AbortController().signal);
    }
    await this.kill(how.killWithinMs);
    return this.#lastExit;
  }

  async kill(withinMs: number): Promise<void> {
    const run = this.#run ?? this.#remains;
    if (run !== undefined) run.killed = true;
    const untilMs = this.#clock.monotonicMs() + withinMs;
    const never = new AbortController().signal;
    for (;;) {
      const living = run === undefined ? [] : this.#system.livingMembers(run.group);
      if (run !== undefined && living.length > 0) this.#system.signalGroup(run.group, "SIGKILL");
      // The first process is reaped once its exit is told: no zombie, and no number that another process could get.
      const reaped = run === undefined || run !== this.#run;
      const holders = living.length === 0 && reaped ? this.#system.lockHolders(this.#settings.lockDirectories) : [];
      const isSeen = living.length > 0 || !reaped || holders.length > 0;
      const unseen = isSeen ? [] : this.#system.lockedByAnybody(this.#lockFiles());
      if (!isSeen && unseen.length === 0) {
        this.#clear(run);
        return;
      }
      if (this.#clock.monotonicMs() >= untilMs) {
        throw unseen.length > 0 ? heldElsewhere(unseen) : willNotDie(living, holders, withinMs);
      }
      await pause(this.#clock, lookMs, never);
    }
  }

  #lockFiles(): string[] {
    return this.#settings.lockDirectories.map((directory) => join(directory, "LOCK"));
  }

  /** Passes on a signal that means nothing to us (SIGHUP, SIGUSR1 ...), to its first process only. */
  forward(signal: NodeJS.Signals): void {
    this.#run?.child.kill(signal);
  }

  #launch(epoch: number): ChildProcess {
    const { command, args, cwd, env, url, member, cluster } = this.#settings;
    return spawn("/bin/sh", ["-c", launchScript, "metamaster-launch", command, ...args], {
      cwd,
      detached: true,
      stdio: ["ignore", "inherit", "inherit", "pipe"],
      env: {
        ...env,
        METAMASTER_URL: url,
        METAMASTER_MEMBER: member,
        METAMASTER_CLUSTER: cluster,
        METAMASTER_EPOCH: `${epoch}`,
      },
    });
  }

  /** `exec` in the launcher would say it too, but only on the master's own stderr. */
  #checkCommand(): void {
    const { command, cwd, env } = this.#settings;
    const places = command.includes("/")
      ? [resolve(cwd, command)]
      : (env["PATH"] ?? "").split(delimiter).map((directory) => join(resolve(cwd, directory), command));
    if (!places.some(isExecutable)) throw startFailed(command, "there is no such command, or it may not be executed");
    if (!existsSync(cwd)) throw startFailed(command, `its directory ${cwd} does not exist`);
  }

  async #withinStart(work: Promise<void>): Promise<void> {
    const never = new AbortController().signal;
    await within({ clock: this.#clock, ms: startMsMax, signal: never, what: "starting the watchdog" }, () => work);
  }

  #ended(run: Run, exit: MasterExit, tell: (exit: MasterExit) => void): void {
    if (this.#run !== run) return;
    this.#run = undefined;
    this.#remains = run;
    this.#lastExit = exit;
    // What it left behind would go on writing beside its successor.
    if (this.#system.livingMembers(run.group).length === 0) this.#clear(run);
    else if (!run.stopping) this.#system.signalGroup(run.group, "SIGKILL");
    tell(exit);
  }

  #clear(run: Run | undefined): void {
    if (run === undefined || this.#remains !== run) return;
    this.#remains = undefined;
    run.guard.leave();
  }

  /** A watchdog that somebody killed is replaced; if that can't be done the master must not go on. */
  async #keepGuard(run: Run, guard: Guard): Promise<void> {
    await guard.ended;
    if (this.#run !== run || run.guard !== guard) return;
    this.#logger.warn({ group: run.group }, "the master's watchdog has ended, starting another one");
    const next = new Guard(this.#clock, run.group);
    run.guard = next;
    try {
      await this.#withinStart(next.ready);
      next.extend(run.deadlineMs, run.leaseMs);
      void this.#keepGuard(run, next);
    } catch (error) {
      this.#logger.error({ err: error }, `the master runs without a watchdog and is ended: ${messageOf(error)}`);
      this.#system.signalGroup(run.group, "SIGKILL");
    }
  }

  /** Or until `ms` are over or `signal` aborts. */
  async #untilGone(run: Run, ms: number, signal: AbortSignal): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + ms;
    while (this.#run === run || this.#system.livingMembers(run.group).length > 0) {
      if (this.#clock.monotonicMs() >= untilMs) return;
      if (!(await pause(this.#clock, lookMs, signal))) return;
    }
  }
}

function goAhead(child: ChildProcess): void {
  const pipe = child.stdio[3];
  if (!(pipe instanceof Writable)) throw new Error("the launcher has no pipe");
  // It has ended already: its exit says so.
  pipe.on("error", () => undefined);
  pipe.end("go\n");
}

/** The error of a spawn that failed is told by an event. */
function whyNotSpawned(child: ChildProcess, command: string): Promise<MetaMasterError> {
  return new Promise((resolveWith) => {
    child.once("error", (error) => resolveWith(startFailed(command, error.message)));
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** No such group any more: that is what was wanted. Anything else (no permission: a set-user-ID master) must be known. */
function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if (!isSystemError(error, "ESRCH")) throw error;
  }
}

function startFailed(command: string, message: string): MetaMasterError {
  return new MetaMasterError("MasterStartFailed", "invalid", `${command} could not be started: ${message}`, {
    hint: "Check the command after `--` and its permissions.",
    details: { command },
  });
}

function willNotDie(living: readonly number[], holders: readonly LockHolder[], withinMs: number): MetaMasterError {
  const held = holders.map(({ path, pid }) => `${path} is held by process ${pid}`).join("; ");
  const what = living.length > 0 ? `processes ${living.join(", ")} live` : held === "" ? "its end was not told" : held;
  return new MetaMasterError("MasterWillNotDie", "transient", `${withinMs} ms after SIGKILL ${what}`, {
    hint: "A process in uninterruptible sleep needs its device back; one that holds a LOCK must be ended by whoever started it.",
    details: { processes: living.join(" "), locks: held },
  });
}
