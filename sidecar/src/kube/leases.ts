/** A coordination.k8s.io/v1 Lease as the election sees it. */
export interface LeaseRecord {
  /** "": nobody. */
  readonly holder: string;
  /** What the holder promised to others: whole seconds in the API. 0: not said. */
  readonly durationMs: number;
  /** RFC 3339 with microseconds; for people, and to tell one writing from another. Never reckoned with. */
  readonly acquireTime: string;
  readonly renewTime: string;
  readonly transitions: number;
  /** The last ones who held it, the newest first, as entries of the log name their writers. */
  readonly heldBy: readonly string[];
}

export interface StoredLease {
  /** Changes with every writing by anybody. */
  readonly resourceVersion: string;
  readonly record: LeaseRecord;
  /** The whole object: what others put into it (labels, owners) stays. */
  readonly object: Readonly<Record<string, unknown>>;
}

/**
 * One Lease. One try a call. Rejects with `KubeConflict` where somebody was there first, and with `KubeNotFound` where an update finds nothing; any
 * transient error leaves open whether the writing happened, or happens later.
 */
export interface LeaseStore {
  /** Undefined: there is none. */
  read(signal: AbortSignal): Promise<StoredLease | undefined>;
  create(record: LeaseRecord, signal: AbortSignal): Promise<StoredLease>;
  /** Only if nobody has written since `from`; of one that was deleted the API says `KubeConflict`, too. */
  update(from: StoredLease, record: LeaseRecord, signal: AbortSignal): Promise<StoredLease>;
}
