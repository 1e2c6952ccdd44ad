import { follows, nothing, primaryOf, wait, type Action, type Member } from "./members.js";
import { bestTarget } from "./switchover.js";

export interface RolloutWish {
  /** Pods there should be: while one is missing, who is left carries everything. */
  readonly current: number;
  /** What every pod should be made from. */
  readonly revision: string;
  /** `BrokenOnly`: whoever is well stays as it is. */
  readonly policy: "StandbysFirst" | "OnDelete" | "BrokenOnly";
  readonly maxLagSeconds: number;
}

/** One standby after the other, each only when all others follow; then a switchover to one of them; then the old primary. */
export function rollout(members: readonly Member[], { current, revision, policy, maxLagSeconds }: RolloutWish): Action {
  const isOld = (member: Member): boolean => member.revision !== revision;
  if (policy === "OnDelete" || !members.some(isOld)) return nothing;
  const going = members.find(({ deleting }) => deleting);
  if (going !== undefined) return wait(`${going.name} is being replaced`);
  if (members.length < current) return wait(`${current - members.length} of ${current} pods are not there yet`);
  const primary = primaryOf(members);
  const broken = members.find((member) => isOld(member) && member !== primary && isUseless(member, primary));
  if (broken !== undefined) {
    return { do: "DeletePod", pod: broken.name, why: `it is ${broken.role}, and of the template before` };
  }
  if (policy === "BrokenOnly") return nothing;
  const late = members.find((member) => member !== primary && !follows(member));
  if (late !== undefined) {
    const is = late.role === "Unknown" ? "does not answer the operator" : `is ${late.role}`;
    return wait(`${late.name} ${is}: ${wayOut(late, isOld(late))}`);
  }
  if (primary === undefined) return wait("nobody is primary");
  // It follows, and does not stand for election perhaps (no watchdog, a bucket that takes no write): what its template brought the others are spared.
  const unwell = members.find((member) => member !== primary && !isOld(member) && member.troubled);
  if (unwell !== undefined) {
    return wait(`${unwell.name} is of the new template, and troubled: the next pod is replaced once it is well`);
  }
  const standby = members
    .filter((member) => member !== primary && isOld(member))
    .toSorted((a, b) => b.ordinal - a.ordinal)[0];
  if (standby !== undefined) return { do: "DeletePod", pod: standby.name, why: "it is of the template before" };
  return oldPrimary(members, primary, maxLagSeconds);
}

/** Its pod may go, the volume keeps the evidence; but a person decides, who has read why. */
function wayOut({ name, role }: Member, old: boolean): string {
  return role === "Halted" && old
    ? `it is of the template before; once its reason is dealt with: kubectl delete pod ${name}`
    : "the next pod is replaced once it follows";
}

/** Only the primary is old. */
function oldPrimary(members: readonly Member[], primary: Member, maxLagSeconds: number): Action {
  if (members.length === 1) {
    return { do: "DeletePod", pod: primary.name, why: "it is of the template before, and the only member" };
  }
  const target = bestTarget(members, { maxLagSeconds, may: () => true });
  if (target === undefined) return wait(`no standby is close enough to take over from ${primary.name}`);
  return { do: "Switchover", target: target.name, why: `${primary.name} is of the template before` };
}

/**
 * It serves nobody and follows nothing, so that nothing is lost if it goes; what keeps it from following may be the very template that is replaced. One that merely didn't answer may be well. A halted one keeps its
 * evidence until somebody decides.
 */
function isUseless({ role, mayServe, mayFollow, troubled }: Member, primary: Member | undefined): boolean {
  if (role === "Unknown") return !mayServe && !mayFollow;
  return role === "Syncing" || (role === "Standby" && primary === undefined && troubled);
}
