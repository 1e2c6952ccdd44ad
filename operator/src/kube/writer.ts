import {
  CoreV1Api,
  CustomObjectsApi,
  HttpMethod,
  KubernetesObjectApi,
  PatchStrategy,
  type KubeConfig,
} from "@kubernetes/client-node";
import { GROUP, PLURAL, VERSION, type MetaMasterCluster, type Status } from "../../../crds/src/index.js";
import { digestOf } from "../objects/digest.js";
import { FIELD_MANAGER, namespaceOf, type KubeManifest } from "../objects/names.js";
import { covers } from "./covers.js";
import { text, type LiveObject } from "./objects.js";
import { Refused, statusCodeOf, whyRefused } from "./refused.js";

/** Of what was applied last: what is taken out of a manifest must be applied, too, though all that is left stands. */
const APPLIED = "metamaster.io/applied";
const REMEMBERED_MAX = 20_000;

/** The library's own `patch` leaves out what its models don't know, such as a misspelt field of a person's template: sent as it is, the API server refuses it. */
class AsItIs extends KubernetesObjectApi {
  async apply(object: LiveObject): Promise<LiveObject> {
    const path = await this.specUriPath(object, "patch");
    const request = this.configuration.baseServer.makeRequestContext(path, HttpMethod.PATCH);
    request.setHeaderParam("Accept", "application/json");
    request.setHeaderParam("Content-Type", PatchStrategy.ServerSideApply);
    request.setQueryParam("fieldManager", FIELD_MANAGER);
    request.setQueryParam("force", "true");
    request.setBody(JSON.stringify(object));
    return await this.requestPromise(request);
  }
}

/** Every writing of the operator. One try each: who calls it comes again. */
export class Writer {
  readonly #objects: KubernetesObjectApi;
  readonly #asItIs: AsItIs;
  readonly #custom: CustomObjectsApi;
  readonly #core: CoreV1Api;
  /** By UID: of what an apply left, which manifest and which version. The API server may write what was sent in another way (`cpu: 1000m`), or leave it out (`envFrom: []`): `covers` would never hold. */
  readonly #left = new Map<string, string>();
  /** So many requests that changed, or would have changed, something. */
  writes = 0;

  constructor(config: KubeConfig) {
    this.#objects = KubernetesObjectApi.makeApiClient(config);
    this.#asItIs = config.makeApiClient(AsItIs);
    this.#custom = config.makeApiClient(CustomObjectsApi);
    this.#core = config.makeApiClient(CoreV1Api);
  }

  /** Server-side apply, unless `live` has it all. True: that changed something. Rejects with `Refused` where only another manifest would help. */
  async apply(manifest: KubeManifest, live: LiveObject | undefined): Promise<boolean> {
    const digest = digestOf(JSON.stringify(manifest, changeable));
    if (live !== undefined && text(live, "metadata", "annotations", APPLIED) === digest) {
      if (covers(live, manifest) || this.#left.get(text(live, "metadata", "uid") ?? "") === left(live, digest))
        return false;
    }
    const { metadata } = manifest;
    const annotations = { ...metadata.annotations, [APPLIED]: digest };
    const body = { ...manifest, metadata: { ...metadata, annotations } } as unknown as LiveObject;
    this.writes += 1;
    const result = await this.#send(body);
    if (this.#left.size >= REMEMBERED_MAX) this.#left.clear();
    this.#left.set(text(result, "metadata", "uid") ?? "", left(result, digest));
    return live === undefined || left(live, digest) !== left(result, digest);
  }

  async #send(body: LiveObject): Promise<LiveObject> {
    try {
      return await this.#asItIs.apply(body);
    } catch (error) {
      const why = whyRefused(error);
      if (why === undefined) throw error;
      throw new Refused(body.kind ?? "", body.metadata?.name ?? "", why, { cause: error });
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
    this.writes += 1;
    await this.#objects.patch(body, undefined, undefined, FIELD_MANAGER, undefined, PatchStrategy.MergePatch);
  }

  /** Refused if it is another one by now; nothing if it is gone. */
  async remove(object: KubeManifest, uid?: string): Promise<void> {
    const { apiVersion, kind, metadata } = object;
    const { name, namespace } = metadata;
    const target = { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
    this.writes += 1;
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

  /** Refused (409) if the resource has changed since it was read. */
  async status(cluster: MetaMasterCluster, status: Status): Promise<void> {
    const where = {
      group: GROUP,
      version: VERSION,
      plural: PLURAL,
      namespace: namespaceOf(cluster),
      name: cluster.metadata.name,
    };
    this.writes += 1;
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
    this.writes += 1;
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

function left(object: LiveObject, digest: string): string {
  return `${text(object, "metadata", "resourceVersion") ?? ""} ${digest}`;
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
