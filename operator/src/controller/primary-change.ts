import type { Status } from "../../../crds/src/index.js";
import type { OperatorEvent } from "../kube/writer.js";

const CAUSES: Readonly<Record<string, { readonly told: string; readonly unasked: boolean }>> = {
  EmptyHistory: { told: "the first of its history", unasked: false },
  Released: { told: "the one before had handed over", unasked: false },
  OwnEpoch: { told: "it goes on with its own", unasked: false },
  LeaseExpired: { told: "the one before let its lease run out", unasked: true },
  Evidence: { told: "the pod of the one before was seen to be gone", unasked: true },
};

/** What a change of the primary is told as; undefined: there was none. */
export function primaryChange(before: Status | undefined, after: Status): OperatorEvent | undefined {
  const { primary, epoch, lastFailover } = after;
  const known = Math.max(before?.epoch ?? 0, before?.lastFailover?.epoch ?? 0);
  if (primary === undefined || epoch === undefined || epoch <= known) return undefined;
  const record = lastFailover?.epoch === epoch ? lastFailover : undefined;
  const cause = record && CAUSES[record.cause];
  const from = record?.from === undefined ? "" : `, after ${record.from}`;
  const why = cause === undefined ? "" : `: ${cause.told}`;
  return {
    type: cause?.unasked === true ? "Warning" : "Normal",
    reason: "PrimaryChanged",
    message: `${primary} is primary of epoch ${epoch}${from}${why}`,
  };
}
