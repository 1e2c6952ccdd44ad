import {
  conditionTypes,
  type Condition,
  type ConditionType,
  type conditionReasons,
  type MetaMasterCluster,
  type Status,
} from "../../../crds/src/index.js";
import { madeSwitchover, pendingSwitchover } from "../decisions/declared.js";
import type { Action } from "../decisions/members.js";
import { RESTARTED_ANNOTATION } from "../objects/rendering.js";
import { selectorLabels } from "../objects/names.js";
import { endedOften, silenceOf } from "./failure.js";
import { primaryAmong, type Observed } from "./observe.js";

type Verdict<T extends ConditionType> = {
  readonly status: "True" | "False" | "Unknown";
  readonly reason: keyof (typeof conditionReasons)[T];
  readonly message: string;
};

type Verdicts = { readonly [T in ConditionType]: Verdict<T> };

export interface Situation {
  readonly cluster: MetaMasterCluster;
  readonly members: readonly Observed[];
  readonly action: Action;
  /** Of the spec, found by the operator: names the field. */
  readonly invalid: string | undefined;
  /** What the API server refused of what the operator would have made of the spec, and what to do. */
  readonly refused?: string | undefined;
  /** Image of the members' sidecars, where this operator would take another one. */
  readonly outdated?: string | undefined;
  /** Of a resource that is being deleted. */
  readonly deletion?: { readonly why: string; readonly failure: string | undefined } | undefined;
  readonly nowMs: number;
}

const FAILOVER_RECENT_MS = 5 * 60_000;
const MESSAGE_MAX = 1024;

/** The whole status as it should be now; times of conditions that did not change are kept. */
export function statusOf(situation: Situation): Status {
  const { cluster, members, nowMs } = situation;
  const primary = primaryAmong(members);
  const ship = primary?.document?.ship;
  const failover = newestFailover(members);
  const { switchover } = cluster.spec;
  const made = madeSwitchover(switchover, cluster.status?.switchover, primary?.member.name, nowMs);
  return {
    conditions: conditions(verdictsOf(situation, primary), cluster, nowMs),
    ...(cluster.metadata.generation === undefined ? {} : { observedGeneration: cluster.metadata.generation }),
    replicas: members.length,
    readyReplicas: members.filter(isReady).length,
    selector: Object.entries(selectorLabels(cluster))
      .map(([key, value]) => `${key}=${value}`)
      .join(","),
    ...(primary === undefined ? {} : { primary: primary.member.name, epoch: primary.document?.epoch ?? 0 }),
    ...(primary === undefined ? {} : { durable: { slot: primary.slot } }),
    ...(ship === undefined ? {} : { lag: lagText(ship.durableLagSeconds) }),
    members: members.map(memberStatus),
    ...(ship?.lastCheckpointSlot === undefined
      ? keep("lastSnapshot", cluster.status?.lastSnapshot)
      : { lastSnapshot: { slot: ship.lastCheckpointSlot, ...given("time", iso(ship.lastCheckpointWallMs)) } }),
    ...(failover === undefined ? keep("lastFailover", cluster.status?.lastFailover) : { lastFailover: failover }),
    ...given("switchover", made),
  };
}

function isReady({ member }: Observed): boolean {
  return !member.deleting && (member.role === "Primary" || member.role === "Standby");
}

/** Coarse, so that a status isn't written for every tenth of a second. */
function lagText(seconds: number): string {
  if (seconds < 1) return "<1s";
  return seconds < 60 ? `${Math.round(seconds / 5) * 5 || 1}s` : `${Math.round(seconds / 60)}m`;
}

function memberStatus({ member, document, slot, failing }: Observed): NonNullable<Status["members"]>[number] {
  const { halt } = document ?? {};
  const trouble = halt === undefined ? (failing ?? document?.trouble) : `${halt.reason}: ${halt.remedy}`;
  const { lagSeconds } = member;
  return {
    name: member.name,
    role: member.role,
    slot,
    ...(lagSeconds === undefined ? {} : { lagSeconds: Math.round(lagSeconds) }),
    ...given("since", document?.since),
    ...given("message", trouble?.slice(0, MESSAGE_MAX)),
  };
}

function newestFailover(members: readonly Observed[]): Status["lastFailover"] {
  const all = members.flatMap(({ document }) => document?.lastFailover ?? []);
  const last = all.toSorted((a, b) => b.epoch - a.epoch)[0];
  if (last === undefined) return undefined;
  const { detectMs, leaseMs, drainMs, claimMs, openMs, firstWriteMs } = last;
  const split = {
    detect: detectMs,
    lease: leaseMs,
    drain: drainMs,
    claim: claimMs,
    open: openMs,
    firstWrite: firstWriteMs,
  };
  const milliseconds = Object.fromEntries(
    Object.entries(split).flatMap(([part, ms]) => (ms === undefined ? [] : [[part, Math.round(ms)]])),
  ) as Record<string, number>;
  const time = new Date(last.atWallMs).toISOString();
  return { ...given("from", last.from), to: last.to, cause: last.cause, epoch: last.epoch, time, milliseconds };
}

function verdictsOf(situation: Situation, primary: Observed | undefined): Verdicts {
  return {
    Ready: ready(situation, primary),
    PrimaryElected: primaryElected(situation, primary),
    Replicating: replicating(situation, primary),
    BucketReachable: bucketReachable(situation, primary),
    Progressing: progressing(situation),
    Degraded: degraded(situation),
  };
}

function ready({ cluster, members, invalid, refused }: Situation, primary: Observed | undefined): Verdict<"Ready"> {
  const wanted = cluster.spec.replicas;
  // Of members that serve, what is refused is told by Degraded.
  const wrong = invalid ?? (primary === undefined ? refused : undefined);
  if (wrong !== undefined) return { status: "False", reason: "SpecInvalid", message: wrong };
  if (wanted === 0)
    return { status: "True", reason: "ScaledToZero", message: "No member is wanted; the history is in the bucket." };
  const count = members.filter(isReady).length;
  if (primary === undefined) return { status: "False", reason: "NoPrimary", message: whyNoPrimary(members) };
  if (count >= wanted)
    return {
      status: "True",
      reason: "AllMembersReady",
      message: `${primary.member.name} is primary, ${followText(count - 1)}.`,
    };
  const missing = members.filter((each) => !isReady(each)).map(describe);
  return {
    status: "False",
    reason: "MembersMissing",
    message: `${count} of ${wanted} members are ready. ${missing.join("; ")}`.trim(),
  };
}

function describe(each: Observed): string {
  return `${each.member.name} is ${each.member.role} (${whyOf(each)})`;
}

function whyOf({ pod, document, failing }: Observed): string {
  const { halt, trouble, bucketTrouble, reason } = document ?? {};
  if (halt !== undefined) return `${(halt.message ?? halt.reason).replace(/\.$/, "")}; what to do: ${halt.remedy}`;
  // A container that does not start is the cause of what the sidecar then misses.
  return failing ?? trouble ?? bucketTrouble ?? reason ?? silenceOf(pod);
}

/** The role of each, and why of one: what keeps all from the bucket is the same for each of them, and long. */
function whyNoPrimary(members: readonly Observed[]): string {
  const troubled = members.find(isTroubled) ?? members[0];
  if (troubled === undefined) return "There is no pod yet.";
  const roles = members.map(({ member }) => `${member.name} is ${member.role}`).join(", ");
  return `Nobody is primary: ${roles}. ${troubled.member.name}: ${whyOf(troubled)}`;
}

function isTroubled({ pod, document, failing }: Observed): boolean {
  const { halt, trouble, bucketTrouble } = document ?? {};
  if ((halt ?? trouble ?? bucketTrouble ?? failing) !== undefined) return true;
  return document === undefined && endedOften(pod);
}

function primaryElected({ cluster, members }: Situation, primary: Observed | undefined): Verdict<"PrimaryElected"> {
  if (cluster.spec.replicas === 0 && members.length === 0)
    return { status: "False", reason: "ScaledToZero", message: "No member is wanted." };
  if (primary !== undefined) {
    return {
      status: "True",
      reason: "Elected",
      message: `${primary.member.name} is primary of epoch ${primary.document?.epoch ?? 0}.`,
    };
  }
  const electing = members.some(({ member }) => ["Syncing", "Standby", "Promoting", "Fencing"].includes(member.role));
  const message = whyNoPrimary(members);
  return { status: "False", reason: electing ? "Electing" : "NoCandidate", message };
}

function replicating({ cluster, members }: Situation, primary: Observed | undefined): Verdict<"Replicating"> {
  if (primary === undefined) return { status: "False", reason: "NoPrimary", message: "Nobody is primary." };
  const trouble = primary.document?.ship?.trouble ?? primary.document?.bucketTrouble;
  if (trouble !== undefined)
    return { status: "False", reason: "NotShipping", message: `${primary.member.name}: ${trouble}` };
  const standbys = members.filter(({ member }) => member.role === "Standby");
  const most = secondsOf(cluster.spec.checkpoint.interval);
  const lagging = standbys.filter(({ member }) => (member.lagSeconds ?? 0) > most);
  if (lagging.length > 0) {
    const names = lagging.map(({ member }) => `${member.name} is ${member.lagSeconds ?? "?"} s behind`).join("; ");
    return { status: "False", reason: "Lagging", message: names };
  }
  return { status: "True", reason: "Following", message: `${followText(standbys.length)} ${primary.member.name}.` };
}

function bucketReachable({ cluster, members }: Situation, primary: Observed | undefined): Verdict<"BucketReachable"> {
  // The primary's word counts: a standby may be cut off by itself.
  const trouble = primary === undefined ? members.flatMap(bucketTroubleOf)[0] : primary.document?.bucketTrouble;
  if (trouble !== undefined) {
    const denied = /denied|credentials|forbidden|\b40[13]\b/i.test(trouble);
    const { credentials } = cluster.spec.bucket;
    const from =
      denied && credentials !== undefined
        ? ` The credentials come from the Secret ${credentials.secretRef.name} of this namespace: is it there, and are its keys right?`
        : "";
    return { status: "False", reason: denied ? "Denied" : "Unreachable", message: `${trouble}${from}` };
  }
  if (primary === undefined) {
    return { status: "Unknown", reason: "Unknown", message: "No member says how the bucket is." };
  }
  return { status: "True", reason: "Reachable", message: "What the primary writes becomes durable." };
}

function followText(standbys: number): string {
  return standbys === 1 ? "1 standby follows" : `${standbys === 0 ? "no" : standbys} standbys follow`;
}

/** Before there is a member all that its sidecar does is to look at the bucket; one that ended at that told the error's code. */
function bucketTroubleOf({ document, failing }: Observed): string | readonly [] {
  if (document === undefined) return failing !== undefined && /code: Bucket\w+/.test(failing) ? failing : [];
  return document.bucketTrouble ?? (document.clusterUid === undefined ? (document.trouble ?? []) : []);
}

function progressing({
  cluster,
  members,
  action,
  invalid,
  refused,
  outdated,
  deletion,
}: Situation): Verdict<"Progressing"> {
  const why = action.do === "Nothing" ? "" : action.why;
  if (cluster.metadata.deletionTimestamp !== undefined)
    return { status: "True", reason: "Deleting", message: deletion?.why ?? "The resource is being deleted." };
  if ((invalid ?? refused) !== undefined)
    return { status: "False", reason: "Stable", message: "Nothing is changed: the spec can't be carried out." };
  if (action.do === "Switchover")
    return { status: "True", reason: "SwitchingOver", message: `To ${action.target}: ${why}` };
  const declared = pendingSwitchover(cluster.spec.switchover, cluster.status?.switchover)?.target;
  if (action.do === "Wait" && declared !== undefined && primaryAmong(members)?.member.name !== declared)
    return { status: "True", reason: "SwitchingOver", message: why };
  if (action.do === "SetReplicas" || members.length !== cluster.spec.replicas) {
    return {
      status: "True",
      reason: "Scaling",
      message: why === "" ? `${members.length} pods are there, ${cluster.spec.replicas} are wanted.` : why,
    };
  }
  if (action.do === "DeletePod" || action.do === "Wait") return { status: "True", reason: "Updating", message: why };
  const older = `The members run the sidecar ${outdated}, not this operator's; to replace them one by one: kubectl annotate mmc ${cluster.metadata.name} ${RESTARTED_ANNOTATION}="$(date)" --overwrite`;
  const message = outdated === undefined ? "Nothing is being changed." : `Nothing is being changed. ${older}`;
  return { status: "False", reason: "Stable", message };
}

function degraded({ cluster, members, nowMs, invalid, refused, deletion }: Situation): Verdict<"Degraded"> {
  if (deletion?.failure !== undefined) return { status: "True", reason: "PurgeFailed", message: deletion.failure };
  if (invalid !== undefined) return { status: "True", reason: "SpecInvalid", message: invalid };
  const halted = members.find(({ member }) => member.role === "Halted");
  if (halted !== undefined) return { status: "True", reason: "MemberHalted", message: describe(halted) };
  if (refused !== undefined) return { status: "True", reason: "SpecInvalid", message: refused };
  const failing = members.find(isTroubled);
  if (failing !== undefined)
    return { status: "True", reason: "MemberFailing", message: `${failing.member.name}: ${whyOf(failing)}` };
  const last = newestFailover(members) ?? cluster.status?.lastFailover;
  if (
    last !== undefined &&
    ["LeaseExpired", "Evidence"].includes(last.cause) &&
    nowMs - Date.parse(last.time) < FAILOVER_RECENT_MS
  ) {
    return {
      status: "True",
      reason: "FailoverRecent",
      message: `${last.to} took over from ${last.from ?? "nobody known"} (${last.cause}).`,
    };
  }
  return { status: "False", reason: "AsExpected", message: "Nothing is wrong." };
}

function conditions(verdicts: Verdicts, { metadata, status }: MetaMasterCluster, nowMs: number): Condition[] {
  return conditionTypes.map((type) => {
    const before = status?.conditions?.find((each) => each.type === type);
    const verdict = verdicts[type];
    const since = before?.status === verdict.status ? before.lastTransitionTime : timeOf(nowMs);
    const message = verdict.message.slice(0, MESSAGE_MAX);
    return {
      type,
      ...verdict,
      message,
      lastTransitionTime: since,
      ...given("observedGeneration", metadata.generation),
    };
  });
}

const UNIT_S: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

export function secondsOf(duration: string): number {
  const [, count = "0", unit = "s"] = /^([0-9]+)(ms|s|m|h)$/.exec(duration) ?? [];
  return Number(count) * (UNIT_S[unit] ?? 1);
}

/** Conditions have whole seconds. */
function timeOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

function iso(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

function keep<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return given(key, value);
}

function given<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}
