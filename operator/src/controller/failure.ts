import { SIDECAR_CONTAINER, WATCHDOG_CONTAINER } from "../../../crds/src/index.js";
import { HTTP_PORT } from "../objects/names.js";
import { list, number, text } from "../kube/objects.js";

const RESTARTS_MANY = 3;
const WHY_MAX = 600;

/** Why a pod's container can't be started, or waits after ending again and again, for people. One that waits for the gate is as it should be. */
export function failureOf(pod: unknown): string | undefined {
  return failureAmong(pod, () => true);
}

/** The same of our container alone: whatever becomes of others, this one goes on. */
export function sidecarFailureOf(pod: unknown): string | undefined {
  return failureAmong(pod, (name) => name === SIDECAR_CONTAINER);
}

function failureAmong(pod: unknown, isOne: (container: string | undefined) => boolean): string | undefined {
  const all = [...list(pod, "status", "initContainerStatuses"), ...list(pod, "status", "containerStatuses")];
  const statuses = all.filter((status) => isOne(text(status, "name")));
  for (const status of statuses) {
    const reason = text(status, "state", "waiting", "reason");
    if (reason === undefined || reason === "PodInitializing" || reason === "ContainerCreating") continue;
    const restarts = number(status, "restartCount") ?? 0;
    if (reason === "CrashLoopBackOff" && restarts < RESTARTS_MANY) continue;
    const why = (lastWords(status) ?? text(status, "state", "waiting", "message") ?? "").slice(0, WHY_MAX);
    return `container ${text(status, "name") ?? ""}: ${reason}${why === "" ? "" : ` (${why})`}`;
  }
  const unscheduled = list(pod, "status", "conditions").find(
    (each) => text(each, "type") === "PodScheduled" && text(each, "status") === "False",
  );
  return unscheduled === undefined
    ? undefined
    : `it can't be scheduled: ${text(unscheduled, "message")?.slice(0, WHY_MAX) ?? ""}`;
}

/** Why nothing is known of a pod that does not fail. */
export function silenceOf(pod: unknown): string {
  const name = text(pod, "metadata", "name") ?? "";
  if (text(pod, "metadata", "deletionTimestamp") !== undefined) return "it is being deleted";
  const address = text(pod, "status", "podIP");
  if (address === undefined)
    return `its containers are being made; if that takes long, see: kubectl describe pod ${name}`;
  return `its sidecar does not answer the operator at ${address}:${HTTP_PORT}; if that stays so: is the sidecar running, and do NetworkPolicies let the operator reach that port?`;
}

/** The error with which our container in a pod ended last; undefined: it ended well, or not yet. */
export function lastError(pod: unknown): string | undefined {
  for (const status of list(pod, "status", "containerStatuses")) {
    const error = lastWords(status);
    if (error !== undefined) return error.slice(0, WHY_MAX);
  }
  return undefined;
}

const OURS: ReadonlySet<string | undefined> = new Set([SIDECAR_CONTAINER, WATCHDOG_CONTAINER]);

/** The error with which a container of ours ended: what is wrong and what to do. The kubelet keeps the end of its log. */
function lastWords(status: unknown): string | undefined {
  if (!OURS.has(text(status, "name"))) return undefined;
  const log =
    text(status, "state", "terminated", "message") ?? text(status, "lastState", "terminated", "message") ?? "";
  const error = /(?:^|\n)error: (?![^]*\nerror: )([^]*)$/.exec(log)?.[1];
  return error?.trim().replaceAll(/\s*\n\s*/g, "; ");
}
