import { SIDECAR_CONTAINER, type MetaMasterCluster } from "../../../crds/src/index.js";
import { HTTP_PORT, ownedMeta, ROLE_LABEL, selectorLabels, type Manifest } from "./names.js";

interface Port {
  readonly name: string;
  readonly port: number;
  readonly targetPort: number;
  readonly protocol?: string;
}

/** Gives the pods their names. */
export function headlessService(cluster: MetaMasterCluster): Manifest {
  const ports: Port[] = [{ name: "metamaster", port: HTTP_PORT, targetPort: HTTP_PORT }];
  const spec = { clusterIP: "None", publishNotReadyAddresses: true, selector: selectorLabels(cluster), ports };
  return { apiVersion: "v1", kind: "Service", metadata: ownedMeta(cluster), spec };
}

/** Where the master's clients go: `<name>-primary` to the primary, `<name>-standby` to masters beside standbys (`gate: RoleAware`). */
export function roleService(cluster: MetaMasterCluster, role: "primary" | "standby"): Manifest {
  const metadata = ownedMeta(cluster, `${cluster.metadata.name}-${role}`);
  const spec = {
    type: "ClusterIP",
    selector: { ...selectorLabels(cluster), [ROLE_LABEL]: role },
    ports: masterPorts(cluster),
  };
  return { apiVersion: "v1", kind: "Service", metadata, spec };
}

/**
 * An eviction of the primary is refused until another member is: standbys may go at any time. One that is not ready may, too: it serves nobody, and a pod whose sidecar is dead keeps the label of what it was.
 */
export function disruptionBudget(cluster: MetaMasterCluster): Manifest {
  const metadata = ownedMeta(cluster, `${cluster.metadata.name}-primary`);
  const matchLabels = { ...selectorLabels(cluster), [ROLE_LABEL]: "primary" };
  const spec = { maxUnavailable: 0, unhealthyPodEvictionPolicy: "AlwaysAllow", selector: { matchLabels } };
  return { apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata, spec };
}

/** Those that the master's container names; a Service needs one at least. */
function masterPorts({ spec }: MetaMasterCluster): Port[] {
  const master = spec.template.spec.containers.find(({ name }) => name === spec.masterContainer);
  const declared: unknown = master?.["ports"];
  const ports = (Array.isArray(declared) ? declared : []).flatMap((each: unknown) => portOf(each) ?? []);
  return ports.length > 0 ? ports : [{ name: SIDECAR_CONTAINER, port: HTTP_PORT, targetPort: HTTP_PORT }];
}

function portOf(value: unknown): Port | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { name, containerPort, protocol } = value as Readonly<Record<string, unknown>>;
  if (typeof containerPort !== "number") return undefined;
  const given = typeof protocol === "string" ? protocol : undefined;
  const suffix = given === undefined || given === "TCP" ? "" : `-${given.toLowerCase()}`;
  return {
    name: typeof name === "string" ? name : `port-${containerPort}${suffix}`,
    port: containerPort,
    // Another container may have a port of the same name.
    targetPort: containerPort,
    ...(given === undefined ? {} : { protocol: given }),
  };
}
