import { KubernetesObjectApi, type KubeConfig } from "@kubernetes/client-node";
import { GROUP, KIND, PLURAL, VERSION } from "../../../crds/src/index.js";
import type { Logger } from "../log.js";
import { CLUSTER_LABEL, FIELD_MANAGER } from "../objects/names.js";
import { Informer, ownersOf, type Watched } from "./informers.js";
import { nodeState } from "./node-state.js";
import { keyOf, text, type LiveObject } from "./objects.js";

const ours = `app.kubernetes.io/managed-by=${FIELD_MANAGER}`;
const rbac = "rbac.authorization.k8s.io/v1";

/** Every kind that is looked at: what the operator makes, and what comes of it. */
const kinds = {
  MetaMasterCluster: { apiVersion: `${GROUP}/${VERSION}`, kind: KIND, plural: PLURAL },
  StatefulSet: { apiVersion: "apps/v1", kind: "StatefulSet", plural: "statefulsets", labelSelector: ours },
  Job: { apiVersion: "batch/v1", kind: "Job", plural: "jobs", labelSelector: ours },
  Pod: { apiVersion: "v1", kind: "Pod", plural: "pods", labelSelector: CLUSTER_LABEL },
  PersistentVolumeClaim: {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    labelSelector: CLUSTER_LABEL,
  },
  Service: { apiVersion: "v1", kind: "Service", plural: "services", labelSelector: ours },
  ConfigMap: { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps", labelSelector: ours },
  ServiceAccount: { apiVersion: "v1", kind: "ServiceAccount", plural: "serviceaccounts", labelSelector: ours },
  Role: { apiVersion: rbac, kind: "Role", plural: "roles", labelSelector: ours },
  RoleBinding: { apiVersion: rbac, kind: "RoleBinding", plural: "rolebindings", labelSelector: ours },
  PodDisruptionBudget: {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    labelSelector: ours,
  },
  ClusterRoleBinding: {
    apiVersion: rbac,
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    labelSelector: ours,
    clusterScoped: true,
  },
  Node: { apiVersion: "v1", kind: "Node", plural: "nodes", clusterScoped: true },
} as const satisfies Readonly<Record<string, Watched>>;

export type WatchedKind = keyof typeof kinds;

export interface StoreSettings {
  readonly config: KubeConfig;
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
  /** False: nothing outside of namespaces may be read (nodes, cluster role bindings). */
  readonly clusterWide: boolean;
}

/** What is, as the API server last told. */
export class Store {
  readonly #informers: ReadonlyMap<WatchedKind, Informer>;
  /** Of the nodes that are not simply well, what they are. */
  readonly #nodes = new Map<string, string>();

  /** `onChange`: the key of a cluster with which something has happened; undefined: it may be any. */
  constructor(
    { config, namespace, clusterWide }: StoreSettings,
    logger: Logger,
    onChange: (key: string | undefined) => void,
  ) {
    const api = KubernetesObjectApi.makeApiClient(config);
    const informers = new Map<WatchedKind, Informer>();
    for (const [kind, watched] of Object.entries(kinds) as [WatchedKind, Watched][]) {
      if (watched.clusterScoped === true && !clusterWide) continue;
      const tell = (object: LiveObject): void => {
        // A node's heartbeats are nobody's concern.
        if (kind === "Node") {
          if (this.#nodeChanged(object)) onChange(undefined);
        } else for (const key of clustersOf(kind, object)) onChange(key);
      };
      informers.set(kind, new Informer(watched, { config, api, namespace, logger }, tell));
    }
    this.#informers = informers;
  }

  #nodeChanged(node: LiveObject): boolean {
    const name = text(node, "metadata", "name") ?? "";
    const { cordoned, nodeSilent } = nodeState(node);
    const state = cordoned || nodeSilent ? JSON.stringify({ cordoned, nodeSilent }) : undefined;
    const changed = this.#nodes.get(name) !== state;
    if (state === undefined) this.#nodes.delete(name);
    else this.#nodes.set(name, state);
    return changed;
  }

  async start(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.start()));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()));
  }

  get(kind: string, name: string, namespace?: string): LiveObject | undefined {
    return this.#informers.get(kind as WatchedKind)?.get(name, namespace);
  }

  all(kind: WatchedKind, namespace?: string): readonly LiveObject[] {
    return this.#informers.get(kind)?.all(namespace) ?? [];
  }

  /** Objects of a kind that belong to a cluster by their label. */
  of(kind: WatchedKind, namespace: string, cluster: string): readonly LiveObject[] {
    return this.all(kind, namespace).filter((each) => text(each, "metadata", "labels", CLUSTER_LABEL) === cluster);
  }
}

function clustersOf(kind: WatchedKind, object: LiveObject): string[] {
  if (kind === "MetaMasterCluster") return [keyOf(object)];
  const owners = ownersOf(object, KIND);
  if (owners.length > 0) return owners;
  const name = text(object, "metadata", "labels", CLUSTER_LABEL);
  const namespace = text(object, "metadata", "namespace");
  return name === undefined || namespace === undefined ? [] : [`${namespace}/${name}`];
}
