import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { number, type LiveObject } from "../kube/objects.js";
import type { EventReader } from "../kube/events.js";
import { namespaceOf } from "../objects/names.js";

/** So long a StatefulSet's controller may take. */
const PATIENCE_MS = 5000;
const AGAIN_MS = 15_000;

/**
 * Pods that are wanted and not there. The API server checks a StatefulSet's template only when pods are made of it: what it then refuses (a field, the namespace's Pod Security, a quota) stands in an event of the
 * StatefulSet and nowhere else. Asked for now and then, while pods are missing.
 */
export class MissingPods {
  readonly #events: Pick<EventReader, "podRefusal">;
  readonly #clocks: { readonly wallMs: () => number; readonly monotonicMs: () => number };
  #sinceMs: number | undefined;
  #lookedMs = -Infinity;
  #why: string | undefined;

  constructor(
    events: Pick<EventReader, "podRefusal">,
    clocks: { readonly wallMs: () => number; readonly monotonicMs: () => number },
  ) {
    this.#events = events;
    this.#clocks = clocks;
  }

  /** Why they are missing; undefined: none is, or nothing says why. */
  async look(cluster: MetaMasterCluster, set: LiveObject | undefined, pods: number): Promise<string | undefined> {
    const nowMs = this.#clocks.monotonicMs();
    if (set === undefined || pods >= (number(set, "spec", "replicas") ?? 0)) {
      this.#sinceMs = undefined;
      this.#why = undefined;
      return undefined;
    }
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs < PATIENCE_MS || nowMs - this.#lookedMs < AGAIN_MS) return this.#why;
    this.#lookedMs = nowMs;
    const { name } = cluster.metadata;
    this.#why = await this.#events.podRefusal(namespaceOf(cluster), name, this.#clocks.wallMs());
    return this.#why;
  }
}
