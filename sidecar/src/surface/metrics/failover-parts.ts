import type { FailoverRecord } from "../../member/failover-record.js";

/** The parts of a promotion that are known, in their order, milliseconds. */
export function failoverParts(record: FailoverRecord): [part: string, ms: number][] {
  const { detectMs, leaseMs, drainMs, claimMs, openMs, firstWriteMs } = record;
  const parts: [string, number | undefined][] = [
    ["detect", detectMs],
    ["lease", leaseMs],
    ["drain", drainMs],
    ["claim", claimMs],
    ["open", openMs],
    ["firstWrite", firstWriteMs],
  ];
  return parts.flatMap(([part, ms]): [string, number][] => (ms === undefined ? [] : [[part, ms]]));
}
