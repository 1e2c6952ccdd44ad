import { nothing, primaryOf, wait, type Action, type Member } from "./members.js";
import { bestTarget } from "./switchover.js";

export interface ScaleWish {
  /** What the StatefulSet is set to. */
  readonly current: number;
  readonly wanted: number;
  readonly maxLagSeconds: number;
}

/**
 * A StatefulSet takes away its highest ordinals. The primary never goes by that: another one takes over first. To 0 it may, because whoever stops in
 * order ships its tail, and what is in the bucket is all that there is then.
 */
export function scale(members: readonly Member[], { current, wanted, maxLagSeconds }: ScaleWish): Action {
  if (wanted === current) return nothing;
  const set = (why: string): Action => ({ do: "SetReplicas", replicas: wanted, why });
  if (wanted > current) return set(`from ${current} to ${wanted}`);
  const primary = primaryOf(members);
  if (wanted === 0) {
    // Nobody is primary while one is being elected: who would ship the tail?
    const mayHoldTail = members.some(({ role }) => role === "Promoting" || role === "Fencing");
    return mayHoldTail
      ? wait("a primary is being elected or ended: its tail must be in the bucket first")
      : set("to none");
  }
  if (primary === undefined) return wait("nobody is primary: which members may go is not known");
  if (primary.ordinal < wanted) return set(`from ${current} to ${wanted}`);
  const target = bestTarget(members, { maxLagSeconds, may: ({ ordinal }) => ordinal < wanted });
  if (target === undefined) {
    return wait(`${primary.name}, the primary, would go, and no standby that stays is close enough to take over`);
  }
  return { do: "Switchover", target: target.name, why: `${primary.name} goes when there are ${wanted}` };
}
