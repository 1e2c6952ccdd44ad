import type { ImageState } from "../formats/image.js";
import type { Position, ReadEntry } from "../formats/entry.js";
import type { Appended, Draft, LogWriter } from "../log/log.js";

/** What `reconcile` found on the disk, compared with the log's end, and what it did (architecture section 6, the table). */
export type Reconciled =
  /** No history in the bucket, nothing on the disk: wait to be elected. */
  | { readonly state: "Empty" }
  /**
   * No file in the bucket's history, databases on the disk, `bootstrap: adopt`: the next claim ships them. `image` is the history so far: empty, or with claims of this member
   * that came to nothing.
   */
  | { readonly state: "Adoptable"; readonly image: ImageState }
  /** The disk holds exactly the image at `image.position` (followed, restored, rewound or repaired). */
  | {
      readonly state: "Following";
      readonly image: ImageState;
      readonly how: "Followed" | "Restored" | "Rewound" | "Repaired";
      readonly quarantine?: QuarantineReport;
    }
  /**
   * This member's previous run was the last to claim and the disk is at or ahead of the log: a new claim of ours may ship the tail. `image`
   * is the log's (the shipped) state; the disk is ahead of it. If somebody claims first, reconcile again.
   */
  | { readonly state: "Ahead"; readonly image: ImageState };

export interface QuarantineReport {
  readonly directory: string;
  readonly epoch: number;
  /** The fork: the last own position that is part of history. */
  readonly forkedAt: Position;
  readonly databases: readonly {
    readonly database: string;
    readonly walBytes: number;
    readonly records: number;
    readonly firstSequence: string;
    readonly lastSequence: string;
  }[];
}

/** Keeps the disk equal to the log's image. */
export interface Follower {
  readonly image: ImageState;
  /** Where the log was read to; ahead of `image.position` only while an unfinished group (`more`) is open. */
  readonly seen: Position;
  /**
   * Reads and applies what is there, up to the end: returns the entries in order (those of an open group as well). [] means that nothing new
   * is there. Throws corrupt / `LogGap` / `DiskFull` ...; `TrimmedAway` (conflict): reconcile again from the newest snapshot.
   */
  poll(signal: AbortSignal): Promise<readonly ReadEntry[]>;
  /** Makes the applied state survive a power failure and records it (`state.json`). */
  save(): Promise<void>;
  /**
   * After our own claim was won at `claim`: an unfinished group is void, the disk holds the image exactly, links are gone, OPTIONS point nowhere
   * else, continuity of WALs and MANIFEST is proven (`ImageIncomplete`, corrupt, names the hole). Then a master may open it.
   */
  seal(claim: Position, epoch: number): Promise<ImageState>;
}

export interface ShipStatus {
  readonly durable: Position;
  /** Age of the oldest WAL byte seen on disk that is not yet durable; 0 if none. */
  readonly durableLagSeconds: number;
  readonly durableLagBytes: number;
  readonly spoolBytes: number;
  readonly lastCheckpointSlot: number | undefined;
  readonly lastCheckpointWallMs: number | undefined;
  readonly gaps: number;
  /** Last error of shipping, while it lasts. */
  readonly trouble: string | undefined;
}

export interface Barrier {
  readonly position: Position;
  readonly waitedMs: number;
}

/** Ships the primary's files for one epoch. */
export interface Shipper {
  /**
   * Until it is finished (resolves), the signal aborts or the writer is fenced (rejects). Transient trouble is retried and shown in `status`. If it rejects because it
   * could not begin it may be run again; once begun and ended it rejects with the same error object at once.
   */
  run(signal: AbortSignal): Promise<void>;
  /** All whole WAL records (and binding edits) on the disk at the call are durable. Rejects with the reason, never falls back. */
  barrier(signal: AbortSignal): Promise<Barrier>;
  checkpoint(reason: CheckpointReason, signal: AbortSignal): Promise<Position>;
  /** The master was (re)started: its WAL may be shipped again only after a checkpoint. */
  masterStarting(): void;
  /** The master has ended: ship the tail (and a checkpoint), nothing more may be written by it. Resolves at the last durable position. */
  finish(signal: AbortSignal): Promise<Position>;
  /** An entry that another part of the primary made durable; the shipper's own are of no interest (a trim changes what is garbage). */
  othersDurable(draft: Draft, appended: Appended): void;
  readonly status: ShipStatus;
  readonly writer: LogWriter;
}

export type CheckpointReason = "Start" | "Reopen" | "Interval" | "WalBytes" | "OnDemand" | "Gap" | "Stop";
