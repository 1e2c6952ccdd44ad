/** How a lease is kept; the same on all members. Milliseconds. */
export interface LeaseTimes {
  /** Others wait this long without a renewal before they take over. Whole seconds. */
  readonly leaseMs: number;
  /** Without a newer renewal leadership ends so long after the last one was sent. */
  readonly renewDeadlineMs: number;
  /** Between renewals, and between a candidate's looks. */
  readonly retryPeriodMs: number;
}

/** No member is configured with a longer one, so none promises more: what says so was edited by hand. */
export const leaseMsMax = 10 * 60_000;

/** From the sending of the last renewal to the moment by which the master must be dead: the rest of the lease is for the kill and for clocks that differ. */
export function deadAfterMs({ leaseMs, renewDeadlineMs }: LeaseTimes): number {
  return (leaseMs + renewDeadlineMs) / 2;
}

/** For one call: so that several fit into the time before leadership ends. */
export function callMsOf({ renewDeadlineMs }: LeaseTimes): number {
  return Math.min(5000, renewDeadlineMs / 3);
}

/** After a call that failed. */
export function againMsOf({ retryPeriodMs }: LeaseTimes): number {
  return retryPeriodMs / 2;
}
