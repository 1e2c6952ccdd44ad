import type { Position } from "../../formats/entry.js";
import type { FailoverRecord } from "../../member/failover-record.js";
import type { MemberStatus } from "../../member/member.js";
import type { ShipStatus } from "../../replica/replica.js";

export interface StatusFacts {
  readonly cluster: string;
  readonly clusterUid: string | undefined;
  /** What keeps calls to the bucket from succeeding. */
  readonly bucketTrouble: string | undefined;
  readonly bucket: string;
  readonly version: string;
  readonly pid: number;
  /** When the process began, before it had loaded anything. */
  readonly startedWallMs: number;
}

/** `GET /v1/status`, also what `metamaster status --output json` prints. Fields are only ever added. */
export interface StatusDocument {
  readonly cluster: string;
  readonly clusterUid: string | undefined;
  readonly member: string;
  readonly role: string;
  readonly roleVersion: number;
  readonly reason: string;
  /** Of the last claim seen; 0: none. */
  readonly epoch: number;
  readonly writable: boolean;
  /** ISO time. */
  readonly since: string;
  readonly primary: string | undefined;
  readonly position: Position | undefined;
  readonly ship: ShipStatus | undefined;
  readonly halt: MemberStatus["halt"];
  readonly trouble: string | undefined;
  /** What keeps calls to the bucket from succeeding. */
  readonly bucketTrouble: string | undefined;
  readonly lastFailover: FailoverRecord | undefined;
  readonly failovers: readonly FailoverRecord[];
  readonly masterRunning: boolean;
  readonly masterRestarts: number;
  readonly fencedTotal: number;
  readonly history: readonly { readonly role: string; readonly reason: string; readonly since: string }[];
  readonly bucket: string;
  readonly version: string;
  readonly pid: number;
  readonly started: string;
}

export function statusDocument(status: MemberStatus, facts: StatusFacts): StatusDocument {
  const { role, primary, failovers } = status;
  return {
    cluster: facts.cluster,
    clusterUid: facts.clusterUid,
    member: status.member,
    role: role.role,
    roleVersion: role.version,
    reason: role.reason,
    epoch: role.epoch ?? primary?.epoch ?? 0,
    writable: role.writable,
    since: iso(role.sinceWallMs),
    primary: primary?.member,
    position: status.position,
    ship: status.ship,
    halt: status.halt,
    trouble: status.trouble ?? status.ship?.trouble,
    bucketTrouble: facts.bucketTrouble,
    lastFailover: failovers.at(-1),
    failovers,
    masterRunning: status.masterRunning,
    masterRestarts: status.restarts,
    fencedTotal: status.fencedTotal,
    history: status.history.map((each) => ({ role: each.role, reason: each.reason, since: iso(each.sinceWallMs) })),
    bucket: facts.bucket,
    version: facts.version,
    pid: facts.pid,
    started: iso(facts.startedWallMs),
  };
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
