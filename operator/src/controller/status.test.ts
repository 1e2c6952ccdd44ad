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
      mayFollow: false,
      troubled: false,
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

const away = "slot 76 is not durable yet: Could not create log/76 in s3://bucket/meta: no answer within 5000 ms.";
const full = "Could not write to /data/meta/000012.sst: no space is left on the device.";

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
      BucketReachable: "False PrimaryCutOff",
      Replicating: "False NotShipping",
      Degraded: "True MemberFailing",
    },
  ],
  [
    "nobody reaches the bucket",
    [member(0, "Primary", { bucketTrouble: away }), member(1, "Standby", { bucketTrouble: away })],
    { BucketReachable: "False Unreachable" },
  ],
  [
    "slot 403 is not durable yet",
    [member(0, "Primary", { bucketTrouble: away.replaceAll("76", "403") }), member(1, "Syncing")],
    { BucketReachable: "False Unreachable" },
  ],
  [
    "the primary's disk is full",
    [member(0, "Primary", { ship: { durableLagSeconds: 9, trouble: full } }), member(1, "Standby")],
    { BucketReachable: "True Reachable", Replicating: "False NotShipping" },
  ],
  [
    "nobody is primary, and a standby's disk is full",
    [member(0, "Standby", { trouble: full }), member(1, "Syncing", { trouble: full })],
    { BucketReachable: "Unknown Unknown" },
  ],
  [
    "nobody is primary, a standby's disk is full, and another one follows",
    [member(0, "Standby", { trouble: full }), member(1, "Standby")],
    { BucketReachable: "True Reachable" },
  ],
  [
    "nobody is primary, and the Secret is missing",
    [member(0, "Syncing", { trouble: "/etc/metamaster-credentials/AWS_ACCESS_KEY_ID is missing. Give credentials." })],
    { BucketReachable: "False Denied" },
  ],
  [
    "the bucket refuses the primary",
    [
      member(0, "Primary", { bucketTrouble: "Could not list log/ in s3://bucket/meta: 403 AccessDenied: no" }),
      member(1, "Standby"),
    ],
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
  [
    "the primary is alone",
    [member(0, "Primary"), member(1, "Syncing")],
    { Ready: "False MembersMissing", Replicating: "False NoStandby" },
  ],
  [
    "a standby has been far behind since before the operator looked",
    [member(0, "Primary"), { ...standbyOfUnknownLag(1), lagAtLeast: 301 }],
    { Replicating: "False Lagging" },
  ],
  [
    "a standby has been behind since before the operator looked, not long ago",
    [member(0, "Primary"), { ...standbyOfUnknownLag(1), lagAtLeast: 2 }],
    { Replicating: "True Following" },
  ],
])("%s", (_what, members, expected) => {
  expect(conditions(members)).toMatchObject(expected);
});

function standbyOfUnknownLag(ordinal: number): Observed {
  const standby = member(ordinal, "Standby");
  return { ...standby, member: { ...standby.member, lagSeconds: undefined } };
}

function message(type: string, members: readonly Observed[], replicas = 2): string | undefined {
  const of = { ...cluster, spec: { ...cluster.spec, replicas } };
  const status = statusOf({ cluster: of, members, action: nothing, invalid: undefined, nowMs: 0 });
  return status.conditions?.find((each) => each.type === type)?.message;
}

test("scaled to none: ready once all have ended, and a failover before is no matter then", () => {
  const lastFailover = { to: "meta-0", cause: "LeaseExpired", epoch: 4, time: "1970-01-01T00:00:00.000Z" };
  const none = {
    ...cluster,
    spec: { ...cluster.spec, replicas: 0 },
    status: { lastFailover: { ...lastFailover, milliseconds: {} } },
  };
  const told = (members: readonly Observed[]): readonly string[] =>
    (statusOf({ cluster: none, members, action: nothing, invalid: undefined, nowMs: 0 }).conditions ?? [])
      .filter(({ type }) => type === "Ready" || type === "Degraded")
      .map(({ type, status, reason }) => `${type} ${status} ${reason}`);
  expect(told([member(0, "Fencing")])).toEqual(["Ready False ScalingToZero", "Degraded True FailoverRecent"]);
  expect(told([])).toEqual(["Ready True ScaledToZero", "Degraded False AsExpected"]);
});

const wrongSpec = "spec.bucket.url is another one's.";

test.each<[string, readonly Observed[], Action, object, object]>([
  [
    "all members are well",
    [member(0, "Primary"), member(1, "Standby")],
    nothing,
    { invalid: wrongSpec },
    { Ready: "True AllMembersReady", Degraded: "True SpecInvalid", Progressing: "False Stable" },
  ],
  [
    "more members are asked for",
    [member(0, "Primary"), member(1, "Standby")],
    nothing,
    { invalid: undefined, refused: wrongSpec, wanted: 2, replicas: 5 },
    { Ready: "True AllMembersReady", Replicating: "True Following", Degraded: "True ApplyRefused" },
  ],
  [
    "none is asked for",
    [member(0, "Primary"), member(1, "Syncing")],
    nothing,
    { invalid: wrongSpec, wanted: 2, replicas: 0 },
    { Ready: "False MembersMissing", Replicating: "False NoStandby", Progressing: "False Stable" },
  ],
  [
    "the primary's node is drained",
    [member(0, "Primary"), member(1, "Standby")],
    { do: "Switchover", target: "meta-1", why: "the node of meta-0 is cordoned" },
    { invalid: wrongSpec },
    { Progressing: "True SwitchingOver", Degraded: "True SpecInvalid" },
  ],
  [
    "one is replaced",
    [member(0, "Primary"), member(1, "Syncing")],
    { do: "DeletePod", pod: "meta-1", why: "it is Syncing" },
    { invalid: undefined, refused: wrongSpec },
    { Progressing: "True Updating", Degraded: "True ApplyRefused" },
  ],
  [
    "nothing runs",
    [],
    nothing,
    { invalid: wrongSpec },
    { Ready: "False SpecInvalid", Degraded: "True SpecInvalid", Progressing: "False Stable" },
  ],
])("a spec that can't be carried out while members are there: %s", (_what, members, action, more, expected) => {
  const { replicas = 2, ...wrong } = more as { replicas?: number; invalid: string | undefined };
  const of = { ...cluster, spec: { ...cluster.spec, replicas } };
  const status = statusOf({ cluster: of, members, action, nowMs: 0, ...wrong });
  const is = Object.fromEntries((status.conditions ?? []).map((each) => [each.type, `${each.status} ${each.reason}`]));
  expect(is).toMatchObject(expected);
  const told = status.conditions?.find(({ type }) => type === "Degraded")?.message;
  const goesOn = " The members that run go on, and are looked after; what is new in the spec waits.";
  expect(told).toBe(`${wrongSpec}${members.length === 0 ? "" : goesOn}`);
});

test("volumes that have not grown yet are told while nothing else is done", () => {
  const members = [member(0, "Primary"), member(1, "Standby")];
  const told = (action: Action): string | undefined => {
    const status = statusOf({ cluster, members, action, invalid: undefined, resizing: "data-meta-0 waits", nowMs: 0 });
    const found = status.conditions?.find(({ type }) => type === "Progressing");
    return found && `${found.status} ${found.reason} ${found.message}`;
  };
  expect(told(nothing)).toBe("True Resizing data-meta-0 waits");
  expect(told({ do: "DeletePod", pod: "meta-1", why: "it is old" })).toBe("True Updating it is old");
});

test("a primary that alone is cut off from the bucket: who reaches it, and what to do", () => {
  const cut = { ...member(0, "Primary", { bucketTrouble: away }), pod: { spec: { nodeName: "n-1" } } };
  const told = message("BucketReachable", [cut, member(1, "Standby"), member(2, "Standby", { trouble: full })], 3);
  expect(told).toContain(`meta-0: ${away} meta-1 reaches it, so look at the network of its node n-1.`);
  expect(told).toContain("kubectl delete pod meta-0");
});

test("who follows, and why nobody does", () => {
  const [primary, standby] = [member(0, "Primary"), member(1, "Standby")];
  expect(message("Replicating", [primary], 1)).toBe("No standby is wanted: what meta-0 writes goes to the bucket.");
  expect(message("Replicating", [primary, standby], 2)).toBe("1 standby follows meta-0.");
  expect(message("Replicating", [primary, standby], 3)).toBe("1 of 2 standbys follow meta-0.");
  expect(message("Replicating", [primary], 2)).toMatch(/^Nobody follows meta-0: .*There is no other pod yet\.$/);
  expect(message("Replicating", [primary, member(1, "Syncing")], 2)).toMatch(/meta-1 is Syncing \(r\)\.$/);
  const late = { ...standbyOfUnknownLag(1), lagAtLeast: 400.4 };
  expect(message("Replicating", [primary, late], 2)).toBe("meta-1 is at least 400 s behind");
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
