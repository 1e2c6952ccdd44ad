import type { LeaseRecord, StoredLease } from "../../kube/leases.js";

/** Who holds a lease: one run of one pod's sidecar. */
export interface Holder {
  readonly uid: string;
  /** Of the run, as in the log's entries. */
  readonly nonce: string;
}

export function holderText({ uid, nonce }: Holder): string {
  return `${uid}_${nonce}`;
}

/** Undefined: nobody, or nobody of ours. */
export function parseHolder(text: string): Holder | undefined {
  const at = text.lastIndexOf("_");
  return at < 1 || at === text.length - 1 ? undefined : { uid: text.slice(0, at), nonce: text.slice(at + 1) };
}

/** Not as any run of a sidecar names itself: another program elects by the same Lease. */
export function isStranger(holder: string): boolean {
  return holder !== "" && !/^.+_[0-9a-f]{32}$/.test(holder);
}

/** RFC 3339 with microseconds. The last three digits count writings, so that no two of a run are alike, whatever the wall clock does. */
export function stampOf(wallMs: number, writing: number): string {
  return `${new Date(wallMs).toISOString().slice(0, -1)}${String(writing % 1000).padStart(3, "0")}Z`;
}

/** More than take a Lease one after the other before one of them writes an entry. */
const heldByMax = 32;

export function takenBy(self: Holder, durationMs: number, stamp: string, before: StoredLease | undefined): LeaseRecord {
  return {
    holder: holderText(self),
    durationMs,
    acquireTime: stamp,
    renewTime: stamp,
    transitions: before === undefined ? 0 : before.record.transitions + 1,
    heldBy: historyOf(self, before?.record),
  };
}

/** With the holder before, who may be of a version that kept no history. */
function historyOf(self: Holder, before: LeaseRecord | undefined): readonly string[] {
  const { nonce } = parseHolder(before?.holder ?? "") ?? self;
  return [...new Set([self.nonce, nonce, ...(before?.heldBy ?? [])])].slice(0, heldByMax);
}

export function renewed(record: LeaseRecord, durationMs: number, stamp: string): LeaseRecord {
  return { ...record, durationMs, renewTime: stamp };
}

/** The shortest that the API takes, and what nobody promises while holding: by it a release is told from a lease that a person has emptied while its holder lives. */
const releasedMs = 1000;

export function released(record: LeaseRecord, stamp: string): LeaseRecord {
  return { ...record, holder: "", durationMs: releasedMs, renewTime: stamp };
}

export function isReleased({ holder, durationMs }: LeaseRecord): boolean {
  return holder === "" && durationMs <= releasedMs;
}
