import { stringify } from "yaml";
import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { HTTP_PORT, ownedMeta, type KubeManifest } from "./names.js";

export const CONFIG_KEY = "metamaster.yaml";
export const CONFIG_DIRECTORY = "/etc/metamaster";
export const CREDENTIALS_DIRECTORY = "/etc/metamaster-credentials";
export const CA_DIRECTORY = "/etc/metamaster-ca";

/** The sidecar's configuration, as its own schema takes it (docs/reference/configuration.md). */
function sidecarConfig({ metadata, spec }: MetaMasterCluster): object {
  const { bucket, failover, health } = spec;
  return {
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
  };
}

export function configMap(cluster: MetaMasterCluster): KubeManifest & { readonly data: Record<string, string> } {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: ownedMeta(cluster),
    data: { [CONFIG_KEY]: stringify(sidecarConfig(cluster)) },
  };
}

function given<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}
