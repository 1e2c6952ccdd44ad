import { CoreV1Api, type KubeConfig } from "@kubernetes/client-node";

/** A StatefulSet's controller tries again within a quarter of an hour at the latest, and says so each time. */
const OLD_MS = 20 * 60_000;

/** What Kubernetes' own controllers tell by events alone. */
export class EventReader {
  readonly #api: CoreV1Api;

  constructor(config: KubeConfig) {
    this.#api = config.makeApiClient(CoreV1Api);
  }

  /** Why the pods of a StatefulSet can't be made; undefined: nothing says that they can't. */
  async podRefusal(namespace: string, name: string, nowMs: number): Promise<string | undefined> {
    const about = { "involvedObject.kind": "StatefulSet", "involvedObject.name": name, reason: "FailedCreate" };
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
    return told.toSorted((a, b) => b.ms - a.ms)[0]?.message;
  }
}
