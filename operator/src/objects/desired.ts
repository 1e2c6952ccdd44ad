import { createHash } from "node:crypto";
import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { clusterRoleBinding, role, roleBinding, serviceAccount } from "./access.js";
import { configMap } from "./config.js";
import type { KubeManifest } from "./names.js";
import { disruptionBudget, headlessService, roleService } from "./network.js";
import { statefulSet } from "./stateful-set.js";

export interface DesiredSettings {
  readonly image: string;
  readonly replicas: number;
  readonly volumeClaimTemplates?: readonly unknown[] | undefined;
  /** The chart gave the operator the right to bind MEMBER_CLUSTER_ROLE. */
  readonly clusterRoleBindings: boolean;
}

/** Every object of a cluster, in the order in which they are applied: the pods come last. */
export function desiredObjects(cluster: MetaMasterCluster, settings: DesiredSettings): readonly KubeManifest[] {
  const config = configMap(cluster);
  const configDigest = digestOf(config.data);
  return [
    serviceAccount(cluster),
    role(cluster),
    roleBinding(cluster),
    ...(settings.clusterRoleBindings ? [clusterRoleBinding(cluster)] : []),
    config,
    headlessService(cluster),
    roleService(cluster, "primary"),
    roleService(cluster, "standby"),
    disruptionBudget(cluster),
    statefulSet(cluster, { ...settings, configDigest }),
  ];
}

export function digestOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
}
