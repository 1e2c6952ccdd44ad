import { CoreV1Api, CustomObjectsApi, PatchStrategy, type KubeConfig } from "@kubernetes/client-node";
import { GROUP, PLURAL, VERSION, type MetaMasterCluster, type Status } from "../../../crds/src/index.js";
import { digestOf } from "../objects/digest.js";
import { FIELD_MANAGER, namespaceOf, type KubeManifest } from "../objects/names.js";
import { covers } from "./covers.js";
import { keyOf, text, type LiveObject } from "./objects.js";
import { RawApi } from "./raw-api.js";
import { Refused, refusedOr, statusCodeOf, whoseElse } from "./refusal.js";

/** Of what was applied last: what is taken out of a manifest must be applied, too, though all that is left stands. */
const APPLIED = "metamaster.io/applied";

/** Every writing of the operator. One try each: who calls it comes again. */
export class Writer {
  readonly #objects: RawApi;
  readonly #custom: CustomObjectsApi;
  readonly #core: CoreV1Api;
  readonly #mayWrite: () => boolean;
  /**
   * Applied, and nothing changed by it, though it is not what is there: the API server writes it in another way (`cpu: 1000m` is `1`, what is empty is left out), or somebody else adds to it each time. Which
   * digest, at which version.
   */
  readonly #vain = new Map<string, string>();
  /** So many requests that changed, or would have changed, something. */
  writes = 0;

  /** `mayWrite`: asked before each. False: another operator may be at work, and what is known here is of no weight any more. */
  constructor(config: KubeConfig, mayWrite: () => boolean = () => true) {
    this.#mayWrite = mayWrite;
    this.#objects = config.makeApiClient(RawApi);
    this.#custom = config.makeApiClient(CustomObjectsApi);
    this.#core = config.makeApiClient(CoreV1Api);
  }

  /** Server-side apply, unless `live` has it all. True: something is another now. `Refused`: it can't be, or it is not ours. */
  async apply(manifest: KubeManifest, live: LiveObject | undefined): Promise<boolean> {
    if (this.#isThere(manifest, live)) return false;
    const answer = await this.#apply(manifest, live, false);
    const digest = appliedDigest(manifest);
    const which = whichOf(manifest);
    const before = text(live, "metadata", "resourceVersion");
    const after = text(answer, "metadata", "resourceVersion");
    const changed = live === undefined || after !== before;
    if (changed) this.#vain.delete(which);
    else this.#vain.set(which, `${digest} ${after ?? ""}`);
    return changed;
  }

  /** `Refused`, if `apply` would be; nothing is changed. */
  async check(manifest: KubeManifest, live: LiveObject): Promise<void> {
    if (!this.#isThere(manifest, live)) await this.#apply(manifest, live, true);
  }

  #isThere(manifest: KubeManifest, live: LiveObject | undefined): boolean {
    const digest = appliedDigest(manifest);
    if (live === undefined || text(live, "metadata", "annotations", APPLIED) !== digest) return false;
    const version = text(live, "metadata", "resourceVersion") ?? "";
    return covers(live, manifest) || this.#vain.get(whichOf(manifest)) === `${digest} ${version}`;
  }

  async #apply(manifest: KubeManifest, live: LiveObject | undefined, dryRun: boolean): Promise<unknown> {
    await this.#refuseAnothers(manifest, live);
    const { metadata } = manifest;
    const annotations = { ...metadata.annotations, [APPLIED]: appliedDigest(manifest) };
    this.#count();
    return await this.#objects
      .apply({ ...manifest, metadata: { ...metadata, annotations } }, FIELD_MANAGER, dryRun)
      .catch((error: unknown) => {
        throw refusedOr(error, manifest);
      });
  }

  #count(): void {
    if (!this.#mayWrite()) throw new Error("this operator does not lead any more: nothing is written");
    this.writes += 1;
  }

  /** What is known is what bears our label: before something is made, it is looked for. Applied by force, and given an owner, another one's would be lost with the resource. */
  async #refuseAnothers(manifest: KubeManifest, live: LiveObject | undefined): Promise<void> {
    const there: unknown = live ?? (await this.#read(manifest));
    const why = there === undefined ? undefined : whoseElse(there, manifest);
    if (why !== undefined)
      throw new Refused(manifest, `${why}. It is left as it is: remove it, or give the resource another name.`);
  }

  async #read(manifest: KubeManifest): Promise<unknown> {
    const { apiVersion, kind, metadata } = manifest;
    const { name, namespace } = metadata;
    try {
      return await this.#objects.read({
        apiVersion,
        kind,
        metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
      });
    } catch (error) {
      if (statusCodeOf(error) === 404) return undefined;
      throw refusedOr(error, manifest);
    }
  }

  /** A merge patch of metadata, or of what else is given. */
  async patch(object: KubeManifest, change: object): Promise<void> {
    const { apiVersion, kind, metadata } = object;
    const { name, namespace } = metadata;
    const body = { apiVersion, kind, ...change } as Record<string, unknown>;
    body["metadata"] = {
      ...(body["metadata"] as object | undefined),
      name,
      ...(namespace === undefined ? {} : { namespace }),
    };
    this.#count();
    await this.#objects.patch(body, undefined, undefined, FIELD_MANAGER, undefined, PatchStrategy.MergePatch);
  }

  /** Refused if it is another one by now; nothing if it is gone. */
  async remove(object: KubeManifest, uid?: string): Promise<void> {
    const { apiVersion, kind, metadata } = object;
    const { name, namespace } = metadata;
    const target = { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
    this.#count();
    try {
      await this.#objects.delete(
        target,
        undefined,
        undefined,
        undefined,
        undefined,
        "Background",
        // What the body says counts; and of Jobs the API would leave the pods.
        { propagationPolicy: "Background", ...(uid === undefined ? {} : { preconditions: { uid } }) },
      );
    } catch (error) {
      if (statusCodeOf(error) !== 404) throw error;
    }
  }

  /** What is in no informer's sight: only if it bears the labels that are given. */
  async removeLabelled(object: KubeManifest): Promise<void> {
    const there = await this.#read(object);
    const labels = Object.entries(object.metadata.labels ?? {});
    const isOurs = labels.every(([label, value]) => text(there, "metadata", "labels", label) === value);
    if (there !== undefined && isOurs) await this.remove(object, text(there, "metadata", "uid"));
  }

  /** Refused (409) if the resource has changed since it was read. */
  async status(cluster: MetaMasterCluster, status: Status): Promise<void> {
    const where = {
      group: GROUP,
      version: VERSION,
      plural: PLURAL,
      namespace: namespaceOf(cluster),
      name: cluster.metadata.name,
    };
    this.#count();
    await this.#custom.replaceNamespacedCustomObjectStatus({ ...where, body: { ...cluster, status } });
  }

  /** `kubectl describe` shows it with the object it is about. */
  async event(
    about: KubeManifest & { readonly metadata: { readonly uid?: string } },
    event: OperatorEvent,
  ): Promise<void> {
    const { apiVersion, kind, metadata } = about;
    const namespace = metadata.namespace ?? "default";
    const now = new Date();
    this.#count();
    await this.#core.createNamespacedEvent({
      namespace,
      body: {
        metadata: { generateName: `${metadata.name}-`, namespace },
        involvedObject: {
          apiVersion,
          kind,
          name: metadata.name,
          namespace,
          ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
        },
        type: event.type,
        reason: event.reason,
        message: event.message.slice(0, 1000),
        source: { component: FIELD_MANAGER },
        reportingComponent: FIELD_MANAGER,
        reportingInstance: process.env["POD_NAME"] ?? FIELD_MANAGER,
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
      },
    });
  }
}

function appliedDigest(manifest: KubeManifest): string {
  return digestOf(JSON.stringify(manifest, changeable));
}

function whichOf(manifest: KubeManifest): string {
  return `${manifest.kind} ${keyOf(manifest)}`;
}

/** Without what can't be changed once it is there: it is sent as it stands. */
function changeable(key: string, value: unknown): unknown {
  return key === "volumeClaimTemplates" ? undefined : value;
}

export interface OperatorEvent {
  readonly type: "Normal" | "Warning";
  /** One word for programs. */
  readonly reason: string;
  readonly message: string;
}
