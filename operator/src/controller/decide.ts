import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { pendingSwitchover } from "../decisions/declared.js";
import type { Action } from "../decisions/members.js";
import { nextAction, type Wishes } from "../decisions/next-action.js";
import { number, text, type LiveObject } from "../kube/objects.js";
import type { Observed } from "./observe.js";
import { secondsOf } from "./status.js";

/** What the spec asks for next. */
export function decide(cluster: MetaMasterCluster, members: readonly Observed[], set: LiveObject): Action {
  const { replicas } = cluster.spec;
  const switchover = pendingSwitchover(cluster.spec.switchover, cluster.status?.switchover);
  return nextAction(membersOf(members), number(set, "spec", "replicas") ?? replicas, {
    switchover: switchover && { target: switchover.target, maxLagSeconds: secondsOf(switchover.maxLag) },
    replicas,
    ...ofTemplate(cluster, set),
  });
}

/**
 * What there is to do while the spec can't be carried out: as many members as there should be by the StatefulSet, of its template, which is that of the last spec that could be. A primary still leaves a node that is
 * drained, and a member that is of no use to anybody gives way to a new one; nobody who is well is replaced.
 */
export function decideStanding(
  cluster: MetaMasterCluster,
  members: readonly Observed[],
  set: LiveObject | undefined,
): Action {
  const current = number(set, "spec", "replicas") ?? members.length;
  const template = ofTemplate(cluster, set);
  return nextAction(membersOf(members), current, {
    switchover: undefined,
    replicas: current,
    ...template,
    policy: template.policy === "OnDelete" ? "OnDelete" : "BrokenOnly",
  });
}

function membersOf(members: readonly Observed[]): Parameters<typeof nextAction>[0] {
  return members.map(({ member }) => member);
}

function ofTemplate(
  { spec }: MetaMasterCluster,
  set: LiveObject | undefined,
): Pick<Wishes, "revision" | "policy" | "maxLagSeconds"> {
  const { update, checkpoint } = spec;
  // What the StatefulSet's controller has not seen yet it has no revision for.
  const seen = number(set, "status", "observedGeneration") === number(set, "metadata", "generation");
  const revision = text(set, "status", "updateRevision") ?? "";
  return {
    revision,
    policy: seen && revision !== "" ? update.policy : "OnDelete",
    maxLagSeconds: secondsOf(checkpoint.interval),
  };
}
