import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { registerClusterMetrics } from "./cluster-metrics.js";
import type { LiveObject } from "./kube/objects.js";

export interface MetricsSources {
  /** Resources that wait or are worked on. */
  readonly depth: () => number;
  /** Since the start. */
  readonly writes: () => number;
  /** All that this process looks after. */
  readonly clusters: () => readonly LiveObject[];
}

/** What the operator says of itself, and of the resources (docs/reference/operator-metrics.md). */
export class OperatorMetrics {
  readonly registry = new Registry();
  readonly reconciles: Counter<"result">;
  readonly seconds: Histogram;
  readonly leader: Gauge;
  readonly queueDepth: Gauge;
  readonly apiWrites: Counter;
  readonly apiRequests: Counter<"verb" | "resource">;

  constructor({ depth, writes, clusters }: MetricsSources) {
    const registers = [this.registry];
    registerClusterMetrics(this.registry, clusters);
    collectDefaultMetrics({ register: this.registry });
    this.reconciles = new Counter({
      name: "metamaster_operator_reconciles_total",
      help: "Looks at a resource, by result: ok or error.",
      labelNames: ["result"],
      registers,
    });
    this.seconds = new Histogram({
      name: "metamaster_operator_reconcile_duration_seconds",
      help: "Time of one look at a resource.",
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
      registers,
    });
    this.leader = new Gauge({ name: "metamaster_operator_leader", help: "1 while this process leads.", registers });
    this.queueDepth = new Gauge({
      name: "metamaster_operator_queue_depth",
      help: "Resources that wait or are worked on.",
      registers,
      collect() {
        this.set(depth());
      },
    });
    let counted = 0;
    this.apiWrites = new Counter({
      name: "metamaster_operator_api_writes_total",
      help: "Writing requests to the API server since the start, leases not counted.",
      registers,
      collect() {
        const now = writes();
        this.inc(now - counted);
        counted = now;
      },
    });
    this.apiRequests = new Counter({
      name: "metamaster_operator_api_requests_total",
      help: "Requests to the API server, leases included, by verb (get is also list) and resource.",
      labelNames: ["verb", "resource"],
      registers,
    });
  }
}
