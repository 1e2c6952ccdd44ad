import {
  ListWatch,
  Watch,
  type KubeConfig,
  type KubernetesListObject,
  type KubernetesObjectApi,
} from "@kubernetes/client-node";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../log.js";
import { keyOf, list, type LiveObject } from "./objects.js";

export interface Watched {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  /** Undefined: all of them. */
  readonly labelSelector?: string;
  /** Not in namespaces. */
  readonly clusterScoped?: boolean;
}

/** The library begins a silent watch anew this often, from where it was: so long nobody may notice that the other end is gone. The API server sends a bookmark each minute. */
const SILENT_MS = 90_000;
const AGAIN_MS_MIN = 1000;
const AGAIN_MS_MAX = 30_000;

/** With bookmarks, a quiet watch's version does not grow too old to go on from (everything would be listed again), and a live connection is no silent one. */
export class BookmarkedWatch extends Watch {
  override async watch(
    path: string,
    query: Parameters<Watch["watch"]>[1],
    ...handlers: [Parameters<Watch["watch"]>[2], Parameters<Watch["watch"]>[3]]
  ): Promise<AbortController> {
    return await super.watch(path, { ...query, allowWatchBookmarks: true }, ...handlers);
  }
}

/**
 * All objects of one kind, kept up to date by one list and a watch that goes on from the version it has seen; listed again when that is too old, whereby deletions that were
 * missed are told. The library stops at any other error: here it is begun again, ever less often.
 */
export class Informer {
  readonly #watched: Watched;
  readonly #watch: ListWatch<LiveObject>;
  readonly #logger: Logger;
  readonly #over = new AbortController();
  readonly #synced = Promise.withResolvers<void>();
  #againMs = AGAIN_MS_MIN;
  #begunMs = 0;

  constructor(
    watched: Watched,
    { config, api, namespace, logger }: InformerComponents,
    onChange: (object: LiveObject) => void,
  ) {
    this.#watched = watched;
    this.#logger = logger;
    const watch = new BookmarkedWatch(config);
    // No setting for it, and its 30 s would be two requests a minute for each kind.
    Reflect.set(watch, "requestTimeoutMs", SILENT_MS);
    const { apiVersion, kind, labelSelector, clusterScoped = false } = watched;
    const within = clusterScoped ? undefined : namespace;
    const listAll = async (): Promise<KubernetesListObject<LiveObject>> => {
      const all = await api.list<LiveObject>(
        apiVersion,
        kind,
        within,
        undefined,
        undefined,
        undefined,
        undefined,
        labelSelector,
      );
      // The library makes dates and classes of a list's items and leaves a watch's as they are; and a list's don't say what they are.
      const items = all.items.map((item) => ({
        ...(JSON.parse(JSON.stringify(item)) as LiveObject),
        apiVersion,
        kind,
      }));
      return { ...all, items };
    };
    this.#watch = new ListWatch(pathOf(watched, within), watch, listAll, false, labelSelector);
    const kept = (object: LiveObject): void => {
      // Half of what an object weighs, and nobody's concern here.
      if (object.metadata !== undefined) delete object.metadata.managedFields;
      onChange(object);
    };
    this.#watch.on("add", kept);
    this.#watch.on("update", kept);
    this.#watch.on("delete", onChange);
    this.#watch.on("error", (error: unknown) => void this.#again(error));
  }

  /** Resolves once everything that is there is known. */
  async start(): Promise<void> {
    void this.#begin();
    await this.#synced.promise;
  }

  async stop(): Promise<void> {
    this.#over.abort();
    this.#synced.resolve();
    await this.#watch.stop();
  }

  get(name: string, namespace?: string): LiveObject | undefined {
    return this.#watch.get(name, namespace);
  }

  all(namespace?: string): readonly LiveObject[] {
    return this.#watch.list(namespace);
  }

  async #begin(): Promise<void> {
    this.#begunMs = performance.now();
    try {
      await this.#watch.start();
      if (this.#watch.latestResourceVersion() === "") return;
      this.#synced.resolve();
    } catch (error) {
      await this.#again(error);
    }
  }

  async #again(error: unknown): Promise<void> {
    if (this.#over.signal.aborted) return;
    const { kind } = this.#watched;
    // That it began says little: a watch that is refused ends a moment later.
    if (performance.now() - this.#begunMs > AGAIN_MS_MAX) this.#againMs = AGAIN_MS_MIN;
    this.#logger.warn({ err: error, kind }, `${kind}s can't be watched, trying again in ${this.#againMs} ms`);
    try {
      await sleep(this.#againMs, undefined, { signal: this.#over.signal });
    } catch {
      return;
    }
    this.#againMs = Math.min(AGAIN_MS_MAX, 2 * this.#againMs);
    await this.#begin();
  }
}

export interface InformerComponents {
  readonly config: KubeConfig;
  readonly api: KubernetesObjectApi;
  /** Undefined: all. */
  readonly namespace: string | undefined;
  readonly logger: Logger;
}

function pathOf({ apiVersion, plural }: Watched, namespace: string | undefined): string {
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return namespace === undefined ? `${root}/${plural}` : `${root}/namespaces/${namespace}/${plural}`;
}

/** Keys of the objects that own this one, by kind. */
export function ownersOf(object: LiveObject, kind: string): string[] {
  return list(object, "metadata", "ownerReferences").flatMap((owner) => {
    const isKind = typeof owner === "object" && owner !== null && Reflect.get(owner, "kind") === kind;
    const name: unknown = isKind ? Reflect.get(owner, "name") : undefined;
    const namespace = object.metadata?.namespace;
    return typeof name === "string"
      ? [keyOf({ metadata: { name, ...(namespace === undefined ? {} : { namespace }) } })]
      : [];
  });
}
