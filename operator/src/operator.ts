import type { KubeConfig } from "@kubernetes/client-node";
import type { AskMember } from "./controller/observe.js";
import { Reconciler } from "./controller/reconciler.js";
import { WorkQueue } from "./controller/work-queue.js";
import { EventReader } from "./kube/events.js";
import { keyOf } from "./kube/objects.js";
import { Store } from "./kube/store.js";
import { Writer } from "./kube/writer.js";
import type { Logger } from "./log.js";
import { OperatorMetrics } from "./metrics.js";

export interface OperatorSettings {
  /** Of the sidecars, unless a resource names one. */
  readonly image: string;
  /** Undefined: all. */
  readonly namespace: string | undefined;
  /** May read nodes and bind the members' ClusterRole. */
  readonly clusterWide: boolean;
}

const PARALLEL = 8;
const STEADY_MS = 10_000;
const BUSY_MS = 1000;
const BACKOFF = { backoffMsMin: 500, backoffMsMax: 60_000 };

/** The controller of all resources, while this process leads. */
export class Operator {
  readonly metrics: OperatorMetrics;
  readonly writer: Writer;
  readonly #settings: OperatorSettings;
  readonly #config: KubeConfig;
  readonly #logger: Logger;
  readonly #ask: AskMember;
  #queue: WorkQueue | undefined;
  #store: Store | undefined;

  /** `leads`: nothing is written once it is false. */
  constructor(
    settings: OperatorSettings,
    config: KubeConfig,
    logger: Logger,
    ask: AskMember,
    leads: () => boolean = () => true,
  ) {
    this.#settings = settings;
    this.#config = config;
    this.#logger = logger;
    this.#ask = ask;
    this.writer = new Writer(config, leads);
    this.metrics = new OperatorMetrics({
      depth: () => this.#queue?.depth ?? 0,
      writes: () => this.writer.writes,
      clusters: () => this.#store?.all("MetaMasterCluster") ?? [],
    });
  }

  /** Resolves once everything that is there is known, and is being worked on. */
  async start(): Promise<void> {
    const { namespace, clusterWide, image } = this.#settings;
    let synced = false;
    const everything = (): void => {
      for (const cluster of store.all("MetaMasterCluster")) queue.add(keyOf(cluster));
    };
    const store: Store = new Store({ config: this.#config, namespace, clusterWide }, this.#logger, (key) => {
      // Until all kinds are listed an object that is there may seem to be missing.
      if (!synced) return;
      if (key === undefined) everything();
      else queue.add(key);
    });
    const reconciler = new Reconciler(
      { image, clusterRoleBindings: clusterWide, steadyMs: STEADY_MS, busyMs: BUSY_MS },
      {
        store,
        writer: this.writer,
        events: new EventReader(this.#config),
        logger: this.#logger,
        ask: this.#ask,
        wallMs: () => new Date().getTime(),
        monotonicMs: () => performance.now(),
      },
    );
    const queue: WorkQueue = new WorkQueue(
      { parallel: PARALLEL, ...BACKOFF },
      async (key) => {
        const end = this.metrics.seconds.startTimer();
        const again = await reconciler.reconcile(key).finally(end);
        this.metrics.reconciles.inc({ result: "ok" });
        return again;
      },
      (key, error, failures) => {
        this.metrics.reconciles.inc({ result: "error" });
        const message = error instanceof Error ? error.message : String(error);
        this.#logger[failures > 1 ? "error" : "warn"](
          { err: error, key, failures },
          `${key} could not be brought up to date, trying again: ${message}`,
        );
      },
    );
    this.#queue = queue;
    this.#store = store;
    await store.start();
    synced = true;
    everything();
  }

  async stop(): Promise<void> {
    await this.#queue?.stop();
    await this.#store?.stop();
  }
}
