import { MetaMasterError } from "../../base/errors.js";
import { inClusterAccess } from "../../kube/access.js";
import { KubeClient } from "../../kube/client.js";
import { KubeLeases } from "../../kube/lease-store.js";
import { OwnPod } from "../../kube/own-pod.js";
import { PodEvidence } from "../../kube/pod-evidence.js";
import type { LeaseWitness } from "../../member/election/lease-candidate.js";
import { lockHolders } from "../../member/master/lock-holders.js";
import type { LoadedConfig } from "../config/load.js";
import { productVersion, type System } from "./system.js";

const CALL_MS = 5000;
const CLUSTER_LABEL = "metamaster.io/cluster";

/** What a member in a pod has of Kubernetes. */
export interface Kubernetes {
  readonly client: KubeClient;
  readonly pod: OwnPod;
  readonly leases: KubeLeases;
  readonly witness: LeaseWitness;
  readonly podUid: string;
}

/** Throws `KubeNotInCluster`. Nothing is asked of the API server yet. */
export async function openKubernetes(config: LoadedConfig["config"], { clock }: System): Promise<Kubernetes> {
  const { election, cluster, databases } = config;
  const access = await inClusterAccess(process.env, election.serviceAccount);
  const { podUid } = election;
  if (podUid === undefined) {
    throw new MetaMasterError(
      "KubeNotInCluster",
      "invalid",
      "`election.podUid` is not set: which pod this is can't be known.",
      {
        hint: "Set METAMASTER_ELECTION_POD_UID in the pod's template from the downward API (fieldPath: metadata.uid).",
      },
    );
  }
  const client = new KubeClient(access, { userAgent: `metamaster/${productVersion()}`, callMs: CALL_MS }, clock);
  const selector = `${CLUSTER_LABEL}=${cluster}`;
  const evidence = new PodEvidence(client, selector);
  const directories = databases.map(({ path }) => path);
  return {
    client,
    pod: new OwnPod(client, podUid, selector),
    podUid,
    leases: new KubeLeases(client, election.leaseName ?? cluster, { [CLUSTER_LABEL]: cluster }),
    witness: {
      // Whatever ran as our child is dead by then; a master in a container of its own may not be.
      ownMasterEnded: async () => lockHolders(directories).length === 0,
      evidence: ({ uid }, signal) => evidence.hasEnded(uid, signal),
    },
  };
}
