import { MetaMasterError } from "../base/errors.js";
import type { KubeClient } from "./client.js";
import { field } from "./json.js";

const podsMax = 500;

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
    this.#name ??= await this.#find(signal);
    const { namespace } = this.#client;
    const pod = { group: "", version: "v1", resource: "pods", namespace, name: this.#name };
    // With the UID it is refused for another pod that has the name by now.
    await this.#client.patch(pod, { metadata: { uid: this.#uid, labels } }, signal);
  }

  async #find(signal: AbortSignal): Promise<string> {
    const { namespace } = this.#client;
    const pods = await this.#client.list(
      { group: "", version: "v1", resource: "pods", namespace },
      this.#selector,
      podsMax,
      signal,
    );
    const name = field(
      pods.find((pod) => field(pod, "metadata", "uid") === this.#uid),
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
