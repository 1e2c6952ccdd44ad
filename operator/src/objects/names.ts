import type { KubernetesObject } from "@kubernetes/client-node";
import { GROUP, type MetaMasterCluster } from "../../../crds/src/index.js";

export { HTTP_PORT } from "../../../crds/src/index.js";

/** As which it owns the fields that it applies. */
export const FIELD_MANAGER = "metamaster-operator";
export const CLUSTER_LABEL = `${GROUP}/cluster`;
export const ROLE_LABEL = `${GROUP}/role`;
/** On the primary's pod: who is to be primary; read by its sidecar. */
export const SWITCHOVER_ANNOTATION = `${GROUP}/switchover-to`;
export const REFUSED_ANNOTATION = `${GROUP}/switchover-refused`;
/** What the operator still has to take away when a resource is deleted. */
export const FINALIZER = `${GROUP}/operator`;

export interface KubeMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly object[];
}

/** Anything of the API that the operator writes. */
export interface KubeManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: KubeMeta;
}

/** With its spec, rules, subjects ... */
export type Manifest = KubeManifest & Readonly<Record<string, unknown>>;

export function namespaceOf(cluster: MetaMasterCluster): string {
  return cluster.metadata.namespace ?? "default";
}

/** Selects the pods, and nothing else with the namespace. */
export function selectorLabels(cluster: MetaMasterCluster): Record<string, string> {
  return { [CLUSTER_LABEL]: cluster.metadata.name };
}

export function labelsOf(cluster: MetaMasterCluster): Record<string, string> {
  return {
    "app.kubernetes.io/name": "metamaster",
    "app.kubernetes.io/instance": cluster.metadata.name,
    "app.kubernetes.io/managed-by": FIELD_MANAGER,
    ...selectorLabels(cluster),
  };
}

/** Of an object in the resource's namespace: deleted with it. */
export function ownedMeta(cluster: MetaMasterCluster, name = cluster.metadata.name): KubeMeta {
  const { apiVersion, kind, metadata } = cluster;
  const owner = {
    apiVersion,
    kind,
    name: metadata.name,
    uid: metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
  return { name, namespace: namespaceOf(cluster), labels: labelsOf(cluster), ownerReferences: [owner] };
}

/** What it takes to delete or change an object that was read. */
export function manifestOf(object: KubernetesObject): KubeManifest {
  const { name = "", namespace } = object.metadata ?? {};
  return {
    apiVersion: object.apiVersion ?? "",
    kind: object.kind ?? "",
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
  };
}

export function podName(cluster: MetaMasterCluster, ordinal: number): string {
  return `${cluster.metadata.name}-${ordinal}`;
}
