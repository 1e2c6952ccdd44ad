import type { ReadEntry } from "../../formats/entry.js";
import type { Appended, LogWriter } from "../../log/log.js";
import type { Changes } from "../../base/changes.js";

/** Why a candidate may try, and how long each part took (for the failover's time split). */
export interface Candidacy {
  readonly reason: "EmptyHistory" | "LeaseExpired" | "Released" | "OwnEpoch" | "Evidence";
  /** From the last sign of life of the old primary to noticing its absence, and from there to being allowed; milliseconds. */
  readonly detectMs: number;
  readonly leaseMs: number;
}

/** What a stint as a standby starts from. */
export interface WatchStart {
  /** Last slot of the log; -1: there is no history yet. */
  readonly slot: number;
  /** The entry in it, if it is still there. */
  readonly last: ReadEntry | undefined;
  /** The last claim is of this data directory's previous run, which is dead: nobody needs to be waited for. */
  readonly ownEpoch: boolean;
  /** Monotonic ms. */
  readonly atMs: number;
}

/**
 * Liveness: who should try. Safety is the log's. Implementations: through the log itself (log-election.ts), a Kubernetes Lease (lease-election.ts).
 * A standby tells it every entry it applied and every empty look at the end; a primary every entry it made durable. All times are this
 * process's monotonic milliseconds. One member uses one instance, either as a standby or as a primary at a time.
 */
export interface Election {
  /** A stint as a standby begins: all that was seen before is void. */
  begin(start: WatchStart): void;
  /** The stint is over and did not come to `lead`: what was won for it is given back. Bounded, never rejects; nothing happens where there is no stint. */
  end(): Promise<void>;
  /** What is in the way of it, for status; undefined: nothing. */
  readonly trouble: unknown;
  /** Notified when `candidacy` may have changed without anything having been observed. */
  readonly changed: Changes;
  /** A standby saw this entry (in order); `atMs`: when it had been read. */
  observed(entry: ReadEntry, atMs: number): void;
  /** A standby looked at the end and found nothing new; `atMs`: when that look was SENT. */
  observedEnd(atMs: number): void;
  /** May this member claim now? Undefined: not yet. */
  candidacy(nowMs: number): Candidacy | undefined;
  /** When to look at the end of the log next, in ms from now: often when a handover is announced, else a fraction of the lease. */
  pollDelayMs(nowMs: number): number;
  /** A primary's entry is durable. */
  durable(appended: Appended): void;
  /** The term's release is durable: the master has ended, its tail is in the bucket. To be called before `lead`'s signal aborts. */
  released(): void;
  /** Leadership as a primary, renewed only while `mayRenew()`; resolves when lost or `signal` aborts (and, after `released`, others were told so), never rejects. */
  lead(term: LeadershipTerm, signal: AbortSignal): Promise<LeadershipEnd>;
}

export interface LeadershipTerm {
  readonly writer: LogWriter;
  /** The master answers its health check and its process lives (or it is being opened or restarted, within its bound). */
  readonly mayRenew: () => boolean;
  /**
   * Leadership is good until `untilMs`: then `lead` ends. Counted from `fromMs` (when it was proven, or later if a master is held without), by `deadMs` (later, and before anybody else may start a master) the master must be
   * dead: what the watchdog is given.
   */
  readonly extended: (fromMs: number, untilMs: number, deadMs: number) => void;
}

export type LeadershipEnd = { readonly reason: "Fenced" | "LeaseLost" | "Stopped"; readonly cause?: unknown };
