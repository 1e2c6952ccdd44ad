import type { ReadEntry } from "../formats/entry.js";
import type { LogWriter } from "../log/log.js";

/** Why a candidate may try, and how long each part took (for the failover's time split). */
export interface Candidacy {
  readonly reason: "EmptyHistory" | "LeaseExpired" | "Released" | "OwnEpoch" | "Evidence";
  /** From the last sign of life of the old primary to noticing its absence, and to being allowed; milliseconds. */
  readonly detectMs: number;
  readonly leaseMs: number;
}

/**
 * Liveness: who should try. Safety is the log's. Implementations: through the log itself (log-election.ts), a Kubernetes Lease (next issue).
 * A standby tells it every entry it applied and every empty look at the end; a primary every entry it made durable.
 */
export interface Election {
  /** A standby saw this entry (in order). */
  observed(entry: ReadEntry): void;
  /** A standby looked at the end and found nothing new; `atMs`: monotonic ms when that look was SENT. */
  observedEnd(atMs: number): void;
  /** May this member claim now? Undefined: not yet. */
  candidacy(nowMs: number): Candidacy | undefined;
  /** When to look at the end of the log next, in ms from now: often when a handover is announced, else a fraction of the lease. */
  pollDelayMs(nowMs: number): number;
  /** Leadership as a primary: throws if it can't be kept. Renewed only while `mayRenew()`; resolves when lost or `signal` aborts. */
  lead(term: LeadershipTerm, signal: AbortSignal): Promise<LeadershipEnd>;
}

export interface LeadershipTerm {
  readonly writer: LogWriter;
  /** The master answers its health check and its process lives. */
  readonly mayRenew: () => boolean;
  /** The leadership now holds until monotonic `untilMs` (the moment by which the master must be dead if nothing else comes). */
  readonly extended: (fromMs: number, untilMs: number) => void;
}

export type LeadershipEnd = { readonly reason: "Fenced" | "LeaseLost" | "Stopped"; readonly cause?: unknown };
