import { resource, type MetaMasterCluster, type Status } from "../../../crds/src/index.js";
import { nextAction } from "../decisions/next-action.js";
import { pendingSwitchover } from "../decisions/declared.js";
import { nothing, wait, type Action } from "../decisions/members.js";
import { field, list, number, text, type LiveObject } from "../kube/objects.js";
import type { EventReader } from "../kube/events.js";
import type { Store } from "../kube/store.js";
import { apiMessage, Refused, statusCodeOf } from "../kube/refusal.js";
import type { Writer } from "../kube/writer.js";
import type { Logger } from "../log.js";
import { desiredObjects } from "../objects/desired.js";
import { FINALIZER, manifestOf, namespaceOf, REFUSED_ANNOTATION, SWITCHOVER_ANNOTATION } from "../objects/names.js";
import { keptRendering, outdatedSidecar, type Rendering } from "../objects/rendering.js";
import { deleteStep, type DeletionProgress } from "./deletion.js";
import { invalidOf } from "./invalid.js";
import { LagClock } from "./lag.js";
import { MissingPods } from "./missing-pods.js";
import { primaryChange } from "./primary-change.js";
import { observe, primaryAmong, type AskMember, type Observed } from "./observe.js";
import { changeOf, SLOTS_EVERY_MS } from "./significant.js";
import { secondsOf, statusOf, type Situation } from "./status.js";
import { claimsToGrow, VolumeGrowth } from "./volumes.js";
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
  readonly events: EventReader;
  readonly logger: Logger;
  readonly ask: AskMember;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
}

interface Memory {
  readonly lag: LagClock;
  readonly missing: MissingPods;
  readonly volumes: VolumeGrowth;
  /** As it was told last. */
  missingTold: string | undefined;
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
      missing: new MissingPods(this.#components.events, this.#components),
      missingTold: undefined,
      volumes: new VolumeGrowth(),
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
      // Who has the prefix may go.
      return this.#settings.steadyMs;
    }
    await this.#finalizer(cluster);
    const set = store.get("StatefulSet", cluster.metadata.name, namespaceOf(cluster));
    const decided = set === undefined ? nothing : decide(cluster, members, set);
    const action = await this.#unlessRefused(cluster, members, decided, memory);
    const kept = keptRendering(cluster, set, members.length);
    const wrote = await this.#apply(cluster, set, action, kept).catch(async (error: unknown) => {
      if (error instanceof Refused) await this.#refused(memory, { cluster, members, action, refused: error.message });
      throw error;
    });
    // What is there is not yet what is wished: the decision may be another one then.
    if (!wrote || action.do === "SetReplicas") await this.#carryOut(cluster, members, action, memory);
    const cantGrow = await this.#growVolumes(cluster, memory);
    const outdated = kept && outdatedSidecar(cluster, kept, this.#settings.image);
    const missing = await this.#missing(cluster, set, members, memory);
    await this.#status(memory, { cluster, members, action, invalid, outdated, missing, cantGrow });
    return this.#again(cluster, members, wrote ? { do: "Wait", why: "" } : action);
  }

  #again(cluster: MetaMasterCluster, members: readonly Observed[], action: Action): Again {
    const { steadyMs, busyMs } = this.#settings;
    if (members.length === 0) return cluster.spec.replicas === 0 && action.do === "Nothing" ? undefined : busyMs;
    const steady =
      action.do === "Nothing" && members.every(({ member }) => member.role === "Primary" || member.role === "Standby");
    return steady && members.some(({ member }) => member.role === "Primary") ? steadyMs : busyMs;
  }

  /** Always: members end before their rights go, and their Lease has no owner. */
  async #finalizer(cluster: MetaMasterCluster): Promise<void> {
    const { finalizers = [] } = cluster.metadata;
    if (finalizers.includes(FINALIZER)) return;
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

  /** Somebody has to change something: told where a person looks. It is tried again all the same. */
  async #refused(
    memory: Memory,
    situation: Pick<Situation, "cluster" | "members" | "action"> & { readonly refused: string },
  ): Promise<void> {
    await this.#tell(memory, situation.cluster, { do: "Wait", why: situation.refused }, "ApplyRefused");
    await this.#status(memory, { ...situation, invalid: undefined });
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
        // Somebody waits for a drain: kubectl only says that the pod's budget does not allow it.
        if (members.some(({ member }) => member.role === "Primary" && member.cordoned))
          await this.#tell(memory, cluster, action, "DrainWaits");
        return;
      case "SetReplicas":
        await this.#tell(memory, cluster, action, "Scaling");
        return;
      case "DeletePod": {
        const pod = members.find(({ member }) => member.name === action.pod)?.pod;
        if (pod === undefined) return;
        await this.#tell(memory, cluster, action, "PodReplaced", pod);
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
    await this.#tell(memory, cluster, action, "Switchover", primary);
    const change = { [SWITCHOVER_ANNOTATION]: action.target, [REFUSED_ANNOTATION]: null };
    await this.#components.writer.patch(manifestOf(primary), {
      metadata: { uid: text(primary, "metadata", "uid"), annotations: change },
    });
  }

  /** Why volumes can't grow, as far as is known. What was refused is tried again now and then, or once another size is asked for: a class may be changed. */
  async #growVolumes(cluster: MetaMasterCluster, { volumes }: Memory): Promise<string | undefined> {
    const { store, monotonicMs } = this.#components;
    const { storage } = cluster.spec.volumeClaimTemplate.spec.resources.requests;
    const claims = claimsToGrow(
      cluster,
      store.of("PersistentVolumeClaim", namespaceOf(cluster), cluster.metadata.name),
    );
    volumes.keep(claims.map((claim) => text(claim, "metadata", "name") ?? ""));
    for (const claim of claims) {
      const name = text(claim, "metadata", "name") ?? "";
      if (!volumes.isDue(name, storage, monotonicMs())) continue;
      const why = await this.#grow(claim, storage);
      const isNews = volumes.asked(name, { storage, why, atMs: monotonicMs() });
      if (!isNews) continue;
      if (why === undefined)
        await this.#event(cluster, "Normal", "VolumeGrows", `${name} is asked to grow to ${storage}`);
      else await this.#event(cluster, "Warning", "VolumeCantGrow", `${name} can't grow to ${storage}: ${why}`);
    }
    return volumes.trouble;
  }

  /** Why not; undefined: it was taken. */
  async #grow(claim: LiveObject, storage: string): Promise<string | undefined> {
    try {
      await this.#components.writer.patch(manifestOf(claim), { spec: { resources: { requests: { storage } } } });
      return undefined;
    } catch (error) {
      if (statusCodeOf(error) !== 403 && statusCodeOf(error) !== 422) throw error;
      return apiMessage(error) ?? "its storage class does not allow it";
    }
  }

  async #missing(
    cluster: MetaMasterCluster,
    set: LiveObject | undefined,
    members: readonly Observed[],
    memory: Memory,
  ): Promise<string | undefined> {
    let why: string | undefined;
    try {
      why = await memory.missing.look(cluster, set, members.length);
    } catch (error) {
      this.#components.logger.warn({ err: error }, "why pods are missing could not be looked up");
      return memory.missingTold;
    }
    if (why !== undefined && why !== memory.missingTold) await this.#event(cluster, "Warning", "PodsRefused", why);
    memory.missingTold = why;
    return why;
  }

  async #status(memory: Memory, situation: Omit<Situation, "nowMs">): Promise<void> {
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
    const { image, busyMs, steadyMs } = this.#settings;
    const progress = await deleteStep(cluster, { store, writer, image });
    if (!progress.finished) {
      await this.#tellDeletion(memory, cluster, progress);
      const members = await observe(cluster, store, memory.lag, ask);
      await this.#status(memory, { cluster, members, action: nothing, invalid: undefined, deletion: progress });
      return progress.failure === undefined ? busyMs : steadyMs;
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

  /** Once for as long as it is the same; to the pod, too, with which it is done. */
  async #tell(
    memory: Memory,
    cluster: MetaMasterCluster,
    action: Exclude<Action, { do: "Nothing" }>,
    reason: string,
    pod?: LiveObject,
  ): Promise<void> {
    const what = describeAction(action);
    if (memory.told === what) return;
    memory.told = what;
    this.#components.logger.info({ namespace: namespaceOf(cluster), name: cluster.metadata.name }, what);
    const type = action.do === "Wait" ? "Warning" : "Normal";
    await this.#event(cluster, type, reason, what);
    if (pod !== undefined) await this.#event(aboutOf(pod), type, reason, what);
  }

  async #event(
    about: Parameters<Writer["event"]>[0],
    type: "Normal" | "Warning",
    reason: string,
    message: string,
  ): Promise<void> {
    const { writer, logger } = this.#components;
    try {
      await writer.event(about, { type, reason, message });
    } catch (error) {
      logger.warn({ err: error, reason }, `an event could not be written: ${message}`);
    }
  }
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

function aboutOf(object: LiveObject): Parameters<Writer["event"]>[0] {
  const manifest = manifestOf(object);
  const uid = text(object, "metadata", "uid");
  return uid === undefined ? manifest : { ...manifest, metadata: { ...manifest.metadata, uid } };
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
