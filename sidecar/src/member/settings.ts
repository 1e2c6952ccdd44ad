/** The member's settings: plain data, validated at the edge. All times in milliseconds. */
export interface MemberSettings {
  /** Unique within the cluster. */
  readonly member: string;
  /** This run of the process: 16 random bytes, hex. */
  readonly nonce: string;
  /** `Adopt`: databases that are there before the bucket has any history begin it; nobody else may. */
  readonly bootstrap: "New" | "Adopt";
  /** `HoldStart`: the master runs only on the primary. `RoleAware`: it runs everywhere and watches the role itself. */
  readonly gate: "HoldStart" | "RoleAware";
  readonly leaseMs: number;
  readonly health: HealthSettings;
  readonly failover: {
    /** For how long a master that crashed or fails its check is restarted in place before leadership is handed over. */
    readonly restartGraceMs: number;
    /** For how long a master may take from its start to its first good health check. */
    readonly openTimeoutMs: number;
  };
  readonly stop: {
    /** From SIGTERM to SIGKILL for the master. */
    readonly graceMs: number;
    /** For shipping the tail and the release. */
    readonly shipTimeoutMs: number;
  };
  readonly switchover: {
    /** For how long a release is reserved for the member it names. */
    readonly reservedMs: number;
    /** A standby that is named must answer within it, or nothing is ended. It looks at the log at least every second. */
    readonly answerMs: number;
  };
  /** How long one attempt to kill the master may take before the next, and before `MasterWillNotDie` is said. */
  readonly killWithinMs: number;
  /** How often a standby makes what it applied survive a power failure. */
  readonly saveIntervalMs: number;
  /** An idle primary looks at the next slot at least this often. */
  readonly fenceCheckMs: number;
  /** First and longest pause after something that went wrong. */
  readonly retry: { readonly minMs: number; readonly maxMs: number };
}

interface HealthSettings {
  readonly intervalMs: number;
  /** For one probe. */
  readonly timeoutMs: number;
  /** Failures in a row that make it unhealthy. */
  readonly failureThreshold: number;
}

export function defaultMemberSettings(
  identity: Pick<MemberSettings, "member" | "nonce">,
  leaseMs = 15_000,
): MemberSettings {
  return {
    ...identity,
    bootstrap: "New",
    gate: "HoldStart",
    leaseMs,
    health: { intervalMs: 2000, timeoutMs: 2000, failureThreshold: 3 },
    failover: { restartGraceMs: 30_000, openTimeoutMs: 120_000 },
    stop: { graceMs: 30_000, shipTimeoutMs: 30_000 },
    switchover: { reservedMs: Math.max(5000, leaseMs), answerMs: 5000 },
    killWithinMs: 5000,
    saveIntervalMs: 10_000,
    fenceCheckMs: Math.max(1000, Math.round(leaseMs / 3)),
    retry: { minMs: 100, maxMs: 10_000 },
  };
}
