import { follows, primaryOf, wait, nothing, type Action, type Member } from "./members.js";

export interface TargetWish {
  /** No further behind than this, seconds. */
  readonly maxLagSeconds: number;
  /** Who may be it at all. */
  readonly may: (member: Member) => boolean;
  /** Rather than others. */
  readonly rather?: (member: Member) => boolean;
}

/** The standby that loses the least: those that tell of no trouble first (one without a watchdog refuses), of them the preferred ones, then the closest behind, then the lowest ordinal. */
export function bestTarget(members: readonly Member[], { maxLagSeconds, may, rather }: TargetWish): Member | undefined {
  const rank = (member: Member): number => (member.troubled ? 2 : 0) + (rather?.(member) === true ? 0 : 1);
  return members
    .filter((member) => follows(member) && !member.cordoned && !member.nodeSilent && may(member))
    .filter(({ lagSeconds }) => lagSeconds !== undefined && lagSeconds <= maxLagSeconds)
    .toSorted((a, b) => rank(a) - rank(b) || lag(a) - lag(b) || a.ordinal - b.ordinal)[0];
}

function lag({ lagSeconds = Infinity }: Member): number {
  return lagSeconds;
}

/** The switchover that the spec declares. */
export function declaredSwitchover(
  members: readonly Member[],
  wish: { readonly target: string; readonly maxLagSeconds: number } | undefined,
): Action {
  if (wish === undefined) return nothing;
  const { target, maxLagSeconds } = wish;
  const primary = primaryOf(members);
  if (primary?.name === target) return nothing;
  const member = members.find(({ name }) => name === target);
  if (member === undefined) return wait(`switchover.target names ${target}, which is no pod of this resource`);
  if (primary === undefined) return wait(`nobody is primary: a switchover to ${target} has nothing to take over from`);
  if (!follows(member)) return wait(`${target} is ${member.deleting ? "being deleted" : member.role}, not Standby`);
  if (member.lagSeconds === undefined) return wait(`how far ${target} is behind is not known`);
  if (member.lagSeconds > maxLagSeconds) {
    return wait(`${target} is ${member.lagSeconds} s behind, switchover.maxLag allows ${maxLagSeconds} s`);
  }
  return { do: "Switchover", target, why: "the spec asks for it" };
}

/**
 * A node under the primary is drained: the eviction goes through once another member is primary. Or its kubelet is silent: the primary serves on, but the
 * cluster takes its pod out of the Service.
 */
export function offItsNode(members: readonly Member[], maxLagSeconds: number): Action {
  const primary = primaryOf(members);
  if (primary === undefined || !(primary.cordoned || primary.nodeSilent)) return nothing;
  const why = `the node of ${primary.name} is ${primary.cordoned ? "cordoned" : "not Ready"}`;
  const target = bestTarget(members, { maxLagSeconds, may: () => true });
  if (target === undefined && members.length === 1) {
    return wait(
      `${why}, and it is the only member: its eviction is refused. Scale out, and another takes over; or delete the pod, and nobody serves until it runs elsewhere`,
    );
  }
  if (target === undefined) return wait(`${why}, and no standby on another node is close enough to be primary instead`);
  return { do: "Switchover", target: target.name, why };
}
