import type { MetaMasterCluster, MemberStatus } from "../../../crds/src/index.js";
import type { Member } from "../decisions/members.js";
import { nodeState } from "../kube/node-state.js";
import { text, type LiveObject } from "../kube/objects.js";
import type { Store } from "../kube/store.js";
import { HTTP_PORT, namespaceOf, ROLE_LABEL } from "../objects/names.js";
import { failureOf, sidecarFailureOf } from "./failure.js";
import type { LagClock } from "./lag.js";
import type { MemberDocument } from "./member-status.js";

/** One pod, what its sidecar says, and what the decisions need of it. */
export interface Observed {
  readonly pod: LiveObject;
  readonly document: MemberDocument | undefined;
  readonly member: Member;
  readonly slot: number;
  /** Of a standby whose lag is not known, because it has been behind since before it was looked at: seconds. */
  readonly lagAtLeast?: number | undefined;
  /** Its containers don't start, or end again and again: why. */
  readonly failing: string | undefined;
}

export type AskMember = (url: string, pod: LiveObject) => Promise<MemberDocument | undefined>;

/** All pods of the cluster, by ordinal. */
export async function observe(
  cluster: MetaMasterCluster,
  store: Pick<Store, "of" | "get">,
  lag: LagClock,
  ask: AskMember,
): Promise<Observed[]> {
  const pods = store
    .of("Pod", namespaceOf(cluster), cluster.metadata.name)
    .filter((pod) => ordinalOf(cluster, pod) !== undefined)
    .toSorted((a, b) => (ordinalOf(cluster, a) ?? 0) - (ordinalOf(cluster, b) ?? 0));
  const documents = await Promise.all(
    pods.map(async (pod) => {
      const address = text(pod, "status", "podIP");
      if (address === undefined || text(pod, "status", "phase") === "Failed") return undefined;
      const host = address.includes(":") ? `[${address}]` : address;
      return await ask(`http://${host}:${HTTP_PORT}`, pod);
    }),
  );
  const primary = newestPrimary(documents.flatMap((document) => document ?? []));
  if (primary?.position !== undefined) lag.primaryAt(primary.position.slot);
  return pods.map((pod, at) => {
    const found = observed(cluster, store, lag, pod, documents[at]);
    const mayServe = primary === undefined && wasLast(found, "primary");
    return { ...found, member: { ...found.member, mayServe, mayFollow: wasLast(found, "standby") } };
  });
}

/** One that was cut off may say for a while that it still is. */
function newestPrimary(documents: readonly MemberDocument[]): MemberDocument | undefined {
  return documents.filter(({ role }) => role === "Primary").toSorted((a, b) => b.epoch - a.epoch)[0];
}

export function primaryAmong(members: readonly Observed[]): Observed | undefined {
  const newest = newestPrimary(members.flatMap(({ document }) => document ?? []));
  return newest && members.find(({ document }) => document === newest);
}

/** It does not answer us, but was this by its own word, and nothing says that it has ended: another container of its pod may fail as it likes. */
function wasLast({ pod, document }: Observed, role: "primary" | "standby"): boolean {
  if (document !== undefined || text(pod, "metadata", "labels", ROLE_LABEL) !== role) return false;
  return text(pod, "status", "phase") === "Running" && sidecarFailureOf(pod) === undefined;
}

function observed(
  cluster: MetaMasterCluster,
  store: Pick<Store, "get">,
  lag: LagClock,
  pod: LiveObject,
  document: MemberDocument | undefined,
): Observed {
  const slot = document?.position?.slot ?? -1;
  const role: MemberStatus["role"] = document?.role ?? "Unknown";
  const node = store.get("Node", text(pod, "spec", "nodeName") ?? "");
  const member: Member = {
    name: text(pod, "metadata", "name") ?? "",
    ordinal: ordinalOf(cluster, pod) ?? 0,
    role,
    mayServe: false,
    mayFollow: false,
    troubled: (document?.trouble ?? document?.bucketTrouble) !== undefined,
    lagSeconds: role === "Standby" ? lag.secondsBehind(slot) : undefined,
    revision: text(pod, "metadata", "labels", "controller-revision-hash") ?? "",
    deleting: text(pod, "metadata", "deletionTimestamp") !== undefined,
    ...(node === undefined ? { cordoned: false, nodeSilent: false } : nodeState(node)),
  };
  const lagAtLeast = role === "Standby" ? lag.atLeastBehind(slot) : undefined;
  return { pod, document, member, slot, lagAtLeast, failing: failureOf(pod) };
}

function ordinalOf(cluster: MetaMasterCluster, pod: LiveObject): number | undefined {
  const [, digits] = /-([0-9]{1,4})$/.exec(text(pod, "metadata", "name") ?? "") ?? [];
  const prefix = `${cluster.metadata.name}-${digits ?? ""}`;
  return digits !== undefined && text(pod, "metadata", "name") === prefix ? Number(digits) : undefined;
}
