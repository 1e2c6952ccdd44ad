import type { MemberStatus } from "../../../crds/src/index.js";

/** One pod and what its sidecar says, as of one look. */
export interface Member {
  /** Name of the pod. */
  readonly name: string;
  readonly ordinal: number;
  readonly role: MemberStatus["role"];
  /** What it is isn't known, and it may be the one that serves. */
  readonly mayServe: boolean;
  /** What it is isn't known; by its own last word it follows, and nothing says that it has ended. */
  readonly mayFollow: boolean;
  /** It tells of something that keeps it from going on. */
  readonly troubled: boolean;
  /** Behind the primary; undefined: not known. */
  readonly lagSeconds: number | undefined;
  /** Of the template that the pod was made from. */
  readonly revision: string;
  /** The pod is about to go. */
  readonly deleting: boolean;
  /** Its node takes no new pods: somebody drains it. */
  readonly cordoned: boolean;
  /** Its node's kubelet is not heard from, or says that it is not well: no Service leads to a pod there. */
  readonly nodeSilent: boolean;
}

/** What the operator does next. One dangerous thing at a time: it looks again before the next. */
export type Action =
  | { readonly do: "Nothing" }
  /** Something is needed, and can't be done yet. */
  | { readonly do: "Wait"; readonly why: string }
  | { readonly do: "Switchover"; readonly target: string; readonly why: string }
  | { readonly do: "DeletePod"; readonly pod: string; readonly why: string }
  | { readonly do: "SetReplicas"; readonly replicas: number; readonly why: string };

export const nothing: Action = { do: "Nothing" };

export function wait(why: string): Action {
  return { do: "Wait", why };
}

export function primaryOf(members: readonly Member[]): Member | undefined {
  return members.find(({ role }) => role === "Primary");
}

/** It follows, and nobody is about to take it away. */
export function follows(member: Member): boolean {
  return member.role === "Standby" && !member.deleting;
}
