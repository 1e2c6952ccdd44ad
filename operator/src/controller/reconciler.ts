import { resource, type MetaMasterCluster, type Status } from "../../../crds/src/index.js";
import { nothing, type Action } from "../decisions/members.js";
import { field, list, number, text, type LiveObject } from "../kube/objects.js";
import type { EventReader } from "../kube/events.js";
import type { Store } from "../kube/store.js";
import { apiMessage, Refused, statusCodeOf } from "../kube/refusal.js";
import type { Writer } from "../kube/writer.js";
import type { Logger } from "../log.js";
import { desiredObjects } from "../objects/desired.js";
import { FINALIZER, manifestOf, namespaceOf, REFUSED_ANNOTATION, SWITCHOVER_ANNOTATION } from "../objects/names.js";
import { disruptionBudget } from "../objects/network.js";
import { keptRendering, outdatedSidecar, restartedAt, type Rendering } from "../objects/rendering.js";
import { decide, decideStanding } from "./decide.js";
import { deleteStep, type DeletionProgress } from "./deletion.js";
import { invalidOf } from "./invalid.js";
import { LagClock } from "./lag.js";
import { MissingPods } from "./missing-pods.js";
import { primaryChange } from "./primary-change.js";
import { observe, primaryAmong, type AskMember, type Observed } from "./observe.js";
import { RefusedPause } from "./refused-pause.js";
import { resizingOf } from "./resizing.js";
import { changeOf, SLOTS_EVERY_MS } from "./significant.js";
import { statusOf, type Situation } from "./status.js";
import { SwitchoverRefusals, type Asked } from "./switchover-refusals.js";
import { Teller, type Told } from "./teller.js";
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
  /** Of the Job that empties the bucket. */
  readonly purgeMissing: MissingPods;
  readonly volumes: VolumeGrowth;
  readonly switchovers: SwitchoverRefusals;
  /** Of the spec's objects. */
  readonly refused: RefusedPause;
  /** Of the budget, while the spec can't be carried out. */
  readonly budgetRefused: RefusedPause;
  readonly told: Told;
  /** As it was told last. */
  missingTold: string | undefined;
  /** That the storage refuses a size; its words may be other ones at each try. */
  stuckTold: boolean;
  statusMs: number;
}

/** One look at a resource and what belongs to it. */
interface Look {
  readonly cluster: MetaMasterCluster;
  readonly members: readonly Observed[];
  readonly set: LiveObject | undefined;
  readonly memory: Memory;
}

/** Brings one cluster a step further each time it is called, and its status up to date. */
export class Reconciler {
  readonly #settings: ReconcilerSettings;
  readonly #components: ReconcilerComponents;
  readonly #teller: Teller;
  readonly #memories = new Map<string, Memory>();

  constructor(settings: ReconcilerSettings, components: ReconcilerComponents) {
    this.#settings = settings;
    this.#components = components;
    this.#teller = new Teller(components.writer, components.logger);
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

  #newMissing(): MissingPods {
    const { events, logger } = this.#components;
    return new MissingPods(events, this.#components, logger);
  }

  #memoryOf(key: string): Memory {
    const found = this.#memories.get(key);
    if (found !== undefined) return found;
    const memory: Memory = {
      lag: new LagClock(this.#components.monotonicMs),
      missing: this.#newMissing(),
      purgeMissing: this.#newMissing(),
      missingTold: undefined,
      volumes: new VolumeGrowth(),
      switchovers: new SwitchoverRefusals(),
      refused: new RefusedPause(),
      budgetRefused: new RefusedPause(),
      stuckTold: false,
      statusMs: -Infinity,
      told: { action: "", wrong: "" },
    };
    this.#memories.set(key, memory);
    return memory;
  }

  async #bring(cluster: MetaMasterCluster, memory: Memory): Promise<Again> {
    const { store, ask, monotonicMs } = this.#components;
    const members = await observe(cluster, store, memory.lag, ask);
    const set = store.get("StatefulSet", cluster.metadata.name, namespaceOf(cluster));
    const look: Look = { cluster, members, set, memory };
    const invalid = invalidOf(cluster, store.all("MetaMasterCluster"));
    if (invalid !== undefined) {
      memory.refused.taken();
      return await this.#stand(look, { invalid });
    }
    const asked = `${cluster.metadata.generation ?? ""} ${restartedAt(cluster.metadata) ?? ""}`;
    const heldBack = memory.refused.heldBack(asked, monotonicMs());
    if (heldBack !== undefined) return await this.#stand(look, { refused: heldBack });
    await this.#finalizer(cluster);
    const decided = set === undefined ? nothing : decide(cluster, members, set);
    const kept = keptRendering(cluster, set, members.length);
    let wrote: boolean;
    try {
      wrote = await this.#apply(cluster, set, decided, kept);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      memory.refused.refused(asked, error.message, monotonicMs());
      return await this.#stand(look, { refused: error.message });
    }
    memory.refused.taken();
    memory.told.wrong = "";
    const { action, shown } = await this.#unlessRefused(look, decided);
    // What is there is not yet what is wished: the decision may be another one then.
    if (!wrote || action.do === "SetReplicas") await this.#carryOut(look, action);
    const { cantGrow, resizing } = await this.#growVolumes(look);
    const outdated = kept && outdatedSidecar(cluster, kept, this.#settings.image);
    const missing = await this.#missing(look);
    await this.#status(memory, { cluster, members, action: shown, invalid, outdated, missing, cantGrow, resizing });
    const again = this.#again(cluster, members, wrote ? { do: "Wait", why: "" } : action);
    // What did not grow is asked for again, also where no member is wanted.
    return again ?? (cantGrow === undefined ? undefined : this.#settings.steadyMs);
  }

  /** Somebody has to change something, and nothing is made of the spec until then. What is there goes on: it is looked after by what it is. */
  async #stand(
    look: Look,
    wrong: { readonly invalid: string } | { readonly invalid?: undefined; readonly refused: string },
  ): Promise<Again> {
    const { cluster, members, set, memory } = look;
    const { steadyMs } = this.#settings;
    if (wrong.invalid === undefined) await this.#teller.wrong(memory.told, cluster, "ApplyRefused", wrong.refused);
    else await this.#teller.wrong(memory.told, cluster, "SpecInvalid", wrong.invalid);
    if (set !== undefined) await this.#keepBudget(cluster, memory);
    const { action, shown } = await this.#unlessRefused(look, decideStanding(cluster, members, set));
    await this.#carryOut(look, action);
    const missing = await this.#missing(look);
    const wanted = number(set, "spec", "replicas");
    await this.#status(memory, { cluster, members, action: shown, invalid: undefined, ...wrong, missing, wanted });
    // Nothing tells when what stands in its way is gone, such as the resource that has the prefix.
    const again = members.length === 0 ? steadyMs : (this.#again(cluster, members, action) ?? steadyMs);
    return Math.min(again, memory.refused.leftMs(this.#components.monotonicMs()));
  }

  /** It is made of the name alone, and without it a drain ends a primary before another one is there. */
  async #keepBudget(cluster: MetaMasterCluster, { budgetRefused, told }: Memory): Promise<void> {
    const { store, writer, monotonicMs } = this.#components;
    const manifest = disruptionBudget(cluster);
    const { kind, metadata } = manifest;
    if (budgetRefused.heldBack(metadata.name, monotonicMs()) !== undefined) return;
    try {
      await writer.apply(manifest, store.get(kind, metadata.name, metadata.namespace));
      budgetRefused.taken();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const isNews = budgetRefused.refused(metadata.name, error.message, monotonicMs());
      // It may be the very object for which the whole is refused.
      if (isNews && error.message !== told.wrong)
        await this.#teller.event(cluster, "Warning", "ApplyRefused", error.message);
    }
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
    const manifests = desiredObjects(cluster, {
      image,
      kept,
      clusterRoleBindings,
      replicas,
      volumeClaimTemplates: templates,
    });
    // It is the one that is refused for what people write, and the last: a pod of the template that stays must not find the configuration of another one.
    for (const manifest of manifests)
      if (set !== undefined && manifest.kind === "StatefulSet") await writer.check(manifest, set);
    let wrote = false;
    for (const manifest of manifests) {
      const { kind, metadata } = manifest;
      const live = store.get(kind, metadata.name, metadata.namespace);
      if (!(await writer.apply(manifest, live))) continue;
      logger.info({ kind, namespace: metadata.namespace, name: metadata.name }, `applied ${kind} ${metadata.name}`);
      wrote = true;
    }
    return wrote;
  }

  async #carryOut(look: Look, action: Action): Promise<void> {
    const { cluster, members, memory } = look;
    const { writer } = this.#components;
    switch (action.do) {
      case "Nothing":
        memory.told.action = "";
        return;
      case "Wait":
        // Somebody waits for a drain: kubectl only says that the pod's budget does not allow it.
        if (members.some(({ member }) => member.role === "Primary" && member.cordoned))
          await this.#teller.action(memory.told, cluster, action, "DrainWaits");
        return;
      case "SetReplicas":
        await this.#teller.action(memory.told, cluster, action, "Scaling");
        return;
      case "DeletePod": {
        const pod = members.find(({ member }) => member.name === action.pod)?.pod;
        if (pod === undefined) return;
        await this.#teller.action(memory.told, cluster, action, "PodReplaced", pod);
        await writer.remove(manifestOf(pod), text(pod, "metadata", "uid"));
        return;
      }
      case "Switchover":
        await this.#switchOver(look, action);
    }
  }

  /** What the primary's sidecar refused it is asked for again, but not at once. */
  async #unlessRefused({ cluster, members, memory }: Look, decided: Action): Promise<Asked> {
    const primary = decided.do === "Switchover" ? primaryAmong(members)?.pod : undefined;
    const refused = text(primary, "metadata", "annotations", REFUSED_ANNOTATION);
    const by = text(primary, "metadata", "uid");
    const asked = memory.switchovers.look(decided, by, refused, this.#components.monotonicMs());
    if (asked.isNews && asked.shown.do === "Wait")
      await this.#teller.action(memory.told, cluster, asked.shown, "SwitchoverRefused");
    return asked;
  }

  /** The primary's sidecar does it; what it can't do it answers on its pod. */
  async #switchOver({ cluster, members, memory }: Look, action: Extract<Action, { do: "Switchover" }>): Promise<void> {
    const primary = primaryAmong(members)?.pod;
    if (primary === undefined) return;
    const annotations = field(primary, "metadata", "annotations");
    if (text(annotations, SWITCHOVER_ANNOTATION) === action.target) return;
    const { switchovers, told } = memory;
    if (!switchovers.isKnown()) await this.#teller.action(told, cluster, action, "Switchover", primary);
    const change = { [SWITCHOVER_ANNOTATION]: action.target, [REFUSED_ANNOTATION]: null };
    await this.#components.writer.patch(manifestOf(primary), {
      metadata: { uid: text(primary, "metadata", "uid"), annotations: change },
    });
    switchovers.asked(action.target, this.#components.monotonicMs());
  }

  /** What became of it, as far as is known. What was refused is tried again now and then, or once another size is asked for: a class may be changed. */
  async #growVolumes({ cluster, members, memory }: Look): Promise<Pick<Situation, "cantGrow" | "resizing">> {
    const { store, monotonicMs } = this.#components;
    const { volumes } = memory;
    const { storage } = cluster.spec.volumeClaimTemplate.spec.resources.requests;
    const all = store.of("PersistentVolumeClaim", namespaceOf(cluster), cluster.metadata.name);
    const claims = claimsToGrow(cluster, all);
    volumes.keep(claims.map((claim) => text(claim, "metadata", "name") ?? ""));
    for (const claim of claims) {
      const name = text(claim, "metadata", "name") ?? "";
      if (!volumes.isDue(name, storage, monotonicMs())) continue;
      const why = await this.#grow(claim, storage);
      const isNews = volumes.asked(name, { storage, why, atMs: monotonicMs() });
      if (!isNews) continue;
      if (why === undefined)
        await this.#teller.event(cluster, "Normal", "VolumeGrows", `${name} is asked to grow to ${storage}`);
      else await this.#teller.event(cluster, "Warning", "VolumeCantGrow", `${name} can't grow to ${storage}: ${why}`);
    }
    const { waits, stuck } = resizingOf(
      all,
      members.map(({ member }) => member.name),
    );
    if (stuck !== undefined && !memory.stuckTold) await this.#teller.event(cluster, "Warning", "VolumeCantGrow", stuck);
    memory.stuckTold = stuck !== undefined;
    return { cantGrow: volumes.trouble ?? stuck, resizing: waits };
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

  async #missing({ cluster, set, members, memory }: Look): Promise<string | undefined> {
    const isMissing = members.length < (number(set, "spec", "replicas") ?? 0);
    const owner = { kind: "StatefulSet", namespace: namespaceOf(cluster), name: cluster.metadata.name } as const;
    const why = await memory.missing.look(isMissing ? owner : undefined);
    if (why !== undefined && why !== memory.missingTold)
      await this.#teller.event(cluster, "Warning", "PodsRefused", why);
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
    if (moved !== undefined) await this.#teller.event(cluster, moved.type, moved.reason, moved.message);
  }

  async #delete(cluster: MetaMasterCluster, memory: Memory): Promise<Again> {
    const { finalizers = [] } = cluster.metadata;
    if (!finalizers.includes(FINALIZER)) return undefined;
    const { store, writer, logger, ask } = this.#components;
    const { image, busyMs, steadyMs } = this.#settings;
    const progress = await deleteStep(cluster, { store, writer, image, missing: memory.purgeMissing });
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
    await this.#teller.wrong(memory.told, cluster, failure === undefined ? "BucketKept" : "PurgeFailed", why);
  }
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
