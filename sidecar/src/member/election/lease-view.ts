import type { StoredLease } from "../../kube/leases.js";
import type { Candidacy } from "./election.js";
import type { LastSeen } from "./lease-watch.js";
import { leaseMsMax } from "./lease-times.js";
import { isReleased, parseHolder, type Holder } from "./lease-record.js";

/**
 * The candidate's side of the election through a Lease, as values: when may this member take it? Times are this process's monotonic ms; the times in the
 * record, which are others' wall clocks, play no part.
 *
 * Why it is safe to wait for one lease from having READ a record: its holder counts from having SENT it, which was before anybody could read it, and its master is dead before
 * a whole lease is over. A look sent a lease after the reading that still finds the same record proves that there was no later renewal.
 */
export interface LeaseView {
  /** Undefined: there is no lease. */
  readonly stored: StoredLease | undefined;
  readonly readAtMs: number;
  /** The first and the latest look, by the time it was sent, that found it unchanged. */
  readonly firstSameMs: number | undefined;
  readonly lastSameMs: number | undefined;
}

function same(a: StoredLease | undefined, b: StoredLease | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.resourceVersion === b.resourceVersion &&
    a.record.holder === b.record.holder &&
    a.record.renewTime === b.record.renewTime
  );
}

export function seeLease(
  view: LeaseView | undefined,
  stored: StoredLease | undefined,
  { sentMs, readMs }: { readonly sentMs: number; readonly readMs: number },
): LeaseView {
  if (view === undefined || !same(view.stored, stored)) {
    return { stored, readAtMs: readMs, firstSameMs: undefined, lastSameMs: undefined };
  }
  return {
    ...view,
    firstSameMs: view.firstSameMs ?? sentMs,
    lastSameMs: Math.max(view.lastSameMs ?? sentMs, sentMs),
  };
}

/** What the log says of the primary before. */
export interface LogSays {
  readonly last: LastSeen["kind"];
  /** By the log alone this member may claim now: nobody is to be waited for, or a reservation is over. */
  readonly open: boolean;
  /** The run that wrote the release, if that is the last entry. */
  readonly releasedBy: string | undefined;
  /** When the latest look that found nothing more was sent. */
  readonly emptyMs: number;
}

export interface ViewSettings {
  readonly self: Holder;
  readonly leaseMs: number;
  /** Drawn anew for each wait: 0..1. */
  readonly jitter: number;
}

export type Verdict =
  | { readonly may: true; readonly reason: Candidacy["reason"] }
  /** `askOwn`, `askEvidence`: what would allow it before the time is over. `dueMs`: when the time is over, if it runs. */
  | { readonly may: false; readonly ask?: "Own" | "Evidence"; readonly dueMs: number };

/** Of the lease, at most added to it at random. */
const jitterOfLease = 1 / 30;

/** May this member take the lease, as far as it and the log show? */
export function verdictOf(view: LeaseView, log: LogSays, settings: ViewSettings): Verdict {
  const { stored } = view;
  // Reserved for another, or its release was only just read: whatever the lease says.
  if (log.last === "Release" && !log.open) return { may: false, dueMs: Infinity };
  if (stored === undefined) {
    if (log.last === "Life") return waited(view, settings);
    return log.open ? { may: true, reason: reasonOf(log.last) } : { may: false, dueMs: Infinity };
  }
  const { holder } = stored.record;
  if (holder === "") {
    if (log.last !== "Life") return { may: true, reason: reasonOf(log.last) };
    // Emptied by a person: its holder learns of it with its next renewal, and its master lives until then.
    if (!isReleased(stored.record)) return waited(view, settings);
    return logIsOlder(view, log) ? { may: false, dueMs: Infinity } : { may: true, reason: "Released" };
  }
  const of = parseHolder(holder);
  if (of?.uid === settings.self.uid) {
    if (of.nonce !== settings.self.nonce) return { may: false, ask: "Own", dueMs: Infinity };
    // This very run held it and gave up: others, who began to watch before, come first, unless the tail is on this disk.
    return log.last === "OwnEpoch" ? { may: true, reason: "OwnEpoch" } : waited(view, settings);
  }
  if (of !== undefined && of.nonce === log.releasedBy) return { may: true, reason: "Released" };
  const verdict = waited(view, settings);
  return verdict.may ? verdict : { ...verdict, ask: "Evidence" };
}

/** A release is in the log before the lease is given up, and says for whom: a log read before the lease may lack it. */
export function logIsOlder(view: LeaseView, log: LogSays): boolean {
  return view.stored?.record.holder === "" && log.emptyMs < view.readAtMs;
}

function reasonOf(last: Exclude<LastSeen["kind"], "Life">): Candidacy["reason"] {
  return ({ Nothing: "EmptyHistory", OwnEpoch: "OwnEpoch", Release: "Released" } as const)[last];
}

/** The holder's own promise counts where it is longer. */
function waited(view: LeaseView, { leaseMs, jitter }: ViewSettings): Verdict {
  const promisedMs = Math.max(leaseMs, Math.min(view.stored?.record.durationMs ?? 0, leaseMsMax));
  const dueMs = view.readAtMs + promisedMs * (1 + jitter * jitterOfLease);
  if (view.lastSameMs === undefined || view.lastSameMs < dueMs) return { may: false, dueMs };
  return { may: true, reason: "LeaseExpired" };
}
