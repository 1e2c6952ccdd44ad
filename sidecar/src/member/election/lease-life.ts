import type { StoredLease } from "../../kube/leases.js";
import type { LeaseLife } from "../../log/purge/fence.js";
import { parseHolder } from "./lease-record.js";

/** What a purge sees of a Lease. */
export function leaseLife(stored: StoredLease | undefined): LeaseLife | undefined {
  if (stored === undefined) return undefined;
  const { holder, renewTime, heldBy } = stored.record;
  const { nonce } = parseHolder(holder) ?? {};
  return {
    mark: holder === "" ? undefined : `${holder} at ${renewTime}`,
    runs: nonce === undefined ? heldBy : [nonce, ...heldBy],
  };
}
