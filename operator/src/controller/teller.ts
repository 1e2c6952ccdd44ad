import type { MetaMasterCluster } from "../../../crds/src/index.js";
import type { Action } from "../decisions/members.js";
import { text, type LiveObject } from "../kube/objects.js";
import type { Writer } from "../kube/writer.js";
import type { Logger } from "../log.js";
import { manifestOf, namespaceOf } from "../objects/names.js";

/** What was told last, so that it is told once. */
export interface Told {
  /** Of what was done or waited for. */
  action: string;
  /** Why the spec can't be carried out; beside the other, which goes on meanwhile. */
  wrong: string;
}

/** Events, and the same in the log. */
export class Teller {
  readonly #writer: Pick<Writer, "event">;
  readonly #logger: Logger;

  constructor(writer: Pick<Writer, "event">, logger: Logger) {
    this.#writer = writer;
    this.#logger = logger;
  }

  /** To the pod, too, with which it is done. */
  async action(
    told: Told,
    cluster: MetaMasterCluster,
    action: Exclude<Action, { do: "Nothing" }>,
    reason: string,
    pod?: LiveObject,
  ): Promise<void> {
    const what = describeAction(action);
    if (told.action === what) return;
    told.action = what;
    const type = action.do === "Wait" ? "Warning" : "Normal";
    await this.#say(cluster, type, reason, what);
    if (pod !== undefined) await this.event(aboutOf(pod), type, reason, what);
  }

  async wrong(told: Told, cluster: MetaMasterCluster, reason: string, why: string): Promise<void> {
    if (told.wrong === why) return;
    told.wrong = why;
    await this.#say(cluster, "Warning", reason, why);
  }

  async event(
    about: Parameters<Writer["event"]>[0],
    type: "Normal" | "Warning",
    reason: string,
    message: string,
  ): Promise<void> {
    try {
      await this.#writer.event(about, { type, reason, message });
    } catch (error) {
      this.#logger.warn({ err: error, reason }, `an event could not be written: ${message}`);
    }
  }

  async #say(cluster: MetaMasterCluster, type: "Normal" | "Warning", reason: string, what: string): Promise<void> {
    this.#logger.info({ namespace: namespaceOf(cluster), name: cluster.metadata.name }, what);
    await this.event(cluster, type, reason, what);
  }
}

function describeAction(action: Exclude<Action, { do: "Nothing" }>): string {
  if (action.do === "Wait") return action.why;
  if (action.do === "Switchover") return `switchover to ${action.target}: ${action.why}`;
  if (action.do === "DeletePod") return `pod ${action.pod} is replaced: ${action.why}`;
  return `scaled to ${action.replicas}: ${action.why}`;
}

function aboutOf(object: LiveObject): Parameters<Writer["event"]>[0] {
  const manifest = manifestOf(object);
  const uid = text(object, "metadata", "uid");
  return uid === undefined ? manifest : { ...manifest, metadata: { ...manifest.metadata, uid } };
}
