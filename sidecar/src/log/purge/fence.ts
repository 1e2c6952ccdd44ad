import type { Clock } from "../../base/clock.js";
import { MetaMasterError } from "../../base/errors.js";
import type { Bucket } from "../../bucket/bucket.js";
import { encodeEnd } from "../../formats/end-entry.js";
import { LOG_PREFIX, logKey, type EntryHeader } from "../../formats/entry.js";
import { isOurs } from "./objects.js";
import { NO_END, readEntryAt, type LogEnd } from "./log-end.js";

export interface FenceComponents {
  /** With retries. */
  readonly bucket: Bucket;
  readonly clock: Clock;
}

export interface FenceWish {
  readonly uid: string;
  /** Who deletes, for people. */
  readonly by: string;
  /** What somebody writes meanwhile is no reason to stop. */
  readonly evenIfAlive: boolean;
}

/**
 * How far behind the newest entry the end is put, by tries: a primary under load always has its next put under way and would be first every time. The slots
 * between are closed afterwards, downwards, until its newest entry is met.
 */
const AHEAD = [1, 1, 2, 4, 8, 16, 32, 64] as const;
const AHEAD_MAX = 64;
const TRIES = 30;

/**
 * Puts the end of everything behind the newest entry: from then on no primary's next entry gets into the log, so none of its barriers is answered, and who
 * follows the log halts there. Returns the slots that hold the end, one after the other. Throws `ClusterAlive`.
 */
export async function fence(
  components: FenceComponents,
  wish: FenceWish,
  end: LogEnd,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const { bucket } = components;
  let last = end;
  for (let tries = 0; tries < TRIES && !last.fenced; tries++) {
    const slot = last.slot + (AHEAD[tries] ?? AHEAD_MAX);
    // What is there may be our own try, whose answer was lost.
    last = (await putEnd(components, wish, slot, last, signal)) ?? {
      slot,
      chain: "",
      header: undefined,
      fenced: true,
    };
    if (!last.fenced && !wish.evenIfAlive) throw alive(bucket.url, whatWrote(last));
  }
  if (last.fenced) return await closeBelow(components, wish, last.slot, signal);
  throw new MetaMasterError(
    "ClusterAlive",
    "conflict",
    `The primary of the cluster in ${bucket.url} was faster ${TRIES} times: it could not be fenced, nothing was deleted.`,
    { hint: "Stop it, then run the same command again." },
  );
}

/** Undefined: done; else what is there. */
async function putEnd(
  { bucket, clock }: FenceComponents,
  { uid, by }: FenceWish,
  slot: number,
  last: LogEnd,
  signal: AbortSignal,
): Promise<LogEnd | undefined> {
  const { bytes, chain } = encodeEnd({
    cluster: uid,
    slot,
    epoch: last.header?.epoch ?? 0,
    previous: slot === last.slot + 1 ? last.chain : "",
    by,
    wallTimeMs: Math.max(0, Math.trunc(clock.wallMs())),
  });
  if ((await bucket.putIfAbsent(logKey(slot), bytes, { signal, sha256: chain })) === "created") return undefined;
  return await readEntryAt(bucket, slot, uid, signal);
}

/** No slot below the end may be free: whoever writes would go on until it gets there. */
async function closeBelow(
  components: FenceComponents,
  wish: FenceWish,
  top: number,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const slots = [top];
  for (let slot = top - 1; slot >= 0 && slots.length < 2 * AHEAD_MAX; slot--) {
    const found = await putEnd(components, wish, slot, NO_END, signal);
    if (found !== undefined && !found.fenced) break;
    slots.unshift(slot);
  }
  return slots;
}

/** Once deleting has begun: the slots up to `top` that still hold the end. */
export async function endsUpTo(
  bucket: Bucket,
  uid: string,
  top: LogEnd,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const slots: number[] = [];
  for (let { slot, fenced } = top; fenced && slot >= 0;) {
    slots.unshift(slot);
    slot -= 1;
    fenced = slot >= 0 && (await readEntryAt(bucket, slot, uid, signal)).fenced;
  }
  return slots;
}

export type Life =
  /** Primaries write heartbeats: the log alone tells. */
  | "Log"
  /** They hold a lease, which can't be read from here. */
  | "Unknown"
  /** Undefined: there is no lease. */
  | ((signal: AbortSignal) => Promise<LeaseLife | undefined>);

export interface LeaseLife {
  /** Changes as long as somebody renews it; undefined: nobody holds it. */
  readonly mark: string | undefined;
  /** Who holds it and who did, by the nonces that entries bear. */
  readonly runs: readonly string[];
}

export interface LifeSettings {
  /** A primary shows itself within this, milliseconds. */
  readonly leaseMs: number;
  readonly lookMs: number;
}

/** True if the last primary said that it ended, and nobody holds a lease: there is nothing to wait for. */
export function saidGoodbye(end: LogEnd, mark: string | undefined): boolean {
  return end.fenced || (end.header?.kind === "release" && mark === undefined);
}

/** Watches for a whole lease whether anybody is there. Throws `ClusterAlive` if so, or if it can't be told. */
export async function expectNobody(
  { bucket, clock }: FenceComponents,
  life: Life,
  end: LogEnd,
  { leaseMs, lookMs }: LifeSettings,
  signal: AbortSignal,
): Promise<void> {
  const read = typeof life === "function" ? life : async () => undefined;
  const lease = await read(signal);
  const before = lease?.mark;
  if (saidGoodbye(end, before)) return;
  if (life === "Unknown")
    throw alive(bucket.url, `${lastWords(end)}, and the Kubernetes Lease can't be read from here`);
  if (typeof life === "function" && mayLiveElsewhere(end, lease)) throw elsewhere(bucket.url, end, lease);
  const untilMs = clock.monotonicMs() + leaseMs;
  for (let leftMs = leaseMs; leftMs > 0; leftMs = untilMs - clock.monotonicMs()) {
    await clock.sleep(Math.min(lookMs, leftMs), signal);
    const startAfter = end.slot < 0 ? undefined : logKey(end.slot);
    const { objects } = await bucket.list(LOG_PREFIX, { startAfter, limit: 10, signal });
    const newer = objects.find(({ key }) => isOurs(key));
    if (newer !== undefined) throw alive(bucket.url, `${newer.key} was written while this was watched`);
    const mark = (await read(signal))?.mark;
    if (mark !== undefined && mark !== before)
      throw alive(bucket.url, `the Kubernetes Lease is being renewed (${mark})`);
  }
}

/** Elected by another Kubernetes cluster's lease it writes nothing while it is idle: only who wrote last tells. */
function mayLiveElsewhere({ slot, header }: LogEnd, lease: LeaseLife | undefined): boolean {
  if (slot < 0 || header?.kind === "release") return false;
  return header === undefined || lease?.runs.includes(header.writer.nonce) !== true;
}

function elsewhere(url: string, end: LogEnd, lease: LeaseLife | undefined): MetaMasterError {
  const last = end.header === undefined ? "" : ` (${headerText(end.header)})`;
  const why =
    lease === undefined ? "there is no Kubernetes Lease here" : "never held the Kubernetes Lease here, or long ago";
  return alive(
    url,
    `${lastWords(end)}${last}, and ${why}: it may be an idle primary of another Kubernetes cluster`,
    "If another Kubernetes cluster uses the prefix, let it keep it: `deletionPolicy: Retain`. Else make sure that none of the members runs anywhere, then delete by hand: `metamaster purge --yes --even-if-alive`.",
  );
}

function lastWords({ header, slot }: LogEnd): string {
  if (header === undefined) return slot < 0 ? "nobody has written yet" : `what is in slot ${slot} can't be read`;
  return `member ${header.writer.member}, who wrote last, did not say that it ended`;
}

function whatWrote({ header, slot }: LogEnd): string {
  const what = header === undefined ? "something" : `a ${header.kind} of member ${header.writer.member}`;
  return `${what} came into slot ${slot} meanwhile`;
}

const STOP =
  "Stop all members, or let another cluster that uses the prefix keep it. If you know that none runs, or what they write is not wanted: --even-if-alive, which fences them first.";

function alive(url: string, why: string, hint = STOP): MetaMasterError {
  return new MetaMasterError(
    "ClusterAlive",
    "conflict",
    `A member of the cluster in ${url} may be running: ${why}. Nothing was deleted.`,
    { hint },
  );
}

export function headerText({ writer, kind, wallTimeMs }: EntryHeader): string {
  return `${kind} of ${writer.member}, ${new Date(wallTimeMs).toISOString()}`;
}
