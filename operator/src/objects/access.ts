import { MEMBERS_MAX, type MetaMasterCluster } from "../../../crds/src/index.js";
import { labelsOf, namespaceOf, ownedMeta, podName, type Manifest } from "./names.js";

/** Of the chart: lets a member see whether a node is heard from, the evidence that lets it take over before a lease is over. */
const MEMBER_CLUSTER_ROLE = "metamaster-member";

export function serviceAccount(cluster: MetaMasterCluster): Manifest {
  const { annotations } = cluster.spec.serviceAccount;
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: { ...ownedMeta(cluster), annotations } };
}

/** What a member needs (docs/reference/permissions.md), by name wherever RBAC can tell. */
export function role(cluster: MetaMasterCluster): Manifest {
  const { name } = cluster.metadata;
  const pods = Array.from({ length: podNamesOf(cluster) }, (_, ordinal) => podName(cluster, ordinal));
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: ownedMeta(cluster),
    rules: [
      { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
      { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "update"], resourceNames: [name] },
      { apiGroups: [""], resources: ["pods"], verbs: ["list"] },
      { apiGroups: [""], resources: ["pods"], verbs: ["get", "watch", "patch", "delete"], resourceNames: pods },
    ],
  };
}

/** In steps of ten, so that scaling by one changes nothing here. */
function podNamesOf({ spec, status }: MetaMasterCluster): number {
  const most = Math.max(spec.replicas, status?.replicas ?? 0, 1);
  return Math.min(MEMBERS_MAX, Math.ceil(most / 10) * 10);
}

export function roleBinding(cluster: MetaMasterCluster): Manifest {
  const { name } = cluster.metadata;
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: ownedMeta(cluster),
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name },
    subjects: [subject(cluster)],
  };
}

export function clusterRoleBindingName(cluster: MetaMasterCluster): string {
  return `metamaster:${namespaceOf(cluster)}:${cluster.metadata.name}`;
}

/** Has no owner, as that is in a namespace: the finalizer takes it away. */
export function clusterRoleBinding(cluster: MetaMasterCluster): Manifest {
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: MEMBER_CLUSTER_ROLE };
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: clusterRoleBindingName(cluster), labels: labelsOf(cluster) },
    roleRef,
    subjects: [subject(cluster)],
  };
}

function subject(cluster: MetaMasterCluster): object {
  return { kind: "ServiceAccount", name: cluster.metadata.name, namespace: namespaceOf(cluster) };
}
