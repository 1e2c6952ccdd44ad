import { DATA_VOLUME, type MetaMasterCluster } from "../../../crds/src/index.js";
import { HTTP_PORT, labelsOf, ownedMeta, selectorLabels, type KubeManifest } from "./names.js";
import { fieldRef, ownContainer, ownEnv, ownMounts, ownVolumes } from "./own-container.js";
import { RESTARTED_ANNOTATION } from "./rendering.js";
import { sidecarSecurity } from "./security.js";
import { watchdog, watchdogEnv, watchdogMount, watchdogVolume } from "./watchdog.js";

/** What a kubelet may take besides the member's own times. */
const GRACE_MARGIN_S = 10;
/** A probe that waits this long is answered after 25 s at the latest. */
const GATE_TIMEOUT_S = 30;
/** As often as it takes: a standby waits for months. */
const FOREVER = 2_147_483_647;

export interface TemplateSettings {
  /** Of the sidecar, unless the spec names one. */
  readonly image: string;
  /** Digest of the configuration: another one makes another revision. */
  readonly configDigest: string;
  /** As a person has set it: another value makes another revision. */
  readonly restartedAt: string | undefined;
}

export interface StatefulSetSettings {
  /** Of its pods. */
  readonly template: object;
  readonly annotations: Readonly<Record<string, string>>;
  /** Members to run now: what the decisions allow, not what is wished. */
  readonly replicas: number;
  /** As they stand: Kubernetes does not let them be changed. */
  readonly volumeClaimTemplates?: readonly unknown[] | undefined;
}

export interface StatefulSet extends KubeManifest {
  readonly spec: {
    readonly replicas: number;
    readonly template: object;
    readonly volumeClaimTemplates: readonly unknown[];
  } & Record<string, unknown>;
}

type Container = Readonly<Record<string, unknown>> & { readonly name: string };
type PodSpec = Readonly<Record<string, unknown>> & {
  readonly containers: readonly Container[];
  readonly initContainers: readonly Container[];
};

/** Parallel and OnDelete: the operator orders the pods. Volumes stay when members go: what is on them is reconciled with the log when they come back. */
export function statefulSet(cluster: MetaMasterCluster, settings: StatefulSetSettings): StatefulSet {
  const { metadata } = cluster;
  return {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { ...ownedMeta(cluster), annotations: settings.annotations },
    spec: {
      replicas: settings.replicas,
      serviceName: metadata.name,
      podManagementPolicy: "Parallel",
      updateStrategy: { type: "OnDelete" },
      persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
      selector: { matchLabels: selectorLabels(cluster) },
      template: settings.template,
      volumeClaimTemplates: settings.volumeClaimTemplates ?? [volumeClaimTemplate(cluster)],
    },
  };
}

/** Of the pods: the user's, and the sidecar with its watchdog in it. */
export function podTemplate(cluster: MetaMasterCluster, settings: TemplateSettings): object {
  const { spec } = cluster;
  const { configDigest, restartedAt } = settings;
  return {
    metadata: {
      labels: { ...spec.template.metadata?.labels, ...labelsOf(cluster) },
      annotations: {
        ...spec.template.metadata?.annotations,
        "metamaster.io/config-digest": configDigest,
        "kubectl.kubernetes.io/default-container": spec.masterContainer,
        ...(restartedAt === undefined ? {} : { [RESTARTED_ANNOTATION]: restartedAt }),
      },
    },
    spec: podSpec(cluster, settings),
  };
}

function volumeClaimTemplate({ spec }: MetaMasterCluster): object {
  const { metadata, spec: claim } = spec.volumeClaimTemplate;
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: DATA_VOLUME, ...metadata },
    spec: { ...claim, volumeMode: "Filesystem" },
  };
}

function podSpec(cluster: MetaMasterCluster, settings: TemplateSettings): PodSpec {
  const { spec, metadata } = cluster;
  const given = spec.template.spec as Readonly<Record<string, unknown>> & { readonly containers: readonly Container[] };
  return {
    ...given,
    serviceAccountName: metadata.name,
    shareProcessNamespace: true,
    terminationGracePeriodSeconds: seconds(spec.stop.grace) + seconds(spec.stop.shipTimeout) + GRACE_MARGIN_S,
    initContainers: [
      // It runs before the sidecar, and is ended after it.
      watchdog(spec, settings.image, dataMount(cluster)),
      sidecar(cluster, settings),
      ...listOf(given["initContainers"]),
    ],
    containers: given.containers.map((container) =>
      container.name === spec.masterContainer ? masterContainer(cluster, container) : container,
    ),
    volumes: [...listOf(given["volumes"]), ...ownVolumes(cluster), watchdogVolume],
  };
}

function dataMount({ spec }: MetaMasterCluster): Container & { readonly mountPath: string } {
  return { name: DATA_VOLUME, mountPath: spec.dataDirectory };
}

function masterContainer(cluster: MetaMasterCluster, container: Container): Container {
  const env = listOf(container["env"]);
  const mounts = listOf(container["volumeMounts"]);
  // Whoever mounts it himself, at its place, says no more than we do.
  const isMounted = mounts.some(
    ({ name, mountPath, subPath }) =>
      name === DATA_VOLUME && mountPath === cluster.spec.dataDirectory && subPath === undefined,
  );
  const ours = [{ name: "METAMASTER_URL", value: `http://127.0.0.1:${HTTP_PORT}` }];
  return {
    ...container,
    env: [...env, ...ours.filter(({ name }) => !env.some((each) => each.name === name))],
    volumeMounts: isMounted ? mounts : [...mounts, dataMount(cluster)],
  };
}

function sidecar(cluster: MetaMasterCluster, { image }: TemplateSettings): Container {
  const { spec } = cluster;
  const { gate } = spec;
  const held = {
    httpGet: probe("/v1/gate"),
    periodSeconds: 1,
    timeoutSeconds: GATE_TIMEOUT_S,
    failureThreshold: FOREVER,
  };
  const up = { httpGet: probe("/livez"), periodSeconds: 1, timeoutSeconds: 5, failureThreshold: FOREVER };
  return {
    ...ownContainer(spec, image, ["sidecar"]),
    restartPolicy: "Always",
    env: ownEnv(spec, { name: "METAMASTER_ELECTION_POD_UID", valueFrom: fieldRef("metadata.uid") }, watchdogEnv),
    ports: [{ name: "metamaster", containerPort: HTTP_PORT, protocol: "TCP" }],
    startupProbe: gate === "HoldStart" ? held : up,
    livenessProbe: { httpGet: probe("/livez"), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3 },
    securityContext: sidecarSecurity(spec),
    volumeMounts: [dataMount(cluster), watchdogMount, ...ownMounts(spec)],
  };
}

function probe(path: string): object {
  return { path, port: HTTP_PORT, scheme: "HTTP" };
}

const UNIT_S: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

/** `30s` -> 30, rounded up. */
function seconds(duration: string): number {
  const [, count = "0", unit = "s"] = /^([0-9]+)(ms|s|m|h)$/.exec(duration) ?? [];
  return Math.ceil(Number(count) * (UNIT_S[unit] ?? 1));
}

/** Containers, volumes, variables: whatever has a name, as the API server takes it. */
function listOf(value: unknown): readonly Container[] {
  return Array.isArray(value) ? (value as Container[]) : [];
}
