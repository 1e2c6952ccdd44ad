import { hasCode, MetaMasterError } from "../base/errors.js";
import type { KubeClient } from "./client.js";
import { isGone } from "./errors.js";
import { field, isObject } from "./json.js";
import type { KubeResource } from "./resource.js";

const podsMax = 500;

type PodResource = KubeResource & { readonly namespace: string; readonly name: string };

export interface PodView {
  readonly annotations: Readonly<Record<string, unknown>>;
  readonly labels: Readonly<Record<string, unknown>>;
  /** A container besides the init containers was started at least once: from then on the kubelet starts it again without asking the gate. */
  readonly wasStarted: boolean;
  /** The kubelet lets one of these wait before it starts it again. */
  readonly isBackingOff: boolean;
  /** Sidecar and watchdog were both started again: if both end once more, the kubelet may let both wait for longer than a lease. */
  readonly isWorn: boolean;
}

/** As the operator names them; in a pod with others nothing is ever worn. */
const OWN_CONTAINERS: readonly string[] = ["metamaster", "metamaster-watchdog"];

interface Sibling {
  readonly name: string;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly isGoing: boolean;
}

/** The pod that this process runs in, known by its UID; its name is looked up once. */
export class OwnPod {
  readonly #client: KubeClient;
  readonly #uid: string;
  readonly #selector: string;
  #name: string | undefined;

  /** `selector`: of the cluster's pods, by labels. */
  constructor(client: KubeClient, uid: string, selector: string) {
    this.#client = client;
    this.#uid = uid;
    this.#selector = selector;
  }

  /** Sets labels, takes away those that are null, and leaves the others as they are. */
  async label(labels: Readonly<Record<string, string | null>>, signal: AbortSignal): Promise<void> {
    await this.#patch({ labels }, signal);
  }

  /** The same for annotations. */
  async annotate(annotations: Readonly<Record<string, string | null>>, signal: AbortSignal): Promise<void> {
    await this.#patch({ annotations }, signal);
  }

  /** Has it replaced: whoever made it makes another one. Nothing if it is gone, or about to go. */
  async replace(signal: AbortSignal): Promise<void> {
    try {
      await this.#client.remove(await this.#resource(signal), { preconditions: { uid: this.#uid } }, signal);
    } catch (error) {
      // Not found, or another one has its name by now.
      if (!hasCode(error, "KubeNotFound") && !hasCode(error, "KubeConflict")) throw error;
    }
  }

  /** The pods of the cluster, this one among them. */
  async siblings(signal: AbortSignal): Promise<readonly Sibling[]> {
    return (await this.#all(signal)).map((pod) => {
      const labels = field(pod, "metadata", "labels");
      return {
        name: String(field(pod, "metadata", "name")),
        labels: isObject(labels) ? labels : {},
        isGoing: field(pod, "metadata", "deletionTimestamp") !== undefined,
      };
    });
  }

  /** Undefined: it is gone; another one may have its name. */
  async look(signal: AbortSignal): Promise<PodView | undefined> {
    const pod = await this.#read(await this.#resource(signal), signal);
    return pod === undefined ? undefined : viewOf(pod);
  }

  /** As it is now and whenever it changes, until `signal` aborts or something fails; undefined, and the end, once it is gone. */
  async *changes(forMs: number, signal: AbortSignal): AsyncGenerator<PodView | undefined> {
    const resource = await this.#resource(signal);
    for (;;) {
      const pod = await this.#read(resource, signal);
      if (pod === undefined) {
        yield undefined;
        return;
      }
      yield viewOf(pod);
      yield* this.#after(resource, versionOf(pod), forMs, signal);
    }
  }

  /** Ends where what is watched is not this pod any longer: it is to be read. */
  async *#after(
    resource: PodResource,
    from: string,
    forMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<PodView | undefined> {
    for (let resourceVersion = from; ;) {
      for await (const { type, object } of this.#client.watch(resource, { resourceVersion, forMs }, signal)) {
        resourceVersion = versionOf(object);
        if (type === "BOOKMARK") continue;
        if (type === "DELETED" || !this.#isThis(object)) return;
        yield viewOf(object);
      }
    }
  }

  async #read(resource: PodResource, signal: AbortSignal): Promise<unknown> {
    try {
      const pod = await this.#client.get(resource, signal);
      return this.#isThis(pod) ? pod : undefined;
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  #isThis(pod: unknown): boolean {
    return field(pod, "metadata", "uid") === this.#uid;
  }

  async #patch(metadata: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<void> {
    // With the UID it is refused for another pod that has the name by now.
    await this.#client.patch(await this.#resource(signal), { metadata: { uid: this.#uid, ...metadata } }, signal);
  }

  async #resource(signal: AbortSignal): Promise<PodResource> {
    this.#name ??= await this.#find(signal);
    return { group: "", version: "v1", resource: "pods", namespace: this.#client.namespace, name: this.#name };
  }

  /** The cluster's pods. */
  async #all(signal: AbortSignal): Promise<readonly unknown[]> {
    const { namespace } = this.#client;
    const pods = { group: "", version: "v1", resource: "pods", namespace };
    return await this.#client.list(pods, this.#selector, podsMax, signal);
  }

  async #find(signal: AbortSignal): Promise<string> {
    const { namespace } = this.#client;
    const name = field(
      (await this.#all(signal)).find((pod) => this.#isThis(pod)),
      "metadata",
      "name",
    );
    if (typeof name === "string") return name;
    throw new MetaMasterError(
      "KubeNotFound",
      "invalid",
      `Kubernetes: no pod of namespace ${namespace} with the label ${this.#selector} has the UID ${this.#uid}.`,
      { hint: "Does `election.podUid` come from metadata.uid, and has the pod's template that label?" },
    );
  }
}

export function viewOf(pod: unknown): PodView {
  const annotations = field(pod, "metadata", "annotations");
  const labels = field(pod, "metadata", "labels");
  const containers = field(pod, "status", "containerStatuses");
  const statuses: readonly unknown[] = Array.isArray(containers) ? containers : [];
  return {
    annotations: isObject(annotations) ? annotations : {},
    labels: isObject(labels) ? labels : {},
    wasStarted: statuses.some((each) => wasStarted(each)),
    isWorn: isWorn(pod),
    isBackingOff: statuses.some((each) => field(each, "state", "waiting", "reason") === "CrashLoopBackOff"),
  };
}

function isWorn(pod: unknown): boolean {
  const statuses = field(pod, "status", "initContainerStatuses");
  if (!Array.isArray(statuses)) return false;
  return OWN_CONTAINERS.every((name) =>
    statuses.some((each) => field(each, "name") === name && Number(field(each, "restartCount") ?? 0) > 0),
  );
}

function wasStarted(status: unknown): boolean {
  if (Number(field(status, "restartCount") ?? 0) > 0) return true;
  return field(status, "state", "running") !== undefined || field(status, "state", "terminated") !== undefined;
}

function versionOf(object: unknown): string {
  const version = field(object, "metadata", "resourceVersion");
  return typeof version === "string" ? version : "";
}
