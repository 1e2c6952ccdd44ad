import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import type { Logger } from "../base/log.js";
import type { Random } from "../base/random.js";
import type { Position, ReadEntry } from "../formats/entry.js";
import type { ImageState } from "../formats/image.js";
import type { Claim, LogReader, LogWriter } from "../log/log.js";
import type { RollCall } from "../log/roll-call.js";
import type { Follower, Reconciled, Shipper } from "../replica/replica.js";
import type { Candidacy, Election } from "./election/election.js";
import type { FailoverRecord } from "./failover-record.js";
import type { Halt } from "./halts.js";
import type { IdentityGuard } from "./identity-guard.js";
import type { Master, MasterExit } from "./master/master.js";
import type { Proof } from "./proof.js";
import type { MemberRecords } from "./records.js";
import type { RoleBoard } from "./roles.js";
import type { MemberSettings } from "./settings.js";
import type { Switchovers } from "./switchover.js";
import type { Term } from "./term.js";
import type { Watch } from "./watch.js";

/** What a member is made of; the simulator and `main` pass different ones. */
export interface MemberComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly records: MemberRecords;
  readonly reader: LogReader;
  readonly claim: Claim;
  /** Passed before this member stands for election. */
  readonly proof: Proof;
  readonly rollCall: RollCall;
  readonly election: Election;
  readonly master: Master;
  readonly reconcile: (signal: AbortSignal) => Promise<Reconciled>;
  readonly makeFollower: (image: ImageState) => Follower | Promise<Follower>;
  /** Makes a disk that is ahead of `image` ready for a master of ours: no links to what it appends to, the claim recorded. */
  readonly sealAhead: (image: ImageState, claim: Position, epoch: number) => Promise<ImageState>;
  readonly makeShipper: (input: ShipperInput) => Shipper | Promise<Shipper>;
  readonly hooks?: MemberHooks | undefined;
}

export interface ShipperInput {
  readonly writer: LogWriter;
  /** The log's state at the claim. */
  readonly image: ImageState;
  /** The disk holds more than `image`, and did so before any master of this epoch ran. */
  readonly ahead: boolean;
}

/** For tests and the surface; called in the act, must be quick and must not throw. */
interface MemberHooks {
  readonly failover?: (record: FailoverRecord) => void;
  readonly quarantined?: (directory: string) => void;
}

export type MemberEnd =
  /** Told to stop. `unshipped`: the tail could not be made durable in time; it is on the disk and is shipped at the next start. */
  | { readonly reason: "Stopped"; readonly masterExit: MasterExit | undefined; readonly unshipped: boolean }
  /** Told to stop while the master can't be ended. */
  | { readonly reason: "MasterWillNotDie"; readonly masterExit: undefined; readonly unshipped: boolean };

/** What comes after a state. */
export type Next =
  | { readonly to: "Syncing"; readonly reason: string; readonly pauseMs?: number }
  | { readonly to: "Standby"; readonly watch: Watch; readonly reason: string }
  | { readonly to: "Promoting"; readonly watch: Watch; readonly candidacy: Candidacy }
  | { readonly to: "Primary"; readonly term: Term }
  | { readonly to: "Fencing"; readonly reason: string; readonly after: Next }
  | { readonly to: "Halted"; readonly halt: Halt }
  | { readonly to: "End"; readonly end: MemberEnd };

/** What the states share. */
export interface MemberContext {
  readonly settings: MemberSettings;
  readonly components: MemberComponents;
  readonly board: RoleBoard;
  readonly identity: IdentityGuard;
  readonly switchovers: Switchovers;
  /** Aborted: stop gracefully. */
  readonly stop: AbortSignal;
  /** Aborted: stop now. */
  readonly hurry: AbortSignal;
  /** What the states remember of each other. */
  readonly memory: MemberMemory;
}

export interface MemberMemory {
  /** Who wrote the last claim that was seen. */
  lastPrimary: { readonly member: string; readonly epoch: number } | undefined;
  /** This run gave up leadership itself: others come first. */
  gaveUp: boolean;
  /** An epoch that it had claimed could not be begun because the disk took no write. */
  diskRefused: boolean;
  /** Why it does not stand for election, though it follows. */
  abstention: Error | undefined;
  /** What sent this member back to Syncing last, and where. */
  lastResync: { readonly code: string; readonly slot: number } | undefined;
  term: Term | undefined;
  watch: Watch | undefined;
  halt: Halt | undefined;
  /** What is being tried again, for status. */
  trouble: string | undefined;
  failovers: FailoverRecord[];
  masterExit: MasterExit | undefined;
  restarts: number;
  fencedTotal: number;
}

export function stopped(context: MemberContext, unshipped = false): Next {
  return { to: "End", end: { reason: "Stopped", masterExit: context.memory.masterExit, unshipped } };
}

/** Whoever writes in an epoch has claimed it: any entry says who the primary is. */
export function notePrimary(context: MemberContext, member: string, epoch: number): void {
  const { memory, switchovers } = context;
  if (memory.lastPrimary !== undefined && memory.lastPrimary.epoch >= epoch) return;
  memory.lastPrimary = { member, epoch };
  switchovers.claimed(member, epoch);
}

export function noteWriter(context: MemberContext, { header }: ReadEntry): void {
  notePrimary(context, header.writer.member, header.epoch);
}

export function codeOf(error: unknown): string {
  return error instanceof MetaMasterError ? error.code : "Unexpected";
}
