/** The user's process as the member sees it: a child of ours outside Kubernetes, a container beside us in a pod, a model in the simulation. */
export interface Master {
  /**
   * Starts it (opens the gate) for this epoch. Resolves once it runs, not once it is healthy; rejects with `MasterStartFailed` (invalid) if it can't be run.
   * `leaseMs`: the watchdog kills it unless `extend` is called again within that time, also if this process is frozen or dead.
   * Infinity: only if this process is dead.
   */
  start(epoch: number, leaseMs: number): Promise<void>;
  /** The master may live `leaseMs` more, counted from monotonic time `fromMs`. Nothing if it isn't running. */
  extend(fromMs: number, leaseMs: number): void;
  /** One probe by the configured check (`exec`, `http`, `tcp`; none: alive is healthy). Never throws. */
  healthy(signal: AbortSignal): Promise<{ readonly ok: boolean; readonly reason: string }>;
  /** Resolves when it has ended by itself or was stopped; at once if it is not running. */
  exited(): Promise<MasterExit>;
  readonly running: boolean;
  /** Why a start would come to nothing now; undefined: nothing of the kind is known. */
  readonly hindrance: Error | undefined;
  /**
   * SIGTERM to its process group, SIGKILL after `graceMs` or once `hurry` aborts; resolves when every process of the group is gone and no one
   * holds a LOCK. Rejects with `MasterWillNotDie` if that isn't so `killWithinMs` after the SIGKILL.
   */
  stop(how: {
    readonly graceMs: number;
    readonly killWithinMs: number;
    readonly hurry?: AbortSignal;
  }): Promise<MasterExit>;
  /** SIGKILL at once; the same wait. Rejects with `MasterWillNotDie` if it can't be ended within `withinMs`. */
  kill(withinMs: number): Promise<void>;
}

export interface MasterExit {
  readonly code: number | undefined;
  readonly signal: string | undefined;
}
