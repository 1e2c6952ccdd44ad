import { MetaMasterError } from "../../base/errors.js";
import type { Position } from "../../formats/entry.js";
import type { Gate } from "../../member/master/gate.js";
import type { Member, MemberStatus } from "../../member/member.js";
import { Resumption, resumeRefusal } from "../../member/halted.js";
import { haltReasons, type Halt } from "../../member/halts.js";
import type { RoleBoard, RoleState } from "../../member/roles.js";
import type { SwitchoverRequest, SwitchoverResult } from "../../member/switchover.js";
import type { Barrier } from "../../replica/replica.js";
import type { ServedMember } from "../http/served-member.js";
import { statusDocument, type StatusDocument, type StatusFacts } from "../http/status.js";
import type { MemberMetrics } from "../metrics/member-metrics.js";

type OwnFacts = Omit<StatusFacts, "clusterUid" | "bucketTrouble">;

/** What HTTP shows of a run, also before there is a member: while the bucket is waited for, or what it says of itself stands in the way. */
export class RunningMember implements ServedMember {
  readonly name: string;
  readonly board: RoleBoard;
  readonly gate: Gate | undefined;
  readonly #metrics: MemberMetrics;
  readonly #facts: OwnFacts;
  readonly #resumption = new Resumption();
  #halt: Halt | undefined;
  #clusterUid: string | undefined;
  #member: Member | undefined;
  #bucketTrouble: () => string | undefined = () => undefined;
  /** What is waited for before there is a member. */
  trouble: string | undefined;

  constructor(name: string, facts: OwnFacts, metrics: MemberMetrics, board: RoleBoard, gate?: Gate) {
    this.name = name;
    this.board = board;
    this.gate = gate;
    this.#facts = facts;
    this.#metrics = metrics;
    board.enter("Syncing", "looking at the bucket");
  }

  /** `bucketTrouble`: what keeps calls to the bucket from succeeding. */
  begin(member: Member, clusterUid: string, bucketTrouble: () => string | undefined): void {
    this.#member = member;
    this.#bucketTrouble = bucketTrouble;
    this.#clusterUid = clusterUid;
    this.trouble = undefined;
  }

  /** Before there is a member: stands still until resumed; rejects with the signal's reason. Not recorded, since every start looks for the cause again. */
  async stayHalted(halt: Halt, signal: AbortSignal): Promise<void> {
    this.#halt = halt;
    this.trouble = undefined;
    this.board.enter("Halted", `${halt.reason}: ${halt.message}`);
    await this.#resumption.wait(signal);
    this.#halt = undefined;
    this.board.enter("Syncing", `resumed after ${halt.reason}`);
  }

  get role(): RoleState {
    return this.board.state;
  }

  get primary(): { readonly member: string; readonly epoch: number } | undefined {
    return this.#member?.status.primary;
  }

  async roleAfter(version: number, signal: AbortSignal): Promise<RoleState> {
    return await this.board.after(version, signal);
  }

  async barrier(signal: AbortSignal): Promise<Barrier> {
    return await this.#begun().barrier(signal);
  }

  async checkpoint(signal: AbortSignal): Promise<Position> {
    return await this.#begun().checkpoint("OnDemand", signal);
  }

  async switchover(request: SwitchoverRequest, signal: AbortSignal): Promise<SwitchoverResult> {
    return await this.#begun().switchover(request, signal);
  }

  resume(reason: string): void {
    if (this.#member !== undefined) {
      this.#member.resume(reason);
      return;
    }
    const refusal = resumeRefusal(this.#halt, reason, false);
    if (refusal !== undefined) throw refusal;
    this.#resumption.give();
  }

  get memberStatus(): MemberStatus {
    if (this.#member !== undefined) {
      const { status } = this.#member;
      return { ...status, trouble: status.trouble ?? this.#bucketTrouble() };
    }
    return {
      member: this.name,
      role: this.board.state,
      history: this.board.history,
      primary: undefined,
      position: undefined,
      ship: undefined,
      halt: this.#halt === undefined ? undefined : { ...this.#halt, ...haltReasons[this.#halt.reason] },
      trouble: this.trouble,
      writeTrouble: undefined,
      failovers: [],
      restarts: 0,
      fencedTotal: 0,
      masterRunning: false,
    };
  }

  status(): StatusDocument {
    const { memberStatus } = this;
    const bucketTrouble = memberStatus.writeTrouble ?? this.#bucketTrouble();
    return statusDocument(memberStatus, { ...this.#facts, clusterUid: this.#clusterUid, bucketTrouble });
  }

  async metrics(): Promise<{ readonly contentType: string; readonly text: string }> {
    const { registry } = this.#metrics;
    return { contentType: registry.contentType, text: await registry.metrics() };
  }

  #begun(): Member {
    if (this.#member !== undefined) return this.#member;
    throw new MetaMasterError("NotPrimary", "conflict", `Member ${this.name} is still looking at the bucket.`, {
      hint: "Ask again once `metamaster status` shows a role, or ask the primary.",
    });
  }
}
