import { messageOf, messageWithHint, MetaMasterError } from "../base/errors.js";
import type { CheckpointReason, ShipStatus } from "../replica/replica.js";
import type { Position } from "../formats/entry.js";
import type { Barrier } from "../replica/replica.js";
import { abstentionText } from "./abstention.js";
import { Backoff } from "./backoff.js";
import {
  stopped,
  type MemberComponents,
  type MemberContext,
  type MemberEnd,
  type MemberMemory,
  type Next,
} from "./context.js";
import { switchoverRefusal } from "./decisions.js";
import { killMaster, fence } from "./fencing.js";
import { Resumption, resumeRefusal, stayHalted } from "./halted.js";
import type { FailoverRecord } from "./failover-record.js";
import { endsAtStart, haltReasons, type Halt } from "./halts.js";
import { IdentityGuard } from "./identity-guard.js";
import { promote } from "./promoting.js";
import { serve } from "./primary.js";
import { RoleBoard, roleText, type RoleState } from "./roles.js";
import { pause, untilAborted } from "../base/scope.js";
import type { MemberSettings } from "./settings.js";
import { follow } from "./standby.js";
import { Switchovers, type SwitchoverRequest, type SwitchoverResult } from "./switchover.js";
import { sync } from "./syncing.js";
import { Term } from "./term.js";

export interface MemberStatus {
  readonly member: string;
  readonly role: RoleState;
  readonly history: readonly RoleState[];
  /** Who wrote the last claim seen. */
  readonly primary: { readonly member: string; readonly epoch: number } | undefined;
  /** The last position applied (standby) or durable (primary). */
  readonly position: Position | undefined;
  readonly ship: ShipStatus | undefined;
  readonly halt: (Halt & { readonly meaning: string; readonly remedy: string }) | undefined;
  /** What is being tried again. */
  readonly trouble: string | undefined;
  /** Why the newest entry of this primary is not durable yet: nothing is acknowledged meanwhile. */
  readonly writeTrouble: string | undefined;
  readonly failovers: readonly FailoverRecord[];
  readonly restarts: number;
  readonly fencedTotal: number;
  readonly masterRunning: boolean;
}

/** One member of a cluster: decides what its disk, its master and its place in the log are for. */
export class Member {
  readonly #settings: MemberSettings;
  readonly #components: MemberComponents;
  readonly #board: RoleBoard;
  readonly #switchovers: Switchovers;
  readonly #resumption = new Resumption();
  readonly #hurry = new AbortController();
  readonly #memory: MemberMemory = {
    lastPrimary: undefined,
    gaveUp: false,
    diskRefused: false,
    abstention: undefined,
    lastResync: undefined,
    term: undefined,
    watch: undefined,
    halt: undefined,
    trouble: undefined,
    failovers: [],
    masterExit: undefined,
    restarts: 0,
    fencedTotal: 0,
  };
  #begun = false;

  /** `board`: one that has shown what was before there was a member. */
  constructor(
    settings: MemberSettings,
    components: MemberComponents,
    board: RoleBoard = new RoleBoard(components.clock),
  ) {
    this.#settings = settings;
    this.#components = components;
    this.#board = board;
    this.#switchovers = new Switchovers(components.clock);
    this.#board.onRole((state, previous) => {
      components.logger.info(
        { role: state.role, from: previous.role, epoch: state.epoch, version: state.version },
        roleText(state, previous),
      );
    });
  }

  get roles(): RoleBoard {
    return this.#board;
  }

  get status(): MemberStatus {
    const { term, watch, halt } = this.#memory;
    return {
      member: this.#settings.member,
      role: this.#board.state,
      history: this.#board.history,
      primary: this.#memory.lastPrimary,
      position: term?.pen.position ?? watch?.image.position,
      ship: term?.shipStatus,
      halt: halt === undefined ? undefined : { ...halt, ...haltReasons[halt.reason] },
      writeTrouble: writeTrouble(term),
      trouble: this.#memory.trouble ?? writeTrouble(term) ?? this.#standingTrouble(),
      failovers: this.#memory.failovers,
      restarts: this.#memory.restarts,
      fencedTotal: this.#memory.fencedTotal,
      masterRunning: this.#components.master.running,
    };
  }

  /** Once. `signal`: stop gracefully, whatever the role; `hurry` shortens that. Resolves when the master has ended (see `MemberEnd`). */
  async run(signal: AbortSignal): Promise<MemberEnd> {
    if (this.#begun) throw new MetaMasterError("AlreadyRunning", "invalid", "a member runs once");
    this.#begun = true;
    const backoff = new Backoff(this.#components.random, this.#settings.retry);
    const context = await this.#begin(signal, backoff);
    let next = this.#first(context);
    while (next.to !== "End") {
      try {
        next = await this.#enter(context, next);
      } catch (error) {
        next = await this.#unexpected(context, error, backoff.nextMs());
      }
      if (!stands.has(next.to)) await this.#components.election.end();
    }
    this.#switchovers.fail(new MetaMasterError("MemberStopped", "transient", "this member was told to stop"));
    return next.end;
  }

  /** A second request to stop: no more grace for the master, little for shipping. */
  hurry(): void {
    this.#hurry.abort(new MetaMasterError("MemberStopped", "transient", "told to stop at once"));
  }

  /** Everything the master had written at the call is durable in the bucket. Rejects with `NotPrimary` where no master of ours may write. */
  async barrier(signal: AbortSignal): Promise<Barrier> {
    return await this.#writingTerm().barrier(signal);
  }

  async checkpoint(reason: CheckpointReason, signal: AbortSignal): Promise<Position> {
    const term = this.#writingTerm();
    return await untilAborted(term.track(term.shipper.checkpoint(reason, signal)), term.signal);
  }

  /** Resolves when the next claim is seen; aborting only ends the waiting. */
  async switchover(request: SwitchoverRequest, signal: AbortSignal): Promise<SwitchoverResult> {
    const refusal = switchoverRefusal({
      role: this.#board.state.role,
      member: this.#settings.member,
      to: request.to,
      lagBytes: this.#memory.term?.shipStatus?.durableLagBytes ?? 0,
      maxLagBytes: request.maxLagBytes,
      pending: this.#switchovers.pending !== undefined,
    });
    if (refusal !== undefined) throw refusal;
    return await untilAborted(this.#switchovers.begin(request).result, signal);
  }

  /** Goes on after a halt; `reason` must be the halt's, said by whoever has dealt with it. */
  resume(reason: string): void {
    const refusal = resumeRefusal(this.#memory.halt, reason, this.#components.master.running);
    if (refusal !== undefined) throw refusal;
    this.#resumption.give();
  }

  #standingTrouble(): string | undefined {
    const { abstention } = this.#memory;
    if (abstention !== undefined && this.#board.state.role === "Standby") return abstentionText(abstention);
    return electionTrouble(this.#components.election.trouble);
  }

  #writingTerm(): Term {
    const { term } = this.#memory;
    const { role, writable } = this.#board.state;
    if (term === undefined || !writable || term.signal.aborted) {
      throw new MetaMasterError(
        "NotPrimary",
        "conflict",
        `Member ${this.#settings.member} is ${role}: nothing is made durable here.`,
        {
          hint: "Ask the primary; `metamaster status` says who it is.",
          details: { role },
        },
      );
    }
    return term;
  }

  /** What earlier runs left. A halt must be known for certain; a disk that can't be read or written now is tried again. */
  async #begin(stop: AbortSignal, backoff: Backoff): Promise<MemberContext> {
    const { records, clock, logger } = this.#components;
    const { member, nonce } = this.#settings;
    let earlier: readonly string[] = [];
    while (!stop.aborted) {
      try {
        this.#memory.halt = await this.#lastingHalt();
        this.#memory.failovers = [...(await records.readFailovers())];
        earlier = await records.beginRun(nonce);
        this.#memory.trouble = undefined;
        break;
      } catch (error) {
        this.#memory.trouble = messageWithHint(error);
        logger.warn(
          { err: error },
          `the records of earlier runs can't be read or written, trying again: ${messageOf(error)}`,
        );
        await pause(clock, backoff.nextMs(), stop);
      }
    }
    backoff.reset();
    return {
      settings: this.#settings,
      components: this.#components,
      board: this.#board,
      identity: new IdentityGuard({ member, nonce }, earlier),
      switchovers: this.#switchovers,
      stop,
      hurry: this.#hurry.signal,
      memory: this.#memory,
    };
  }

  /** Of an earlier run, unless this start looks for its cause again anyway. */
  async #lastingHalt(): Promise<Halt | undefined> {
    const { records, logger } = this.#components;
    const halt = await records.readHalt();
    if (halt === undefined || !endsAtStart(halt)) return halt;
    logger.warn({ halt }, `an earlier run was halted, ${halt.reason}: ${halt.message} That is looked at again now.`);
    await records.clearHalt();
    return undefined;
  }

  #first(context: MemberContext): Next {
    if (context.stop.aborted) return stopped(context);
    const { halt } = this.#memory;
    return halt === undefined ? { to: "Syncing", reason: "starting" } : { to: "Halted", halt };
  }

  async #enter(context: MemberContext, next: Exclude<Next, { to: "End" }>): Promise<Next> {
    switch (next.to) {
      case "Syncing":
        return await sync(context, next.reason, next.pauseMs ?? 0);
      case "Standby":
        return await follow(context, next.watch, next.reason);
      case "Promoting":
        return await promote(context, next.watch, next.candidacy);
      case "Primary":
        return await serve(context, next.term);
      case "Fencing":
        return await fence(context, next.reason, next.after);
      case "Halted":
        break;
    }
    return await stayHalted(context, next.halt, this.#resumption);
  }

  /** A defect of ours or of a component: the safe thing is always to end the master and to begin again. */
  async #unexpected(context: MemberContext, error: unknown, pauseMs: number): Promise<Next> {
    const reason = `unexpected: ${messageOf(error)}`;
    this.#components.logger.error({ err: error }, `${this.#board.state.role} failed unexpectedly: ${messageOf(error)}`);
    this.#memory.trouble = reason;
    if (this.#memory.halt !== undefined) {
      await pause(this.#components.clock, pauseMs, context.hurry);
      if (context.hurry.aborted && (await killMaster(context, 1)) !== undefined) {
        return { to: "End", end: { reason: "MasterWillNotDie", masterExit: undefined, unshipped: true } };
      }
      return { to: "Halted", halt: this.#memory.halt };
    }
    return { to: "Fencing", reason, after: { to: "Syncing", reason, pauseMs } };
  }
}

/** The states of a stint as a standby, and what it leads to. */
const stands: ReadonlySet<Next["to"]> = new Set(["Standby", "Promoting", "Primary"]);

function electionTrouble(error: unknown): string | undefined {
  return error === undefined ? undefined : `the election is hindered: ${messageWithHint(error)}`;
}

/** What was written and is not durable yet. */
function writeTrouble(term: Term | undefined): string | undefined {
  if (term?.pen.trouble === undefined) return undefined;
  return `slot ${term.pen.position.slot + 1} is not durable yet: ${messageWithHint(term.pen.trouble)}`;
}
