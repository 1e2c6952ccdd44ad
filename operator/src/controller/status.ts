import {
  conditionTypes,
  type Condition,
  type ConditionType,
  type MetaMasterCluster,
  type Status,
} from "../../../crds/src/index.js";
import { madeSwitchover, pendingSwitchover } from "../decisions/declared.js";
import type { Action } from "../decisions/members.js";
import { RESTARTED_ANNOTATION } from "../objects/rendering.js";
import { selectorLabels } from "../objects/names.js";
import { bucketReachable } from "./bucket-condition.js";
import { endedOften, silenceOf } from "./failure.js";
import { primaryAmong, type Observed } from "./observe.js";
import type { Verdict } from "./verdict.js";

type Verdicts = { readonly [T in ConditionType]: Verdict<T> };

export interface Situation {
  readonly cluster: MetaMasterCluster;
  readonly members: readonly Observed[];
  readonly action: Action;
  /** Members there should be, where that is not what the spec asks for: it can't be carried out, and as many as there were go on. */
  readonly wanted?: number | undefined;
  /** Of the spec, found by the operator: names the field. */
  readonly invalid: string | undefined;
  /** An object that the spec asks for can't be made or changed: which, and why. */
  readonly refused?: string | undefined;
  /** Why pods that are wanted can't be made. */
  readonly missing?: string | undefined;
  /** Volumes that are smaller than is wanted: which, and why. */
  readonly cantGrow?: string | undefined;
  /** Volumes that have not grown yet: which, and what they wait for. */
  readonly resizing?: string | undefined;
  /** Image of the members' sidecars, where this operator would take another one. */
  readonly outdated?: string | undefined;
  /** Of a resource that is being deleted. */
  readonly deletion?: { readonly why: string; readonly failure: string | undefined } | undefined;
  readonly nowMs: number;
}

const FAILOVER_RECENT_MS = 5 * 60_000;
const MESSAGE_MAX = 1024;
const GOES_ON = "The members that run go on, and are looked after; what is new in the spec waits.";

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
    BucketReachable: bucketReachable(situation.cluster, situation.members, primary),
    Progressing: progressing(situation),
    Degraded: degraded(situation),
  };
}

function ready(situation: Situation, primary: Observed | undefined): Verdict<"Ready"> {
  const { members, invalid, refused } = situation;
  const wanted = wantedOf(situation);
  const wrong = invalid ?? refused;
  // What runs goes on, whatever is wrong with the spec by now.
  if (wrong !== undefined && members.length === 0) return { status: "False", reason: "SpecInvalid", message: wrong };
  if (wanted === 0 && members.length === 0)
    return { status: "True", reason: "ScaledToZero", message: "No member is wanted; the history is in the bucket." };
  if (wanted === 0) {
    const message = `${members.map(describe).join("; ")}. What they wrote is in the bucket once they have ended.`;
    return { status: "False", reason: "ScalingToZero", message };
  }
  const count = members.filter(isReady).length;
  if (primary === undefined) return { status: "False", reason: "NoPrimary", message: whyNoPrimary(situation) };
  if (count >= wanted)
    return {
      status: "True",
      reason: "AllMembersReady",
      message: `${primary.member.name} is primary, ${followText(count - 1)}.`,
    };
  const missing = members.filter((each) => !isReady(each)).map(describe);
  const why = [...missing, ...notMade(situation)].join("; ");
  return {
    status: "False",
    reason: "MembersMissing",
    message: `${count} of ${wanted} members are ready. ${why}`.trim(),
  };
}

function wantedOf({ cluster, wanted }: Situation): number {
  return wanted ?? cluster.spec.replicas;
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

/** Pods that are wanted, and why there are none. */
function notMade({ missing }: Situation): string[] {
  return missing === undefined ? [] : [`pods can't be made: ${missing}`];
}

/** The role of each, and why of one: what keeps all from the bucket is the same for each of them, and long. */
function whyNoPrimary(situation: Situation): string {
  const { cluster, members } = situation;
  const [none] = notMade(situation);
  const troubled = members.find(isTroubled) ?? members[0];
  if (troubled === undefined) {
    const look = `if that stays so, see: kubectl describe statefulset ${cluster.metadata.name}`;
    return `There is no pod yet; ${none ?? look}`;
  }
  const roles = members.map(({ member }) => `${member.name} is ${member.role}`).join(", ");
  const also = none === undefined ? "" : `; ${none}`;
  return `Nobody is primary: ${roles}. ${troubled.member.name}: ${whyOf(troubled)}${also}`;
}

function isTroubled({ pod, document, failing }: Observed): boolean {
  const { halt, trouble, bucketTrouble } = document ?? {};
  if ((halt ?? trouble ?? bucketTrouble ?? failing) !== undefined) return true;
  return document === undefined && endedOften(pod);
}

function primaryElected(situation: Situation, primary: Observed | undefined): Verdict<"PrimaryElected"> {
  const { members } = situation;
  if (wantedOf(situation) === 0 && members.length === 0)
    return { status: "False", reason: "ScaledToZero", message: "No member is wanted." };
  if (primary !== undefined) {
    return {
      status: "True",
      reason: "Elected",
      message: `${primary.member.name} is primary of epoch ${primary.document?.epoch ?? 0}.`,
    };
  }
  const electing = members.some(({ member }) => ["Syncing", "Standby", "Promoting", "Fencing"].includes(member.role));
  const message = whyNoPrimary(situation);
  return { status: "False", reason: electing ? "Electing" : "NoCandidate", message };
}

function replicating(situation: Situation, primary: Observed | undefined): Verdict<"Replicating"> {
  if (primary === undefined) return { status: "False", reason: "NoPrimary", message: "Nobody is primary." };
  const { cluster, members } = situation;
  const trouble = primary.document?.ship?.trouble ?? primary.document?.bucketTrouble;
  if (trouble !== undefined)
    return { status: "False", reason: "NotShipping", message: `${primary.member.name}: ${trouble}` };
  const standbys = members.filter(({ member }) => member.role === "Standby");
  const wanted = Math.max(0, wantedOf(situation) - 1);
  if (standbys.length === 0 && wanted > 0) {
    return { status: "False", reason: "NoStandby", message: whyNoStandby(primary, members) };
  }
  const most = secondsOf(cluster.spec.checkpoint.interval);
  const lagging = standbys.filter((each) => (each.member.lagSeconds ?? each.lagAtLeast ?? 0) > most);
  if (lagging.length > 0) {
    const names = lagging.map((each) => `${each.member.name} is ${behind(each)} behind`).join("; ");
    return { status: "False", reason: "Lagging", message: names };
  }
  return { status: "True", reason: "Following", message: whoFollows(primary, standbys.length, wanted) };
}

function whyNoStandby({ member: { name } }: Observed, members: readonly Observed[]): string {
  const others = members.filter(({ member }) => member.name !== name).map(describe);
  const why = others.length === 0 ? "There is no other pod yet." : `${others.join("; ")}.`;
  return `Nobody follows ${name}: if it is lost, another member must restore from the bucket first. ${why}`;
}

function behind({ member, lagAtLeast }: Observed): string {
  return member.lagSeconds === undefined ? `at least ${Math.round(lagAtLeast ?? 0)} s` : `${member.lagSeconds} s`;
}

function whoFollows({ member: { name } }: Observed, count: number, wanted: number): string {
  if (count === 0) return `No standby is wanted: what ${name} writes goes to the bucket.`;
  return `${count < wanted ? `${count} of ${wanted} standbys follow` : followText(count)} ${name}.`;
}

function followText(standbys: number): string {
  return standbys === 1 ? "1 standby follows" : `${standbys === 0 ? "no" : standbys} standbys follow`;
}

function progressing({
  cluster,
  members,
  action,
  invalid,
  refused,
  outdated,
  resizing,
  deletion,
}: Situation): Verdict<"Progressing"> {
  const why = action.do === "Nothing" ? "" : action.why;
  if (cluster.metadata.deletionTimestamp !== undefined)
    return { status: "True", reason: "Deleting", message: deletion?.why ?? "The resource is being deleted." };
  if (action.do === "Switchover")
    return { status: "True", reason: "SwitchingOver", message: `To ${action.target}: ${why}` };
  if ((invalid ?? refused) !== undefined) {
    if (action.do === "DeletePod") return { status: "True", reason: "Updating", message: why };
    const also = why === "" ? "" : ` ${why}`;
    return { status: "False", reason: "Stable", message: `Nothing is changed: the spec can't be carried out.${also}` };
  }
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
  if (resizing !== undefined) return { status: "True", reason: "Resizing", message: resizing };
  const older = `The members run the sidecar ${outdated}, not this operator's; to replace them one by one: kubectl annotate mmc ${cluster.metadata.name} ${RESTARTED_ANNOTATION}="$(date)" --overwrite`;
  const message = outdated === undefined ? "Nothing is being changed." : `Nothing is being changed. ${older}`;
  return { status: "False", reason: "Stable", message };
}

function degraded(situation: Situation): Verdict<"Degraded"> {
  const { cluster, members, nowMs, invalid, refused, cantGrow, deletion } = situation;
  if (deletion?.failure !== undefined) return { status: "True", reason: "PurgeFailed", message: deletion.failure };
  const goesOn = members.length === 0 ? "" : ` ${GOES_ON}`;
  if (invalid !== undefined) return { status: "True", reason: "SpecInvalid", message: `${invalid}${goesOn}` };
  if (refused !== undefined) return { status: "True", reason: "ApplyRefused", message: `${refused}${goesOn}` };
  const halted = members.find(({ member }) => member.role === "Halted");
  if (halted !== undefined) return { status: "True", reason: "MemberHalted", message: describe(halted) };
  const failing = members.find(isTroubled);
  if (failing !== undefined)
    return { status: "True", reason: "MemberFailing", message: `${failing.member.name}: ${whyOf(failing)}` };
  const [none] = notMade(situation);
  if (none !== undefined) return { status: "True", reason: "MemberFailing", message: none };
  if (cantGrow !== undefined) return { status: "True", reason: "VolumeCantGrow", message: cantGrow };
  const last = newestFailover(members) ?? cluster.status?.lastFailover;
  // Of one that is scaled to none nobody looks again when the minutes are over.
  if (
    last !== undefined &&
    members.length > 0 &&
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
