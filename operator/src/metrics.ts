import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

/** What the operator says of itself (docs/reference/operator-metrics.md). */
export class OperatorMetrics {
  readonly registry = new Registry();
  readonly reconciles: Counter<"result">;
  readonly seconds: Histogram;
  readonly leader: Gauge;
  readonly queueDepth: Gauge;
  readonly apiWrites: Counter;

  constructor(depth: () => number, writes: () => number) {
    const registers = [this.registry];
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
  }
}
