import type { Position } from "../../formats/entry.js";
import type { Collector } from "../../log/collector.js";
import type { Appended, Draft, LogWriter } from "../../log/log.js";
import type { Barrier, CheckpointReason, Shipper, ShipStatus } from "../../replica/replica.js";

/** A shipper that collects the bucket's garbage while it runs: both are the primary's, and end with its epoch. */
export class CollectingShipper implements Shipper {
  readonly #shipper: Shipper;
  readonly #collector: Collector;

  constructor(shipper: Shipper, collector: Collector) {
    this.#shipper = shipper;
    this.#collector = collector;
  }

  /** Ends as the shipper does; the collector rejects only if the writer is fenced, which the shipper finds as well. */
  async run(signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const onAbort = (): void => ended.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    const collecting = this.#collector.run(ended.signal).catch(() => undefined);
    try {
      await this.#shipper.run(signal);
    } finally {
      signal.removeEventListener("abort", onAbort);
      ended.abort(new Error("shipping has ended"));
      await collecting;
    }
  }

  barrier(signal: AbortSignal): Promise<Barrier> {
    return this.#shipper.barrier(signal);
  }

  checkpoint(reason: CheckpointReason, signal: AbortSignal): Promise<Position> {
    return this.#shipper.checkpoint(reason, signal);
  }

  masterStarting(): void {
    this.#shipper.masterStarting();
  }

  finish(signal: AbortSignal): Promise<Position> {
    return this.#shipper.finish(signal);
  }

  othersDurable(draft: Draft, appended: Appended): void {
    this.#shipper.othersDurable(draft, appended);
  }

  get status(): ShipStatus {
    return this.#shipper.status;
  }

  get writer(): LogWriter {
    return this.#shipper.writer;
  }
}
