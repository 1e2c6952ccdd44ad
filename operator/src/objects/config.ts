import { stringify } from "yaml";
import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { HTTP_PORT, ownedMeta, podName, type KubeManifest } from "./names.js";

export const CONFIG_KEY = "metamaster.yaml";
export const CONFIG_DIRECTORY = "/etc/metamaster";
export const CREDENTIALS_DIRECTORY = "/etc/metamaster-credentials";
export const CA_DIRECTORY = "/etc/metamaster-ca";

/** The sidecar's configuration, as its own schema takes it (docs/reference/config.md): metamaster.yaml. */
export function sidecarConfig(cluster: MetaMasterCluster): string {
  const { metadata, spec } = cluster;
  const { bucket, failover, health } = spec;
  return stringify({
    cluster: metadata.name,
    dataDirectory: spec.dataDirectory,
    bucket: {
      url: bucket.url,
      ...given("region", bucket.region),
      ...given("endpoint", bucket.endpoint),
      ...given("forcePathStyle", bucket.forcePathStyle),
      ...given("caFile", bucket.ca && `${CA_DIRECTORY}/${bucket.ca.key}`),
    },
    databases: spec.databases,
    companions: spec.companions,
    durability: spec.durability,
    bootstrap: spec.bootstrap.type,
    ...given("bootstrapFrom", spec.bootstrap.from && { ...spec.bootstrap.from, member: podName(cluster, 0) }),
    gate: spec.gate,
    wal: spec.wal,
    checkpoint: spec.checkpoint,
    retention: spec.retention,
    election: {
      type: "Lease",
      lease: failover.leaseDuration,
      renewDeadline: failover.renewDeadline,
      retryPeriod: failover.retryPeriod,
      leaseName: metadata.name,
    },
    failover: { restartGrace: failover.restartGrace },
    ...given("health", health),
    stop: spec.stop,
    http: { address: `*:${HTTP_PORT}` },
    log: { level: spec.sidecar.logLevel, format: "Json" },
  });
}

export function configMap(
  cluster: MetaMasterCluster,
  config: string,
): KubeManifest & { readonly data: Record<string, string> } {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: ownedMeta(cluster),
    data: { [CONFIG_KEY]: config },
  };
}

function given<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}
