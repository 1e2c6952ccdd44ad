import type { KubeClient } from "./client.js";
import { field, isObject } from "./json.js";

const podsMax = 500;

/**
 * Positive evidence that a pod's containers have ended for good: its kubelet reported it of a pod that it will not start again, and its node is still heard from. A pod object that is gone is no
 * evidence, nor is a node that is silent: both may be cut off, with everything still running.
 */
export class PodEvidence {
  readonly #client: KubeClient;
  readonly #labels: string;

  /** `labels`: a selector of the cluster's pods. */
  constructor(client: KubeClient, labels: string) {
    this.#client = client;
    this.#labels = labels;
  }

  async hasEnded(uid: string, signal: AbortSignal): Promise<boolean> {
    const { namespace } = this.#client;
    const pods = { group: "", version: "v1", resource: "pods", namespace };
    const all = await this.#client.list(pods, this.#labels, podsMax, signal);
    const pod = all.find((each) => field(each, "metadata", "uid") === uid);
    if (pod === undefined || !allContainersEnded(pod) || mayStartAgain(pod)) return false;
    const node = field(pod, "spec", "nodeName");
    if (typeof node !== "string" || node === "") return false;
    return isHeardFrom(await this.#client.get({ group: "", version: "v1", resource: "nodes", name: node }, signal));
  }
}

/** Every container that the pod has, sidecars and other init containers included, is reported as terminated. One that waits may start any moment. */
export function allContainersEnded(pod: unknown): boolean {
  const kinds = [
    ["containers", "containerStatuses"],
    ["initContainers", "initContainerStatuses"],
  ] as const;
  let count = 0;
  for (const [specs, statuses] of kinds) {
    const wanted = field(pod, "spec", specs) ?? [];
    const reported = field(pod, "status", statuses) ?? [];
    if (!Array.isArray(wanted) || !Array.isArray(reported)) return false;
    for (const container of wanted) {
      const name = field(container, "name");
      const status: unknown = reported.find((each) => field(each, "name") === name);
      if (field(status, "state", "terminated") === undefined) return false;
      count += 1;
    }
  }
  return count > 0;
}

/**
 * A kubelet that restarts brings a pod back under the same UID: what it reported before says nothing of what runs now, and the next report may be held up. It starts none again whose phase is a last one, or
 * that is being deleted, if it knew: newer clusters (1.34) number what a pod is to be, and say which of it a status is about.
 */
export function mayStartAgain(pod: unknown): boolean {
  const { phase, observedGeneration: seen } = asObject(field(pod, "status"));
  const { deletionTimestamp, generation } = asObject(field(pod, "metadata"));
  if (typeof seen === "number" && typeof generation === "number" && seen < generation) return true;
  return phase !== "Succeeded" && phase !== "Failed" && typeof deletionTimestamp !== "string";
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {};
}

/** The node controller turns it to Unknown when the kubelet falls silent. */
export function isHeardFrom(node: unknown): boolean {
  const conditions = field(node, "status", "conditions");
  if (!Array.isArray(conditions)) return false;
  return conditions.some((each) => field(each, "type") === "Ready" && field(each, "status") === "True");
}
