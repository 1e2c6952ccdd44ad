import { expect, test } from "@jest/globals";
import type { FailoverRecord } from "../../member/failover-record.js";
import type { MemberStatus } from "../../member/member.js";
import { MemberMetrics } from "./member-metrics.js";

const base: MemberStatus = {
  member: "alpha",
  role: { version: 5, role: "Primary", reason: "serving", epoch: 4, writable: true, sinceWallMs: 0 },
  history: [],
  primary: { member: "alpha", epoch: 4 },
  position: { slot: 41, chain: "aa" },
  ship: {
    durable: { slot: 41, chain: "aa" },
    durableLagSeconds: 1.25,
    durableLagBytes: 4096,
    spoolBytes: 99,
    lastCheckpointSlot: 40,
    lastCheckpointWallMs: 1_000_000,
    gaps: 0,
    trouble: undefined,
  },
  halt: undefined,
  trouble: undefined,
  writeTrouble: undefined,
  failovers: [],
  restarts: 2,
  fencedTotal: 3,
  masterRunning: true,
};

async function linesOf(
  status: MemberStatus,
  act: (metrics: MemberMetrics) => void = () => undefined,
  followed?: number,
): Promise<string[]> {
  const metrics = new MemberMetrics("1.2.3");
  metrics.watch({ status: () => status, followedWalBytes: () => followed, wallMs: () => 1_030_000 });
  act(metrics);
  // Twice: what is read anew each time must not add up.
  await metrics.registry.metrics();
  return (await metrics.registry.metrics()).split("\n");
}

test("a primary's numbers", async () => {
  const lines = await linesOf(base, (metrics) => {
    metrics.walShipped("meta", 160_000_000);
    metrics.onCall({ operation: "put", outcome: "ok", durationMs: 20, bytesSent: 10, bytesReceived: 0 });
    metrics.barrierServed(3);
    metrics.tableUploaded(100, true);
    metrics.gapFound("meta");
    metrics.retried("put", "BucketTimeout");
    metrics.quarantined();
  });
  for (const line of [
    'metamaster_build_info{version="1.2.3"} 1',
    'metamaster_role{role="Primary"} 1',
    'metamaster_role{role="Standby"} 0',
    "metamaster_epoch 4",
    "metamaster_slot 41",
    "metamaster_durable_lag_seconds 1.25",
    "metamaster_durable_lag_bytes 4096",
    "metamaster_spool_bytes 99",
    "metamaster_snapshot_age_seconds 30",
    "metamaster_predicted_replay_seconds 2",
    "metamaster_fenced_total 3",
    "metamaster_master_restarts_total 2",
    'metamaster_bucket_requests_total{operation="put",outcome="ok"} 1',
    'metamaster_bucket_bytes_total{operation="put",direction="sent"} 10',
    'metamaster_bucket_retries_total{operation="put",code="BucketTimeout"} 1',
    'metamaster_wal_shipped_bytes_total{database="meta"} 160000000',
    'metamaster_wal_gaps_total{database="meta"} 1',
    'metamaster_table_bytes_total{reused="true"} 100',
    "metamaster_barrier_duration_seconds_count 1",
    "metamaster_quarantines_total 1",
  ]) {
    expect(lines).toContain(line);
  }
  expect(lines.some((line) => line.startsWith("process_resident_memory_bytes "))).toBe(true);
  expect(lines.some((line) => line.startsWith("metamaster_halted{"))).toBe(false);
});

test("a checkpoint makes the replay short; a standby's is what it holds", async () => {
  const shipped = await linesOf(base, (metrics) => {
    metrics.walShipped("meta", 160_000_000);
    metrics.checkpointed("Interval", 50);
  });
  expect(shipped).toContain("metamaster_predicted_replay_seconds 0");
  const { ship: _, ...rest } = base;
  const standby = await linesOf({ ...rest, ship: undefined }, undefined, 40_000_000);
  expect(standby).toContain("metamaster_predicted_replay_seconds 0.5");
  expect(standby.some((line) => line.startsWith("metamaster_snapshot_age_seconds "))).toBe(false);
});

test("a promotion's time is split, a halt is named", async () => {
  const record: FailoverRecord = {
    kind: "Failover",
    cause: "LeaseExpired",
    from: "beta",
    to: "alpha",
    epoch: 4,
    slot: 30,
    atWallMs: 0,
    detectMs: 100,
    leaseMs: 3000,
    drainMs: 5,
    claimMs: 10,
    openMs: undefined,
    firstWriteMs: undefined,
  };
  const halt = {
    reason: "LogGap",
    message: "m",
    code: "LogGap",
    hint: undefined,
    details: {},
    atWallMs: 0,
    meaning: "",
    remedy: "",
  } as const;
  const lines = await linesOf({ ...base, halt }, (metrics) => metrics.becamePrimary(record));
  expect(lines).toEqual(
    expect.arrayContaining([
      'metamaster_failovers_total{kind="Failover"} 1',
      'metamaster_last_failover_seconds{part="lease"} 3',
      'metamaster_last_failover_seconds{part="claim"} 0.01',
      'metamaster_halted{reason="LogGap"} 1',
    ]),
  );
  expect(lines.some((line) => line.includes('part="open"'))).toBe(false);
});
