import { MetaMasterError } from "../../base/errors.js";
import type { Position } from "../../formats/entry.js";
import type { Gate } from "../../member/gate.js";
import type { Member, MemberStatus } from "../../member/member.js";
import type { RoleState } from "../../member/roles.js";
import type { SwitchoverRequest, SwitchoverResult } from "../../member/switchover.js";
import type { Barrier } from "../../replica/replica.js";
import type { ServedMember } from "../http/served-member.js";
import { statusDocument, type StatusDocument, type StatusFacts } from "../http/status.js";
import type { MemberMetrics } from "../metrics/member-metrics.js";

type OwnFacts = Omit<StatusFacts, "clusterUid" | "bucketTrouble">;

/** What HTTP shows of a run, also before there is a member: while the bucket is waited for. */
export class RunningMember implements ServedMember {
  readonly name: string;
  readonly #metrics: MemberMetrics;
  readonly #facts: OwnFacts;
  readonly #early: RoleState;
  #clusterUid: string | undefined;
  #member: Member | undefined;
  #bucketTrouble: () => string | undefined = () => undefined;
  /** What is waited for before there is a member. */
  trouble: string | undefined;

  readonly gate: Gate | undefined;

  constructor(name: string, facts: OwnFacts, metrics: MemberMetrics, gate?: Gate) {
    this.name = name;
    this.gate = gate;
    this.#facts = facts;
    this.#metrics = metrics;
    this.#early = {
      version: 0,
      role: "Syncing",
      reason: "looking at the bucket",
      epoch: undefined,
      writable: false,
      sinceWallMs: facts.startedWallMs,
    };
  }

  /** `bucketTrouble`: what keeps calls to the bucket from succeeding. */
  begin(member: Member, clusterUid: string, bucketTrouble: () => string | undefined): void {
    this.#member = member;
    this.#bucketTrouble = bucketTrouble;
    this.#clusterUid = clusterUid;
    this.trouble = undefined;
  }

  get role(): RoleState {
    return this.#member?.roles.state ?? this.#early;
  }

  get primary(): { readonly member: string; readonly epoch: number } | undefined {
    return this.#member?.status.primary;
  }

  async roleAfter(version: number, signal: AbortSignal): Promise<RoleState> {
    if (this.#member === undefined) return this.#early;
    return await this.#member.roles.after(version, signal);
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
    this.#begun().resume(reason);
  }

  get memberStatus(): MemberStatus {
    if (this.#member !== undefined) {
      const { status } = this.#member;
      return { ...status, trouble: status.trouble ?? this.#bucketTrouble() };
    }
    return {
      member: this.name,
      role: this.#early,
      history: [this.#early],
      primary: undefined,
      position: undefined,
      ship: undefined,
      halt: undefined,
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
