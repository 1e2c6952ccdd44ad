import { isKind, messageOf, MetaMasterError } from "../base/errors.js";
import type { Position } from "../formats/entry.js";
import type { Appended, Draft, LogWriter } from "../log/log.js";
import type { Barrier, Shipper, ShipStatus } from "../replica/replica.js";
import { Backoff } from "./backoff.js";
import type { MemberContext } from "./context.js";
import { mayAcknowledge } from "./decisions.js";
import type { FailoverRecord, TimeSplit } from "./failover-record.js";
import { LeaderPen } from "./leader-pen.js";
import { pause, Scope } from "../base/scope.js";
import type { Watch } from "./watch.js";

export interface TermOrigin {
  readonly split: TimeSplit;
  /** The primary before. */
  readonly from: string | undefined;
}

/**
 * One epoch of this member: leadership, shipping and what may be acknowledged, from the claim to the release or the loss.
 * `signal` aborts, with the reason, once leadership is lost; nothing of the term goes on after `end`.
 */
export class Term {
  readonly pen: LeaderPen;
  readonly claim: Position;
  readonly #context: MemberContext;
  readonly #origin: TermOrigin;
  readonly #scope = new Scope();
  readonly #tasks = new Set<Promise<unknown>>();
  #shipper: Shipper | undefined;
  #renewUntilMs: number;
  #leadershipUntilMs = -Infinity;
  #deadMs = -Infinity;
  #record: FailoverRecord | undefined;

  constructor(context: MemberContext, writer: LogWriter, origin: TermOrigin) {
    this.#context = context;
    this.#origin = origin;
    this.claim = writer.position;
    this.pen = new LeaderPen(writer, (draft, appended) => this.#durable(draft, appended));
    this.#renewUntilMs = this.#nowMs() + context.settings.failover.openTimeoutMs;
    context.memory.term = this;
    void this.track(this.#lead());
  }

  get epoch(): number {
    return this.pen.epoch;
  }

  get signal(): AbortSignal {
    return this.#scope.signal;
  }

  get shipper(): Shipper {
    if (this.#shipper === undefined) throw new MetaMasterError("NotPrimary", "conflict", "the epoch is not begun yet");
    return this.#shipper;
  }

  get shipStatus(): ShipStatus | undefined {
    return this.#shipper?.status;
  }

  /** Makes the disk ready for a master: sealed, and whatever it holds beyond the log shipped. */
  async open(watch: Watch): Promise<void> {
    const { components, settings } = this.#context;
    const image = await watch.seal(this.claim, this.epoch);
    this.signal.throwIfAborted();
    const ahead = watch.reconciled === "Ahead";
    this.#shipper = await components.makeShipper({
      writer: this.pen,
      image,
      ahead: ahead || watch.reconciled === "Adoptable",
    });
    this.signal.throwIfAborted();
    void this.track(this.#ship(this.#shipper));
    if (ahead) {
      components.logger.info(
        { epoch: this.epoch },
        "shipping what this disk holds beyond the log before the master starts",
      );
      await this.track(this.#shipper.checkpoint("Start", this.signal));
    }
    this.renewFor(settings.failover.openTimeoutMs);
  }

  /** The master is (about to be) alive and well: leadership may be renewed for so long without another word. */
  renewFor(ms: number): void {
    this.#renewUntilMs = this.#nowMs() + ms;
  }

  /** Starts the master; its watchdog ends it when leadership would have passed on. */
  async startMaster(): Promise<void> {
    const { components } = this.#context;
    this.signal.throwIfAborted();
    this.shipper.masterStarting();
    await components.master.start(this.epoch, Math.max(0, this.#deadMs - this.#nowMs()));
    components.master.extend(this.#nowMs(), Math.max(0, this.#deadMs - this.#nowMs()));
  }

  /** Everything the master had written at the call is durable, in this epoch, and leadership was not lost meanwhile. */
  async barrier(signal: AbortSignal): Promise<Barrier> {
    const scope = new Scope(signal, this.signal);
    try {
      const barrier = await this.track(this.shipper.barrier(scope.signal));
      const acknowledged = mayAcknowledge({
        fenced: this.pen.fenced !== undefined,
        termEnded: this.signal.aborted,
        nowMs: this.#nowMs(),
        leadershipUntilMs: this.#leadershipUntilMs,
      });
      if (!acknowledged) {
        throw new MetaMasterError(
          "NotPrimary",
          "conflict",
          `leadership of epoch ${this.epoch} was lost or is not proven`,
          {
            hint: "Do not acknowledge it. Ask again: it is proven anew with the next entry that gets through to the bucket, unless another member has claimed.",
          },
        );
      }
      this.#wrote();
      return barrier;
    } finally {
      scope.close();
    }
  }

  /** The master answers: the promotion is complete. */
  opened(): void {
    const { memory, settings, components } = this.#context;
    this.#origin.split.opened();
    if (this.#record !== undefined) return;
    this.#record = this.#origin.split.record({
      from: this.#origin.from,
      to: settings.member,
      epoch: this.epoch,
      slot: this.claim.slot,
    });
    memory.failovers = [...memory.failovers.slice(-19), this.#record];
    components.logger.info({ ...this.#record }, `primary of epoch ${this.epoch}`);
    this.#publish(this.#record);
  }

  /** Work of this term: `settled` waits for it, also where the caller gave up waiting. */
  track<T>(work: Promise<T>): Promise<T> {
    const task = work.then(
      () => undefined,
      () => undefined,
    );
    this.#tasks.add(task);
    void task.then(() => this.#tasks.delete(task));
    return work;
  }

  /** From here on nothing of this term goes on or is acknowledged. */
  abort(reason: string): void {
    this.#scope.abort(new MetaMasterError("TermEnded", "fenced", `epoch ${this.epoch} has ended: ${reason}`));
  }

  /** After `abort`: nothing of this term touches the disk or the bucket any more. */
  async settled(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
    if (this.#context.memory.term === this) this.#context.memory.term = undefined;
  }

  async #lead(): Promise<void> {
    const { components } = this.#context;
    const end = await components.election.lead(
      {
        writer: this.pen,
        mayRenew: () => this.#nowMs() < this.#renewUntilMs,
        extended: (fromMs, untilMs, deadMs) => {
          this.#leadershipUntilMs = untilMs;
          this.#deadMs = deadMs;
          components.master.extend(fromMs, deadMs - fromMs);
        },
      },
      this.signal,
    );
    if (end.reason === "Stopped") return;
    this.lose(
      end.reason === "Fenced" ? "another member claimed" : "leadership could not be renewed in time",
      end.cause,
    );
  }

  async #ship(shipper: Shipper): Promise<void> {
    const { components, settings } = this.#context;
    const backoff = new Backoff(components.random, settings.retry);
    let last: unknown;
    while (!this.signal.aborted) {
      try {
        await shipper.run(this.signal);
        // It was finished.
        return;
      } catch (error) {
        if (this.signal.aborted) return;
        if (isKind(error, "fenced") || this.pen.fenced !== undefined) {
          this.lose("another member claimed", error);
          return;
        }
        // It did not begin before either, for the very same reason: what was begun can't begin again in this epoch.
        if (error === last) {
          this.lose("shipping can't go on in this epoch", error);
          return;
        }
        last = error;
        // The master is not taken out of service for it: barriers fail with the reason, the lag grows and is alarmed.
        components.logger.error({ err: error }, `shipping is held up, trying again: ${messageOf(error)}`);
      }
      await pause(components.clock, backoff.nextMs(), this.signal);
    }
  }

  /** Leadership is gone: everything of this term ends now. */
  lose(reason: string, cause: unknown): void {
    if (this.signal.aborted) return;
    const { memory, components } = this.#context;
    memory.fencedTotal += 1;
    const why = cause === undefined ? reason : `${reason} (${messageOf(cause)})`;
    components.logger.error({ err: cause, epoch: this.epoch }, `leadership of epoch ${this.epoch} is lost: ${why}`);
    this.#scope.abort(new MetaMasterError("LeadershipLost", "fenced", `epoch ${this.epoch}: ${why}`, { cause }));
  }

  #durable(draft: Draft, appended: Appended): void {
    this.#context.components.election.durable(appended);
    // While a long tail is shipped no master runs whose health could be asked: progress is the sign of life.
    if (this.#record === undefined && draft.kind !== "heartbeat") {
      this.#renewUntilMs = Math.max(
        this.#renewUntilMs,
        this.#context.components.master.running ? 0 : this.#nowMs() + this.#context.settings.failover.openTimeoutMs,
      );
    }
    this.#shipper?.othersDurable(draft, appended);
    if (draft.kind === "wal") this.#wrote();
  }

  #wrote(): void {
    if (this.#record === undefined || !this.#origin.split.wrote()) return;
    const { memory } = this.#context;
    const { from, to, epoch, slot } = this.#record;
    const record = { ...this.#origin.split.record({ from, to, epoch, slot }), atWallMs: this.#record.atWallMs };
    memory.failovers = memory.failovers.map((each) => (each === this.#record ? record : each));
    this.#record = record;
    this.#publish(record);
  }

  #publish(record: FailoverRecord): void {
    const { components, memory } = this.#context;
    components.hooks?.failover?.(record);
    void this.track(
      components.records.writeFailovers(memory.failovers).catch((error: unknown) => {
        components.logger.warn({ err: error }, `the failover could not be recorded: ${messageOf(error)}`);
      }),
    );
  }

  #nowMs(): number {
    return this.#context.components.clock.monotonicMs();
  }
}
