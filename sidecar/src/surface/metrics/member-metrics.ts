import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { BucketObserver, ObservedCall } from "../../bucket/observed.js";
import type { FailoverRecord } from "../../member/failover-record.js";
import type { MemberStatus } from "../../member/member.js";
import type { CheckpointReason } from "../../replica/replica.js";
import type { ShipMetrics } from "../../replica/ship/settings.js";
import { failoverParts } from "./failover-parts.js";

const ROLES = ["Syncing", "Standby", "Promoting", "Primary", "Fencing", "Halted"] as const;

/**
 * RocksDB replays a WAL at its opening by about this many bytes a second: 27 MB took 166-338 ms (measured, RocksDB 10.4.2, docs/decisions/0001). The slower
 * one counts.
 */
const REPLAY_BYTES_PER_SECOND = 80e6;

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export interface MetricsSource {
  readonly status: () => MemberStatus;
  /** WAL bytes of the image that a standby holds; undefined on a primary. */
  readonly followedWalBytes: () => number | undefined;
  readonly wallMs: () => number;
}

/** All that a member exports; names by Prometheus' conventions, docs/reference/metrics.md is made from them. */
export class MemberMetrics implements BucketObserver, ShipMetrics {
  readonly registry = new Registry();
  readonly #described: { name: string; type: string; labels: readonly string[]; help: string }[] = [];
  readonly #walSinceCheckpoint = { bytes: 0 };
  readonly #bucketRequests = this.#counter("bucket_requests_total", "Calls to the bucket, each try", [
    "operation",
    "outcome",
  ]);
  readonly #bucketBytes = this.#counter(
    "bucket_bytes_total",
    "Bytes of objects moved to (sent) and from (received) the bucket",
    ["operation", "direction"],
  );
  readonly #bucketSeconds = this.#histogram(
    "bucket_request_duration_seconds",
    "Time of a call to the bucket, each try",
    SECONDS,
    ["operation"],
  );
  readonly #bucketRetries = this.#counter("bucket_retries_total", "Tries that failed and were followed by another", [
    "operation",
    "code",
  ]);
  readonly #walBytes = this.#counter("wal_shipped_bytes_total", "WAL bytes made durable", ["database"]);
  readonly #gaps = this.#counter("wal_gaps_total", "Gaps in a WAL that a checkpoint had to cover", ["database"]);
  readonly #tables = this.#counter(
    "tables_uploaded_total",
    "Tables referenced by checkpoints; reused: the bucket had them",
    ["reused"],
  );
  readonly #tableBytes = this.#counter("table_bytes_total", "Bytes of those tables", ["reused"]);
  readonly #checkpoints = this.#counter("checkpoints_total", "Checkpoints written", ["reason"]);
  readonly #checkpointSeconds = this.#histogram(
    "checkpoint_duration_seconds",
    "Time of a checkpoint",
    [0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300],
    [],
  );
  readonly #barrierSeconds = this.#histogram(
    "barrier_duration_seconds",
    "Time until a barrier was durable",
    SECONDS,
    [],
  );
  readonly #failovers = this.#counter("failovers_total", "Times this member became primary", ["kind"]);
  readonly #failoverSeconds = this.#gauge(
    "last_failover_seconds",
    "Where the time of this member's last promotion went",
    ["part"],
  );
  readonly #quarantines = this.#counter("quarantines_total", "Times this member put diverged data aside", []);

  constructor(version: string) {
    this.#gauge("build_info", "Always 1", ["version"]).set({ version }, 1);
  }

  /** Gauges that are read when they are asked for; the metrics of the process. */
  watch(source: MetricsSource, { process } = { process: true }): void {
    if (process) collectDefaultMetrics({ register: this.registry });
    const { status } = source;
    this.#read("role", "1 for the role that the member has", ["role"], (gauge) => {
      const { role } = status().role;
      for (const each of ROLES) gauge.set({ role: each }, each === role ? 1 : 0);
    });
    this.#read("epoch", "Number of the last claim seen", [], (gauge) => {
      const { role, primary } = status();
      gauge.set(role.epoch ?? primary?.epoch ?? 0);
    });
    this.#read("slot", "Last slot applied (standby) or durable (primary); -1: none", [], (gauge) =>
      gauge.set(status().position?.slot ?? -1),
    );
    this.#read("durable_lag_seconds", "Age of the oldest WAL byte that is not durable yet", [], (gauge) =>
      gauge.set(status().ship?.durableLagSeconds ?? 0),
    );
    this.#read("durable_lag_bytes", "WAL bytes that are not durable yet", [], (gauge) =>
      gauge.set(status().ship?.durableLagBytes ?? 0),
    );
    this.#read("spool_bytes", "Bytes on disk that only shipping keeps alive", [], (gauge) =>
      gauge.set(status().ship?.spoolBytes ?? 0),
    );
    this.#read("snapshot_age_seconds", "Time since this primary's last checkpoint; absent: none", [], (gauge) => {
      gauge.reset();
      const atMs = status().ship?.lastCheckpointWallMs;
      if (atMs === undefined) gauge.remove();
      else gauge.set(Math.max(0, source.wallMs() - atMs) / 1000);
    });
    this.#read(
      "predicted_replay_seconds",
      "Estimate of how long the master's RocksDB would replay WAL if it were opened now",
      [],
      (gauge) => gauge.set((source.followedWalBytes() ?? this.#walSinceCheckpoint.bytes) / REPLAY_BYTES_PER_SECOND),
    );
    this.#read("halted", "1 while the member is halted, by reason", ["reason"], (gauge) => {
      gauge.reset();
      const { halt } = status();
      if (halt !== undefined) gauge.set({ reason: halt.reason }, 1);
    });
    this.#readCounter(
      "fenced_total",
      "Times this member lost leadership without giving it up: another had claimed, or it could not be renewed in time",
      () => status().fencedTotal,
    );
    this.#readCounter("master_restarts_total", "Times the master was restarted in place", () => status().restarts);
  }

  onCall({ operation, outcome, durationMs, bytesSent, bytesReceived }: ObservedCall): void {
    this.#bucketRequests.inc({ operation, outcome });
    this.#bucketSeconds.observe({ operation }, durationMs / 1000);
    if (bytesSent > 0) this.#bucketBytes.inc({ operation, direction: "sent" }, bytesSent);
    if (bytesReceived > 0) this.#bucketBytes.inc({ operation, direction: "received" }, bytesReceived);
  }

  retried(operation: string, code: string): void {
    this.#bucketRetries.inc({ operation, code });
  }

  walShipped(database: string, bytes: number): void {
    this.#walBytes.inc({ database }, bytes);
    this.#walSinceCheckpoint.bytes += bytes;
  }

  tableUploaded(bytes: number, reused: boolean): void {
    this.#tables.inc({ reused: String(reused) });
    this.#tableBytes.inc({ reused: String(reused) }, bytes);
  }

  checkpointed(reason: CheckpointReason, tookMs: number): void {
    this.#checkpoints.inc({ reason });
    this.#checkpointSeconds.observe(tookMs / 1000);
    this.#walSinceCheckpoint.bytes = 0;
  }

  barrierServed(waitedMs: number): void {
    this.#barrierSeconds.observe(waitedMs / 1000);
  }

  gapFound(database: string): void {
    this.#gaps.inc({ database });
  }

  becamePrimary(record: FailoverRecord): void {
    this.#failovers.inc({ kind: record.kind });
    for (const [part, ms] of failoverParts(record)) this.#failoverSeconds.set({ part }, ms / 1000);
  }

  quarantined(): void {
    this.#quarantines.inc();
  }

  /** What there is, for the reference. */
  describe(): { name: string; type: string; labels: readonly string[]; help: string }[] {
    return this.#described;
  }

  #counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    this.#describe("counter", name, help, labelNames);
    return new Counter({ name: `metamaster_${name}`, help, labelNames, registers: [this.registry] });
  }

  #gauge<L extends string>(name: string, help: string, labelNames: L[]): Gauge<L> {
    this.#describe("gauge", name, help, labelNames);
    return new Gauge({ name: `metamaster_${name}`, help, labelNames, registers: [this.registry] });
  }

  #histogram<L extends string>(name: string, help: string, buckets: number[], labelNames: L[]): Histogram<L> {
    this.#describe("histogram", name, help, labelNames);
    return new Histogram({ name: `metamaster_${name}`, help, buckets, labelNames, registers: [this.registry] });
  }

  #read<L extends string>(name: string, help: string, labelNames: L[], collect: (gauge: Gauge<L>) => void): void {
    this.#describe("gauge", name, help, labelNames);
    const gauge: Gauge<L> = new Gauge<L>({
      name: `metamaster_${name}`,
      help,
      labelNames,
      registers: [],
      collect: () => collect(gauge),
    });
    this.registry.registerMetric(gauge);
  }

  #readCounter(name: string, help: string, value: () => number): void {
    this.#describe("counter", name, help, []);
    const counter: Counter = new Counter({
      name: `metamaster_${name}`,
      help,
      registers: [],
      collect: () => {
        counter.reset();
        counter.inc(value());
      },
    });
    this.registry.registerMetric(counter);
  }

  #describe(type: string, name: string, help: string, labels: readonly string[]): void {
    this.#described.push({ name: `metamaster_${name}`, type, labels, help });
  }
}
