import type { ReadEntry } from "../../formats/entry.js";
import type { Candidacy, WatchStart } from "./election.js";

/**
 * The candidate's side of the election through the log, as values: when may this member claim? Times are this process's monotonic ms; wall time plays no part.
 *
 * Why it is safe to wait for one lease from having READ the last entry: the primary's master is dead at the latest one lease after the put of
 * its last durable entry was SENT, and that was before anybody could read it. A look sent a lease after the reading that still finds nothing behind that
 * entry proves that it is the last. Time counts only between the reading and such a look, so what a frozen or slow candidate slept through needs a look after it woke.
 */
export interface LeaseWatch {
  /** When the last sign of life was read (or this member began to watch). */
  readonly lastAtMs: number;
  readonly last: LastSeen;
  /** The first and the latest look, by the time it was sent, that found nothing behind the last entry. */
  readonly firstEmptyMs: number | undefined;
  readonly lastEmptyMs: number | undefined;
  readonly lookOftenUntilMs: number;
}

export type LastSeen =
  /** No history at all. */
  | { readonly kind: "Nothing" }
  /** An entry of a primary that may be alive (or one that is not known). */
  | { readonly kind: "Life" }
  /** The last claim is of this directory's previous run. */
  | { readonly kind: "OwnEpoch" }
  /** The primary has ended its master: to whom, for how long it is reserved, and whether this very member wrote it. */
  | { readonly kind: "Release"; readonly to: string; readonly boundMs: number; readonly own: boolean };

export interface LeaseWatchSettings {
  readonly member: string;
  readonly leaseMs: number;
  /** Drawn anew for each wait, so that candidates don't collide each time: 0..1. */
  readonly jitter: number;
}

/** How often a standby looks where a handover was announced. */
const lookOftenMs = 50;
const pollMsMin = 20;
const pollMsMax = 1000;
/** Where an entry was read less than so long ago more are likely: looking sooner means following closer, and counting the lease from an earlier moment. */
const busyMs = 1000;
const busyPollMsMax = 250;
/** Of the lease, at most added to it at random. */
const jitterOfLease = 1 / 30;
/** At most, where nobody has to be waited for. */
const jitterMsMax = 100;

export function beginWatch(start: WatchStart, member: string): LeaseWatch {
  const base: LeaseWatch = {
    lastAtMs: start.atMs,
    last: { kind: "Life" },
    firstEmptyMs: undefined,
    lastEmptyMs: undefined,
    lookOftenUntilMs: start.atMs,
  };
  if (start.slot < 0) return { ...base, last: { kind: "Nothing" } };
  const seen = start.last === undefined ? base : seeEntry(base, start.last, start.atMs, member);
  const reserved = seen.last.kind === "Release" && seen.last.to !== "" && seen.last.to !== member;
  return start.ownEpoch && !reserved ? { ...seen, last: { kind: "OwnEpoch" } } : seen;
}

export function seeEntry(watch: LeaseWatch, entry: ReadEntry, atMs: number, member: string): LeaseWatch {
  const { kind, writer } = entry.header;
  const announced = entry.operations.find((operation) => operation.type === "handover");
  const often = announced === undefined ? atMs : atMs + announced.untilMs;
  // What follows a claim of our own dead run is that run's, as long as it isn't a claim.
  const stillOwn = watch.last.kind === "OwnEpoch" && kind !== "claim" && kind !== "release";
  const last: LastSeen = stillOwn
    ? watch.last
    : kind === "release"
      ? {
          kind: "Release",
          to: announced?.to ?? "",
          boundMs: announced?.untilMs ?? 0,
          own: writer.member === member,
        }
      : { kind: "Life" };
  // WAL entries go on between the announcement and the release; only a claim ends the hurry.
  const before = kind === "claim" ? atMs : watch.lookOftenUntilMs;
  return {
    lastAtMs: atMs,
    last,
    firstEmptyMs: undefined,
    lastEmptyMs: undefined,
    lookOftenUntilMs: Math.max(often, before),
  };
}

export function seeEnd(watch: LeaseWatch, sentMs: number): LeaseWatch {
  return {
    ...watch,
    firstEmptyMs: watch.firstEmptyMs ?? sentMs,
    lastEmptyMs: Math.max(watch.lastEmptyMs ?? sentMs, sentMs),
  };
}

/** How long the end must have stood unchanged. */
function neededMs(watch: LeaseWatch, settings: LeaseWatchSettings): number {
  const small = settings.jitter * Math.min(jitterMsMax, settings.leaseMs * jitterOfLease);
  switch (watch.last.kind) {
    case "Nothing":
      return small;
    case "OwnEpoch":
      return 0;
    case "Life":
      return settings.leaseMs * (1 + settings.jitter * jitterOfLease);
    case "Release":
      break;
  }
  const { to, own, boundMs } = watch.last;
  return to === settings.member || (to === "" && !own) ? 0 : boundMs + small;
}

export function candidacyOf(watch: LeaseWatch, settings: LeaseWatchSettings, nowMs: number): Candidacy | undefined {
  const { firstEmptyMs, lastEmptyMs, lastAtMs } = watch;
  if (firstEmptyMs === undefined || lastEmptyMs === undefined) return undefined;
  if (lastEmptyMs - lastAtMs < neededMs(watch, settings)) return undefined;
  const reasons = {
    Nothing: "EmptyHistory",
    OwnEpoch: "OwnEpoch",
    Life: "LeaseExpired",
    Release: "Released",
  } as const;
  const detectMs = Math.max(0, firstEmptyMs - lastAtMs);
  return { reason: reasons[watch.last.kind], detectMs, leaseMs: Math.max(0, nowMs - lastAtMs - detectMs) };
}

export function pollDelayOf(watch: LeaseWatch, settings: LeaseWatchSettings, nowMs: number): number {
  if (nowMs < watch.lookOftenUntilMs) return lookOftenMs;
  const usual =
    nowMs < watch.lastAtMs + busyMs
      ? Math.min(busyPollMsMax, Math.max(pollMsMin, settings.leaseMs / 30))
      : Math.min(pollMsMax, Math.max(pollMsMin, settings.leaseMs / 10));
  const dueMs = watch.lastAtMs + neededMs(watch, settings) - nowMs;
  return dueMs > 0 && dueMs < usual ? dueMs : usual;
}
