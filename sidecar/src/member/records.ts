import type { FailoverRecord } from "./failover-record.js";
import type { Halt } from "./halts.js";

/** What the member keeps across restarts, beside the replica's own state. */
export interface MemberRecords {
  /** The halt that a run before this one was in. */
  readHalt(): Promise<Halt | undefined>;
  writeHalt(halt: Halt): Promise<void>;
  clearHalt(): Promise<void>;
  /** Nonces of earlier runs on this data directory, newest first; records this run's. */
  beginRun(nonce: string): Promise<readonly string[]>;
  /** Oldest first. */
  readFailovers(): Promise<readonly FailoverRecord[]>;
  writeFailovers(records: readonly FailoverRecord[]): Promise<void>;
}
