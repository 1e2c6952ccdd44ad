import { resource, type MetaMasterCluster, type Status } from "../../../crds/src/index.js";
import { nextAction } from "../decisions/next-action.js";
import { pendingSwitchover } from "../decisions/declared.js";
import { nothing, wait, type Action } from "../decisions/members.js";
import { field, list, number, text, type LiveObject } from "../kube/objects.js";
import type { Store } from "../kube/store.js";
import { messageOf, Refused, statusCodeOf } from "../kube/refused.js";
import type { Writer } from "../kube/writer.js";
import type { Logger } from "../log.js";
import { desiredObjects } from "../objects/desired.js";
import { FINALIZER, manifestOf, namespaceOf, REFUSED_ANNOTATION, SWITCHOVER_ANNOTATION } from "../objects/names.js";
import { keptRendering, outdatedSidecar, type Rendering } from "../objects/rendering.js";
import { deleteStep, type DeletionProgress } from "./deletion.js";
import { invalidOf } from "./invalid.js";
import { LagClock } from "./lag.js";
import { primaryChange } from "./primary-change.js";
import { observe, primaryAmong, type AskMember, type Observed } from "./observe.js";
import { changeOf, SLOTS_EVERY_MS } from "./significant.js";
import { secondsOf, statusOf } from "./status.js";
import { claimsToGrow } from "./volumes.js";
import type { Again } from "./work-queue.js";

export interface ReconcilerSettings {
  /** Of the sidecars, unless a resource names one. */
  readonly image: string;
  readonly clusterRoleBindings: boolean;
  readonly steadyMs: number;
  /** While something is under way. */
  readonly busyMs: number;
}

export interface ReconcilerComponents {
  readonly store: Store;
  readonly writer: Writer;
  readonly logger: Logger;
  readonly ask: AskMember;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
}

interface Memory {
  readonly lag: LagClock;
  statusMs: number;
  /** Since when a switchover has been refused. */
  refusedMs: number | undefined;
  /** Of the last thing that was done or waited for, so that it is told once. */
  told: string;
}

const REFUSED_AGAIN_MS = 30_000;

/** Brings one cluster a step further each time it is called, and its status up to date. */
export class Reconciler {
  readonly #settings: ReconcilerSettings;
  readonly #components: ReconcilerComponents;
  readonly #memories = new Map<string, Memory>();

  constructor(settings: ReconcilerSettings, components: ReconcilerComponents) {
    this.#settings = settings;
    this.#components = components;
  }

  async reconcile(key: string): Promise<Again> {
    const [namespace = "", name = ""] = key.split("/");
    const live = this.#components.store.get("MetaMasterCluster", name, namespace);
    if (live === undefined) {
      this.#memories.delete(key);
      return undefined;
    }
    const parsed = resource.safeParse(live);
    if (!parsed.success) throw new Error(`the resource ${key} can't be read: ${parsed.error.message}`);
    const cluster = parsed.data as MetaMasterCluster;
    const memory = this.#memoryOf(key);
    try {
      const deleting = cluster.metadata.deletionTimestamp !== undefined;
      return await (deleting ? this.#delete(cluster, memory) : this.#bring(cluster, memory));
    } catch (error) {
      // Somebody was faster: what is known now is old, and the watch tells of it.
      if (statusCodeOf(error) === 409) return this.#settings.busyMs;
      throw error;
    }
  }

  #memoryOf(key: string): Memory {
    const found = this.#memories.get(key);
    if (found !== undefined) return found;
    const memory: Memory = {
      lag: new LagClock(this.#components.monotonicMs),
      statusMs: -Infinity,
      refusedMs: undefined,
      told: "",
    };
    this.#memories.set(key, memory);
    return memory;
  }

  async #bring(cluster: MetaMasterCluster, memory: Memory): Promise<Again> {
    const { store, ask } = this.#components;
    const members = await observe(cluster, store, memory.lag, ask);
    const invalid = invalidOf(cluster, store.all("MetaMasterCluster"));
    if (invalid !== undefined) {
      await this.#tell(memory, cluster, { do: "Wait", why: invalid }, "SpecInvalid");
      await this.#status(memory, { cluster, members, action: nothing, invalid });
      return members.length === 0 ? undefined : this.#settings.steadyMs;
    }
    await this.#finalizer(cluster);
    const set = store.get("StatefulSet", cluster.metadata.name, namespaceOf(cluster));
    const decided = set === undefined ? nothing : decide(cluster, members, set);
    const action = await this.#unlessRefused(cluster, members, decided, memory);
    const kept = keptRendering(cluster, set, members.length);
    const wrote = await this.#apply(cluster, set, action, kept).catch(refusedOnly);
    if (wrote instanceof Refused) {
      const refused = `${wrote.message}. ${wrote.kind === "StatefulSet" ? "Correct spec.template. " : ""}Until then nothing is changed.`;
      await this.#tell(memory, cluster, { do: "Wait", why: refused }, "SpecInvalid");
      await this.#status(memory, { cluster, members, action: nothing, invalid: undefined, refused });
      return REFUSED_AGAIN_MS;
    }
    // What is there is not yet what is wished: the decision may be another one then.
    if (!wrote || action.do === "SetReplicas") await this.#carryOut(cluster, members, action, memory);
    await this.#growVolumes(cluster);
    const outdated = kept && outdatedSidecar(cluster, kept, this.#settings.image);
    await this.#status(memory, { cluster, members, action, invalid, outdated });
    return this.#again(cluster, members, wrote ? { do: "Wait", why: "" } : action);
  }

  #again(cluster: MetaMasterCluster, members: readonly Observed[], action: Action): Again {
    const { steadyMs, busyMs } = this.#settings;
    if (members.length === 0) return cluster.spec.replicas === 0 && action.do === "Nothing" ? undefined : busyMs;
    const steady =
      action.do === "Nothing" && members.every(({ member }) => member.role === "Primary" || member.role === "Standby");
    return steady && members.some(({ member }) => member.role === "Primary") ? steadyMs : busyMs;
  }

  async #finalizer(cluster: MetaMasterCluster): Promise<void> {
    const { finalizers = [] } = cluster.metadata;
    const needed = this.#settings.clusterRoleBindings || cluster.spec.deletionPolicy === "Delete";
    if (!needed || finalizers.includes(FINALIZER)) return;
    await this.#components.writer.patch(cluster, {
      metadata: { finalizers: [...finalizers, FINALIZER], ...version(cluster) },
    });
  }

  /** True if anything was written. */
  async #apply(
    cluster: MetaMasterCluster,
    set: LiveObject | undefined,
    action: Action,
    kept: Rendering | undefined,
  ): Promise<boolean> {
    const { store, writer, logger } = this.#components;
    const current = number(set, "spec", "replicas") ?? cluster.spec.replicas;
    const replicas = action.do === "SetReplicas" ? action.replicas : current;
    const templates = set === undefined ? undefined : list(set, "spec", "volumeClaimTemplates").map(withoutStatus);
    const { image, clusterRoleBindings } = this.#settings;
    let wrote = false;
    for (const manifest of desiredObjects(cluster, {
      image,
      kept,
      clusterRoleBindings,
      replicas,
      volumeClaimTemplates: templates,
    })) {
      const { kind, metadata } = manifest;
      const live = store.get(kind, metadata.name, metadata.namespace);
      if (!(await writer.apply(manifest, live))) continue;
      logger.info({ kind, namespace: metadata.namespace, name: metadata.name }, `applied ${kind} ${metadata.name}`);
      wrote = true;
    }
    return wrote;
  }

  async #carryOut(
    cluster: MetaMasterCluster,
    members: readonly Observed[],
    action: Action,
    memory: Memory,
  ): Promise<void> {
    const { writer } = this.#components;
    switch (action.do) {
      case "Nothing":
        memory.told = "";
        return;
      case "Wait":
        return;
      case "SetReplicas":
        await this.#tell(memory, cluster, action, "Scaling");
        return;
      case "DeletePod": {
        const pod = members.find(({ member }) => member.name === action.pod)?.pod;
        if (pod === undefined) return;
        await this.#tell(memory, cluster, action, "PodReplaced");
        await writer.remove(manifestOf(pod), text(pod, "metadata", "uid"));
        return;
      }
      case "Switchover":
        await this.#switchOver(cluster, members, action, memory);
    }
  }

  /** What the primary's sidecar refused it is asked for again, but not at once. */
  async #unlessRefused(
    cluster: MetaMasterCluster,
    members: readonly Observed[],
    action: Action,
    memory: Memory,
  ): Promise<Action> {
    const primary = action.do === "Switchover" ? primaryAmong(members)?.pod : undefined;
    const refused = text(primary, "metadata", "annotations", REFUSED_ANNOTATION);
    if (action.do !== "Switchover" || refused === undefined) {
      memory.refusedMs = undefined;
      return action;
    }
    const nowMs = this.#components.monotonicMs();
    memory.refusedMs ??= nowMs;
    if (nowMs - memory.refusedMs >= REFUSED_AGAIN_MS) return action;
    const held = wait(`the switchover to ${action.target} was refused, it will be asked for again: ${refused}`);
    if (held.do === "Wait") await this.#tell(memory, cluster, held, "SwitchoverRefused");
    return held;
  }

  /** The primary's sidecar does it; what it can't do it answers on its pod. */
  async #switchOver(
    cluster: MetaMasterCluster,
    members: readonly Observed[],
    action: Extract<Action, { do: "Switchover" }>,
    memory: Memory,
  ): Promise<void> {
    const primary = primaryAmong(members)?.pod;
    if (primary === undefined) return;
    const annotations = field(primary, "metadata", "annotations");
    if (text(annotations, SWITCHOVER_ANNOTATION) === action.target) return;
    await this.#tell(memory, cluster, action, "Switchover");
    const change = { [SWITCHOVER_ANNOTATION]: action.target, [REFUSED_ANNOTATION]: null };
    await this.#components.writer.patch(manifestOf(primary), {
      metadata: { uid: text(primary, "metadata", "uid"), annotations: change },
    });
  }

  async #growVolumes(cluster: MetaMasterCluster): Promise<void> {
    const { store, writer } = this.#components;
    const { storage } = cluster.spec.volumeClaimTemplate.spec.resources.requests;
    const claims = store.of("PersistentVolumeClaim", namespaceOf(cluster), cluster.metadata.name);
    for (const claim of claimsToGrow(cluster, claims)) {
      try {
        await writer.patch(manifestOf(claim), { spec: { resources: { requests: { storage } } } });
        await this.#event(
          cluster,
          "Normal",
          "VolumeGrows",
          `${text(claim, "metadata", "name") ?? ""} is asked to grow to ${storage}`,
        );
      } catch (error) {
        if (statusCodeOf(error) !== 403 && statusCodeOf(error) !== 422) throw error;
        const why = messageOf(error) ?? "its storage class does not allow it";
        await this.#event(
          cluster,
          "Warning",
          "VolumeCantGrow",
          `${text(claim, "metadata", "name") ?? ""} can't grow to ${storage}: ${why}`,
        );
      }
    }
  }

  async #status(memory: Memory, situation: Omit<Parameters<typeof statusOf>[0], "nowMs">): Promise<void> {
    const { writer, wallMs, monotonicMs } = this.#components;
    const { cluster } = situation;
    const status: Status = statusOf({ ...situation, nowMs: wallMs() });
    const change = changeOf(cluster.status, status);
    const nowMs = monotonicMs();
    if (change === "Nothing" || (change === "Slots" && nowMs - memory.statusMs < SLOTS_EVERY_MS)) return;
    memory.statusMs = nowMs;
    await writer.status(cluster, status);
    const moved = primaryChange(cluster.status, status);
    if (moved !== undefined) await this.#event(cluster, moved.type, moved.reason, moved.message);
  }

  async #delete(cluster: MetaMasterCluster, memory: Memory): Promise<Again> {
    const { finalizers = [] } = cluster.metadata;
    if (!finalizers.includes(FINALIZER)) return undefined;
    const { store, writer, logger, ask } = this.#components;
    const { image, busyMs } = this.#settings;
    const progress = await deleteStep(cluster, { store, writer, image });
    if (!progress.finished) {
      await this.#tellDeletion(memory, cluster, progress);
      const members = await observe(cluster, store, memory.lag, ask);
      await this.#status(memory, { cluster, members, action: nothing, invalid: undefined, deletion: progress });
      return busyMs;
    }
    const rest = finalizers.filter((each) => each !== FINALIZER);
    try {
      await writer.patch(cluster, { metadata: { finalizers: rest, ...version(cluster) } });
    } catch (error) {
      // What is looked at is a moment old: it is gone already.
      if (statusCodeOf(error) === 404) return undefined;
      throw error;
    }
    const what = progress.purged ? "deleted, with its history in the bucket" : "deleted; the bucket keeps its history";
    logger.info({ namespace: namespaceOf(cluster), name: cluster.metadata.name }, what);
    return undefined;
  }

  async #tellDeletion(memory: Memory, cluster: MetaMasterCluster, { failure, kept }: DeletionProgress): Promise<void> {
    const why = failure ?? kept;
    if (why === undefined) return;
    await this.#tell(memory, cluster, { do: "Wait", why }, failure === undefined ? "BucketKept" : "PurgeFailed");
  }

  /** Once for as long as it is the same. */
  async #tell(
    memory: Memory,
    cluster: MetaMasterCluster,
    action: Exclude<Action, { do: "Nothing" }>,
    reason: string,
  ): Promise<void> {
    const what = describeAction(action);
    if (memory.told === what) return;
    memory.told = what;
    this.#components.logger.info({ namespace: namespaceOf(cluster), name: cluster.metadata.name }, what);
    await this.#event(cluster, action.do === "Wait" ? "Warning" : "Normal", reason, what);
  }

  async #event(cluster: MetaMasterCluster, type: "Normal" | "Warning", reason: string, message: string): Promise<void> {
    const { writer, logger } = this.#components;
    try {
      await writer.event(cluster, { type, reason, message });
    } catch (error) {
      logger.warn({ err: error, reason }, `an event could not be written: ${message}`);
    }
  }
}

function refusedOnly(error: unknown): Refused {
  if (error instanceof Refused) return error;
  throw error;
}

function decide(cluster: MetaMasterCluster, members: readonly Observed[], set: LiveObject): Action {
  const { replicas, update, checkpoint } = cluster.spec;
  const switchover = pendingSwitchover(cluster.spec.switchover, cluster.status?.switchover);
  const current = number(set, "spec", "replicas") ?? replicas;
  // What the StatefulSet's controller has not seen yet it has no revision for.
  const seen = number(set, "status", "observedGeneration") === number(set, "metadata", "generation");
  const revision = text(set, "status", "updateRevision") ?? "";
  return nextAction(
    members.map(({ member }) => member),
    current,
    {
      switchover: switchover && { target: switchover.target, maxLagSeconds: secondsOf(switchover.maxLag) },
      replicas,
      revision,
      policy: seen && revision !== "" ? update.policy : "OnDelete",
      maxLagSeconds: secondsOf(checkpoint.interval),
    },
  );
}

function describeAction(action: Exclude<Action, { do: "Nothing" }>): string {
  if (action.do === "Wait") return action.why;
  if (action.do === "Switchover") return `switchover to ${action.target}: ${action.why}`;
  if (action.do === "DeletePod") return `pod ${action.pod} is replaced: ${action.why}`;
  return `scaled to ${action.replicas}: ${action.why}`;
}

/** Makes a patch conditional: lists are replaced as a whole. */
function version({ metadata }: MetaMasterCluster): { readonly resourceVersion?: string } {
  return metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion };
}

function withoutStatus(template: unknown): unknown {
  if (typeof template !== "object" || template === null) return template;
  const { status: _status, ...rest } = template as Readonly<Record<string, unknown>>;
  const metadata = field(rest, "metadata");
  const { creationTimestamp: _creation, ...kept } = (
    typeof metadata === "object" && metadata !== null ? metadata : {}
  ) as Readonly<Record<string, unknown>>;
  return { ...rest, metadata: kept };
}
