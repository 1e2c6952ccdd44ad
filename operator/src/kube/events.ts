import { CoreV1Api, type KubeConfig } from "@kubernetes/client-node";

/** A StatefulSet's controller tries again within a quarter of an hour at the latest, a Job's sooner, and both say so each time. */
const OLD_MS = 20 * 60_000;

/** Who makes pods. */
export interface PodOwner {
  readonly kind: "StatefulSet" | "Job";
  readonly namespace: string;
  readonly name: string;
}

/** What Kubernetes' own controllers tell by events alone. */
export class EventReader {
  readonly #api: CoreV1Api;

  constructor(config: KubeConfig) {
    this.#api = config.makeApiClient(CoreV1Api);
  }

  /** Why the pods of a StatefulSet or a Job can't be made; undefined: nothing says that they can't. */
  async podRefusal(owner: PodOwner, nowMs: number): Promise<string | undefined> {
    const { kind, namespace, name } = owner;
    const about = { "involvedObject.kind": kind, "involvedObject.name": name, reason: "FailedCreate" };
    const fieldSelector = Object.entries(about)
      .map(([field, value]) => `${field}=${value}`)
      .join(",");
    const { items } = await this.#api.listNamespacedEvent({ namespace, fieldSelector });
    const told = items
      .map(({ message, lastTimestamp, eventTime, metadata }) => ({
        message: message ?? "",
        ms: (lastTimestamp ?? eventTime ?? metadata.creationTimestamp)?.getTime() ?? 0,
      }))
      .filter(({ message, ms }) => nowMs - ms < OLD_MS && message !== "");
    const [last] = told.toSorted((a, b) => b.ms - a.ms);
    return last && withoutChance(last.message, owner);
  }
}

/** A Job's pods have another name at each try, and Kubernetes counts events that differ in it alone as one: the same cause must be the same words. */
export function withoutChance(message: string, { kind, name }: PodOwner): string {
  const words = message.replace(/^\(combined from similar events\): /, "");
  return kind === "Job" ? words.replaceAll(new RegExp(`\\b${name}-[a-z0-9]{5}\\b`, "g"), `${name}-...`) : words;
}
