import { expect, test } from "@jest/globals";
import { resource, type MetaMasterCluster } from "../../../crds/src/index.js";
import type { Action } from "../decisions/members.js";
import type { MemberDocument } from "./member-status.js";
import type { Observed } from "./observe.js";
import { primaryChange } from "./primary-change.js";
import { changeOf } from "./significant.js";
import { statusOf } from "./status.js";

const cluster = resource.parse({
  apiVersion: "metamaster.io/v1alpha1",
  kind: "MetaMasterCluster",
  metadata: { name: "meta", generation: 3 },
  spec: {
    replicas: 2,
    bucket: { url: "s3://bucket/meta" },
    template: { spec: { containers: [{ name: "master", image: "m" }] } },
    databases: [{ name: "meta", path: "meta" }],
    volumeClaimTemplate: { spec: { resources: { requests: { storage: "1Gi" } } } },
  },
}) as MetaMasterCluster;

function member(ordinal: number, role: MemberDocument["role"], more: Partial<MemberDocument> = {}): Observed {
  const ship = role === "Primary" ? { ship: { durableLagSeconds: 0.2 } } : {};
  return {
    pod: { apiVersion: "v1", kind: "Pod" },
    document: {
      role,
      reason: "r",
      epoch: 4,
      since: "2026-01-01T00:00:00.000Z",
      position: { slot: 9 },
      ...ship,
      ...more,
    },
    member: {
      name: `meta-${ordinal}`,
      ordinal,
      role,
      mayServe: false,
      lagSeconds: 0,
      revision: "r",
      deleting: false,
      cordoned: false,
      nodeSilent: false,
    },
    slot: 9,
    failing: undefined,
  };
}

const nothing: Action = { do: "Nothing" };

function conditions(members: readonly Observed[], action = nothing): Record<string, string> {
  const status = statusOf({ cluster, members, action, invalid: undefined, nowMs: 0 });
  return Object.fromEntries((status.conditions ?? []).map(({ type, status: is, reason }) => [type, `${is} ${reason}`]));
}

const away = "slot 76 is not durable yet: Could not create log/76: no answer within 5000 ms.";

const failing = "container master: ImagePullBackOff (no such image)";
const noBucket =
  "container metamaster: CrashLoopBackOff (404 NoSuchBucket; code: BucketNotFound (docs/reference/errors.md))";

test.each([
  [
    "all is well",
    [member(0, "Primary"), member(1, "Standby")],
    { Ready: "True AllMembersReady", BucketReachable: "True Reachable", Degraded: "False AsExpected" },
  ],
  [
    "the primary's writes don't become durable",
    [member(0, "Primary", { bucketTrouble: away }), member(1, "Standby")],
    {
      Ready: "True AllMembersReady",
      BucketReachable: "False Unreachable",
      Replicating: "False NotShipping",
      Degraded: "True MemberFailing",
    },
  ],
  [
    "the bucket refuses the primary",
    [member(0, "Primary", { bucketTrouble: "403 AccessDenied" }), member(1, "Standby")],
    { BucketReachable: "False Denied" },
  ],
  [
    "only a standby can't reach the bucket",
    [member(0, "Primary"), member(1, "Standby", { bucketTrouble: away })],
    { BucketReachable: "True Reachable" },
  ],
  [
    "nobody is primary, and nobody reaches the bucket",
    [member(0, "Syncing", { trouble: away }), member(1, "Syncing")],
    { Ready: "False NoPrimary", BucketReachable: "False Unreachable", PrimaryElected: "False Electing" },
  ],
  [
    "the primary ships nothing for a reason of its own",
    [member(0, "Primary", { ship: { durableLagSeconds: 9, trouble: "There is no database in /data/x yet." } })],
    { BucketReachable: "True Reachable", Replicating: "False NotShipping" },
  ],
  [
    "a master that can't be started is not the bucket's trouble",
    [{ ...member(0, "Promoting", { clusterUid: "u", trouble: "There is no database in /data/meta yet." }), failing }],
    { Ready: "False NoPrimary", BucketReachable: "Unknown Unknown", Degraded: "True MemberFailing" },
  ],
  [
    "a sidecar that ends because the bucket isn't there",
    [{ ...member(0, "Syncing"), document: undefined, failing: noBucket }],
    { BucketReachable: "False Unreachable", Degraded: "True MemberFailing" },
  ],
  [
    "a member has halted",
    [member(0, "Primary"), member(1, "Halted", { halt: { reason: "LogGap", remedy: "Bring it back." } })],
    { Ready: "False MembersMissing", Degraded: "True MemberHalted" },
  ],
])("%s", (_what, members, expected) => {
  expect(conditions(members)).toMatchObject(expected);
});

test("of two that say they are primary the one of the newer epoch is", () => {
  const members = [member(0, "Primary"), member(1, "Primary", { epoch: 5 })];
  const status = statusOf({ cluster, members, action: nothing, invalid: undefined, nowMs: 0 });
  expect(status).toMatchObject({ primary: "meta-1", epoch: 5 });
});

test("a halt is told with what is wrong and what to do", () => {
  const halt = { reason: "ForeignCluster", message: "the prefix belongs to another", remedy: "Point it at its own." };
  const members = [member(0, "Primary"), member(1, "Halted", { halt })];
  const status = statusOf({ cluster, members, action: nothing, invalid: undefined, nowMs: 0 });
  expect(status.conditions?.find(({ type }) => type === "Degraded")?.message).toBe(
    "meta-1 is Halted (the prefix belongs to another; what to do: Point it at its own.)",
  );
});

test("what keeps all members from being primary is told once", () => {
  const members = [member(0, "Syncing", { trouble: away }), member(1, "Syncing", { trouble: away })];
  const status = statusOf({ cluster, members, action: nothing, invalid: undefined, nowMs: 0 });
  const ready = status.conditions?.find(({ type }) => type === "Ready");
  expect(ready?.message).toBe(`Nobody is primary: meta-0 is Syncing, meta-1 is Syncing. meta-0: ${away}`);
});

test("a container that does not start is named before what its sidecar misses because of it", () => {
  const members = [{ ...member(0, "Promoting", { clusterUid: "u", trouble: "There is no database." }), failing }];
  const status = statusOf({ cluster, members, action: nothing, invalid: undefined, nowMs: 0 });
  expect(status.conditions?.find(({ type }) => type === "Ready")?.message).toBe(
    `Nobody is primary: meta-0 is Promoting. meta-0: ${failing}`,
  );
  expect(status.members?.[0]?.message).toBe(failing);
});

test("a silent member is told with what to look at", () => {
  const { member: unknown } = member(0, "Standby");
  const silent = {
    pod: {},
    document: undefined,
    member: { ...unknown, role: "Unknown" as const },
    slot: -1,
    failing: undefined,
  };
  const status = statusOf({ cluster, members: [silent], action: nothing, invalid: undefined, nowMs: 0 });
  const ready = status.conditions?.find(({ type }) => type === "Ready");
  expect(ready?.message).toContain("meta-0: its containers are being made");
});

test("only slots that grow are no reason to write at once; anything else is", () => {
  const members = [member(0, "Primary"), member(1, "Standby")];
  const before = statusOf({ cluster, members, action: nothing, invalid: undefined, nowMs: 0 });
  expect(changeOf(before, structuredClone(before))).toBe("Nothing");
  const grown = statusOf({
    cluster,
    members: members.map((each) => ({ ...each, slot: 12 })),
    action: nothing,
    invalid: undefined,
    nowMs: 0,
  });
  expect(changeOf(before, grown)).toBe("Slots");
  const less = statusOf({ cluster, members: members.slice(0, 1), action: nothing, invalid: undefined, nowMs: 0 });
  expect(changeOf(before, less)).toBe("Much");
  expect(changeOf(undefined, before)).toBe("Much");
});

const failover = { to: "meta-1", cause: "LeaseExpired", epoch: 5, time: "2026-01-01T00:00:00.000Z", milliseconds: {} };

test.each([
  ["the first", undefined, { primary: "meta-0", epoch: 1 }, "Normal meta-0 is primary of epoch 1"],
  ["the same", { primary: "meta-0", epoch: 4 }, { primary: "meta-0", epoch: 4 }, undefined],
  ["nobody", { primary: "meta-0", epoch: 4 }, {}, undefined],
  [
    "the same again after nobody",
    { lastFailover: { ...failover, epoch: 4 } },
    { primary: "meta-0", epoch: 4 },
    undefined,
  ],
  [
    "another after a loss",
    { primary: "meta-0", epoch: 4 },
    { primary: "meta-1", epoch: 5, lastFailover: { ...failover, from: "meta-0" } },
    "Warning meta-1 is primary of epoch 5, after meta-0: the one before let its lease run out",
  ],
])("an event of a change of the primary: %s", (_what, before, after, told) => {
  const event = primaryChange(before, after);
  expect(event && `${event.type} ${event.message}`).toBe(told);
});
