import { SIDECAR_CONTAINER, WATCHDOG_CONTAINER } from "../../../crds/src/index.js";
import { HTTP_PORT } from "../objects/names.js";
import { field, list, number, text } from "../kube/objects.js";

const RESTARTS_MANY = 3;
const WHY_MAX = 600;
const HARMLESS: ReadonlySet<string> = new Set(["PodInitializing", "ContainerCreating", "Completed"]);

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
    const reason = text(status, "state", "waiting", "reason") ?? text(status, "state", "terminated", "reason");
    if (reason === undefined || HARMLESS.has(reason)) continue;
    const restarts = number(status, "restartCount") ?? 0;
    const ended = reason === "CrashLoopBackOff" || field(status, "state", "terminated") !== undefined;
    if (ended && restarts < RESTARTS_MANY) continue;
    const words = lastWords(status);
    const why = (words ?? text(status, "state", "waiting", "message") ?? "").slice(0, WHY_MAX);
    const name = text(status, "name") ?? "";
    const look =
      ended && words === undefined
        ? `; see: kubectl logs ${text(pod, "metadata", "name") ?? "POD"} -c ${name} --previous`
        : "";
    return `container ${name}: ${reason}${why === "" ? "" : ` (${why})`}${look}`;
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
  const words = sidecars(pod).flatMap((status) => lastWords(status) ?? [])[0];
  if (words !== undefined) return `its sidecar ended and does not answer again yet (${words.slice(0, WHY_MAX)})`;
  return `its sidecar does not answer the operator at ${address}:${HTTP_PORT}; if that stays so: is the sidecar running, and do NetworkPolicies let the operator reach that port?`;
}

/** Its sidecar ends again and again; between two ends it runs for a moment. */
export function endedOften(pod: unknown): boolean {
  return sidecars(pod).some(
    (status) => (number(status, "restartCount") ?? 0) >= RESTARTS_MANY && lastWords(status) !== undefined,
  );
}

function sidecars(pod: unknown): readonly unknown[] {
  return list(pod, "status", "initContainerStatuses");
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
