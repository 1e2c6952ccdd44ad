import { GROUP, type MetaMasterCluster } from "../../../crds/src/index.js";
import { role, roleBinding, serviceAccount } from "./access.js";
import { configMap, sidecarConfig } from "./config.js";
import { digestOf } from "./digest.js";
import { labelsOf, namespaceOf, type KubeManifest, type Manifest } from "./names.js";
import { ownContainer, ownEnv, ownMounts, ownVolumes } from "./own-container.js";
import { purgeSecurity } from "./security.js";

/** On the Job and its pods, so that they are not taken for members. */
export const PURGE_LABEL = `${GROUP}/purge`;
/** On the Job, whose template can't be changed: what it was made from. */
export const PURGE_ANNOTATION = `${GROUP}/purge-of`;
/** On the resource, with its uid: prefix and volumes are gone. */
export const PURGED_ANNOTATION = `${GROUP}/purged`;
/** The kubelet tries again by itself, ever less often (10 s to 5 min); whatever went wrong is told meanwhile. */
const TRIES = 100_000;
/** To finish the requests that are under way. */
const GRACE_S = 30;

export function purgeJobName(cluster: MetaMasterCluster): string {
  return `${cluster.metadata.name}-purge`;
}

/** Runs `metamaster purge` as the members ran, without their volumes. It has no owner: one that is deleted in the foreground would take it away at once. */
export function purgeJob(cluster: MetaMasterCluster, image: string): Manifest {
  const labels = { ...labelsOf(cluster), [PURGE_LABEL]: "true" };
  const template = { metadata: { labels }, spec: podSpec(cluster, image) };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: purgeJobName(cluster),
      namespace: namespaceOf(cluster),
      labels,
      annotations: { [PURGE_ANNOTATION]: digestOf([template, sidecarConfig(cluster)]) },
    },
    spec: { backoffLimit: TRIES, template },
  };
}

/** What its pod needs, without an owner for the same reason. */
export function purgeNeeds(cluster: MetaMasterCluster): readonly KubeManifest[] {
  const needs = [
    serviceAccount(cluster),
    role(cluster),
    roleBinding(cluster),
    configMap(cluster, sidecarConfig(cluster)),
  ];
  return needs.map((manifest) => {
    const { ownerReferences: _owner, ...metadata } = manifest.metadata;
    return { ...manifest, metadata };
  });
}

function podSpec(cluster: MetaMasterCluster, image: string): object {
  const { spec, metadata } = cluster;
  return {
    ...placement(spec.template.spec),
    serviceAccountName: metadata.name,
    restartPolicy: "OnFailure",
    terminationGracePeriodSeconds: GRACE_S,
    containers: [
      {
        ...ownContainer(spec, image, ["purge", "--yes", "--if-exists"]),
        env: ownEnv(spec),
        securityContext: purgeSecurity(spec),
        volumeMounts: ownMounts(spec),
      },
    ],
    volumes: ownVolumes(cluster),
  };
}

/** Where the members may run, it may. */
function placement(template: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const keys = [
    "nodeSelector",
    "tolerations",
    "imagePullSecrets",
    "priorityClassName",
    "hostAliases",
    "dnsConfig",
    "dnsPolicy",
  ];
  return Object.fromEntries(keys.filter((key) => template[key] !== undefined).map((key) => [key, template[key]]));
}
