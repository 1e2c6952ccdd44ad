import type { Position } from "../../formats/entry.js";
import type { Gate } from "../../member/master/gate.js";
import type { RoleState } from "../../member/roles.js";
import type { SwitchoverRequest, SwitchoverResult } from "../../member/switchover.js";
import type { Barrier } from "../../replica/replica.js";
import type { StatusDocument } from "./status.js";

/** What the HTTP server shows and calls. */
export interface ServedMember {
  readonly name: string;
  readonly role: RoleState;
  /** Who wrote the last claim seen. */
  readonly primary: { readonly member: string; readonly epoch: number } | undefined;
  /** Of a master in a container of its own. */
  readonly gate: Gate | undefined;
  roleAfter(version: number, signal: AbortSignal): Promise<RoleState>;
  barrier(signal: AbortSignal): Promise<Barrier>;
  checkpoint(signal: AbortSignal): Promise<Position>;
  switchover(request: SwitchoverRequest, signal: AbortSignal): Promise<SwitchoverResult>;
  resume(reason: string): void;
  status(): StatusDocument;
  /** In Prometheus' text format. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
}
