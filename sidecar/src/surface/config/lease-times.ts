import type { LeaseTimes } from "../../member/election/lease-times.js";
import type { Config } from "./schema.js";

/** What is not given follows from what is. */
export function leaseTimes({ lease, renewDeadline, retryPeriod }: Config["election"]): LeaseTimes {
  const renewDeadlineMs = renewDeadline ?? Math.floor((lease * 2) / 3);
  return { leaseMs: lease, renewDeadlineMs, retryPeriodMs: retryPeriod ?? Math.floor(renewDeadlineMs / 5) };
}
