import { field, list, type LiveObject } from "./objects.js";

/** What of a node matters to the pods on it. */
export interface NodeState {
  /** It takes no new pods: somebody drains it. */
  readonly cordoned: boolean;
  /** Its kubelet is not heard from, or is not well: the cluster takes its pods out of Services, whatever they do. */
  readonly nodeSilent: boolean;
}

export function nodeState(node: LiveObject): NodeState {
  const ready = list(node, "status", "conditions").find((each) => field(each, "type") === "Ready");
  const status = field(ready, "status");
  return {
    cordoned: field(node, "spec", "unschedulable") === true,
    // A node that says nothing of it yet has no pods that were ever ready.
    nodeSilent: status === "False" || status === "Unknown",
  };
}
