import { hasCode } from "../../base/errors.js";
import { inClusterAccess } from "../../kube/access.js";
import { KubeClient } from "../../kube/client.js";
import { KubeLeases } from "../../kube/lease-store.js";
import type { Life } from "../../log/purge/fence.js";
import { leaseLife } from "../../member/election/lease-life.js";
import type { LoadedConfig } from "../config/load.js";
import { productVersion, type System } from "./system.js";

const CALL_MS = 10_000;

export interface LifeSigns {
  readonly life: Life;
  close(): void;
}

/** By what a living member of the configured cluster shows itself: the log, or, in a pod that may read it, the Kubernetes Lease as well. */
export async function lifeSigns({ election, cluster }: LoadedConfig["config"], { clock }: System): Promise<LifeSigns> {
  const none = { close: () => undefined };
  if (election.type === "Log") return { life: "Log", ...none };
  try {
    const access = await inClusterAccess(process.env, election.serviceAccount);
    const client = new KubeClient(access, { userAgent: `metamaster/${productVersion()}`, callMs: CALL_MS }, clock);
    const leases = new KubeLeases(client, election.leaseName ?? cluster, {});
    return { life: async (signal) => leaseLife(await leases.read(signal)), close: () => client.close() };
  } catch (error) {
    if (hasCode(error, "KubeNotInCluster")) return { life: "Unknown", ...none };
    throw error;
  }
}
