import { nothing, wait, type Action, type Member } from "./members.js";
import { rollout, type RolloutWish } from "./rollout.js";
import { scale } from "./scale.js";
import { declaredSwitchover, offItsNode } from "./switchover.js";

export interface Wishes extends Omit<RolloutWish, "current"> {
  readonly switchover: { readonly target: string; readonly maxLagSeconds: number } | undefined;
  readonly replicas: number;
}

/**
 * The one thing to do now. What a person asked for comes first, then what is about to be taken away, then size, then versions. What waits holds up what comes
 * after it only where both would move the primary; a node that is drained, or that no Service leads to, doesn't wait.
 */
export function nextAction(members: readonly Member[], current: number, wishes: Wishes): Action {
  const { switchover, replicas: wanted, maxLagSeconds } = wishes;
  const primaries = members.filter(({ role }) => role === "Primary");
  // One of them is cut off and doesn't know yet; which one, the log says, and they will.
  if (primaries.length > 1) return wait(`${primaries.map(({ name }) => name).join(" and ")} both say they are primary`);
  const declared = declaredSwitchover(members, switchover);
  const away = offItsNode(members, maxLagSeconds);
  const steps: readonly (() => Action)[] = [
    () => declared,
    () => away,
    () => scale(members, { current, wanted, maxLagSeconds }),
    () => rollout(members, { ...wishes, current }),
  ];
  let waiting: Action = nothing;
  for (const step of steps) {
    const action = step();
    if (action.do === "Wait" && waiting.do === "Nothing") waiting = action;
    // A person waits for another primary: no step of ours makes one in the meantime.
    else if (action.do === "Switchover" && declared.do === "Wait" && action !== away) continue;
    else if (action.do !== "Nothing" && action.do !== "Wait") return action;
  }
  return waiting;
}
