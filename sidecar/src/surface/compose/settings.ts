import type { BucketConfig } from "../../bucket/open.js";
import { collectorDefaults, type CollectorSettings } from "../../log/collector.js";
import type { HealthCheck } from "../../member/master/health.js";
import { defaultMemberSettings, type MemberSettings } from "../../member/settings.js";
import type { Layout } from "../../replica/layout.js";
import type { ReconcileSettings } from "../../replica/reconcile.js";
import { shipDefaults, type ShipSettings } from "../../replica/ship/settings.js";
import { fetchDefaults, type FetchSettings } from "../../replica/table-fetch.js";
import type { LoadedConfig } from "../config/load.js";

const MIN_ROUND_MS = 5000;

type Config = LoadedConfig["config"];

/** From what a user writes to what each layer takes. */

export function bucketConfig({ bucket, transfer }: Config): BucketConfig {
  const { url, region, endpoint, forcePathStyle, caFile, checksums, credentialsDirectory } = bucket;
  return {
    url,
    region,
    endpoint,
    forcePathStyle,
    caFile,
    credentialsDirectory,
    checksums: checksums === "WhenRequired" ? "WHEN_REQUIRED" : "WHEN_SUPPORTED",
    authenticateCustomEndpoint: bucket.authenticateCustomEndpoint,
    maxSockets: bucket.maxSockets,
    partBytes: bucket.partSize,
    parallelParts: transfer.parallel,
    callMs: bucket.timeout,
    minBytesPerSecond: bucket.minRate,
  };
}

export function layoutOf({ dataDirectory, databases, companions }: Config): Layout {
  return { dataDirectory, databases, companions };
}

export function memberSettings(config: Config, nonce: string): MemberSettings {
  const { member, election, health, failover, stop } = config;
  return {
    ...defaultMemberSettings({ member, nonce }, election.lease),
    bootstrap: bootstrapOf(config),
    gate: config.gate,
    health: {
      intervalMs: health.interval,
      timeoutMs: health.timeout,
      failureThreshold: health.failureThreshold,
    },
    failover: { restartGraceMs: failover.restartGrace, openTimeoutMs: health.startupTimeout },
    stop: { graceMs: stop.grace, shipTimeoutMs: stop.shipTimeout },
  };
}

export function shipSettings(config: Config): ShipSettings {
  return {
    ...shipDefaults,
    layout: layoutOf(config),
    wal: { maxDelayMs: config.wal.maxDelay, maxSpoolBytes: config.wal.maxSpool },
    checkpoint: { intervalMs: config.checkpoint.interval, walBytes: config.checkpoint.walBytes },
    transfer: { parallel: config.transfer.parallel },
  };
}

/** What was fetched from another cluster is adopted, and nobody without it may begin the history. */
function bootstrapOf({ bootstrap, bootstrapFrom }: Config): Config["bootstrap"] {
  return bootstrapFrom === undefined ? bootstrap : "Adopt";
}

export function reconcileSettings(config: Config): ReconcileSettings {
  const { maxCount, maxBytes, removeOldest } = config.quarantine;
  return { bootstrap: bootstrapOf(config), quarantine: { maxCount, maxBytes, removeOldest } };
}

export function fetchSettings({ transfer }: Config): FetchSettings {
  return { ...fetchDefaults, parallelFiles: transfer.parallel, parallelRanges: 2 * transfer.parallel };
}

export function collectorSettings({ retention }: Config): CollectorSettings {
  const { snapshots, window, gracePeriod } = retention;
  return {
    ...collectorDefaults,
    // Rounds are cheap beside a grace period; a short one (tests, demonstrations) wants them oftener.
    intervalMs: Math.min(collectorDefaults.intervalMs, Math.max(MIN_ROUND_MS, gracePeriod)),
    retention: { snapshots, windowMs: window, gracePeriodMs: gracePeriod },
  };
}

export function healthCheck({ health }: Config): HealthCheck {
  const [command, ...args] = health.exec ?? [];
  if (command !== undefined) return { type: "Exec", command: [command, ...args] };
  if (health.http !== undefined) return { type: "Http", url: health.http };
  return health.tcp === undefined ? { type: "None" } : { type: "Tcp", ...health.tcp };
}
