import type { Clock } from "../../base/clock.js";
import type { FileSystem } from "../../base/file-system.js";
import type { Logger } from "../../base/log.js";
import type { Random } from "../../base/random.js";
import type { Bucket } from "../../bucket/bucket.js";
import type { ImageState } from "../../formats/image.js";
import type { LogWriter } from "../../log/log.js";
import type { Layout } from "../layout.js";
import type { Progress } from "../progress.js";
import type { CheckpointReason } from "../replica.js";

/** What a user can set about shipping; plain data, validated at the edge. */
export interface ShipSettings {
  readonly layout: Layout;
  readonly wal: {
    /** A WAL byte waits at most this long before it is sent (the way of the put itself comes on top). */
    readonly maxDelayMs: number;
    /** Past this, files that only our links keep alive are let go; the next checkpoint heals. */
    readonly maxSpoolBytes: number;
  };
  readonly checkpoint: {
    readonly intervalMs: number;
    /** A checkpoint is due once this much WAL was shipped since the last one. */
    readonly walBytes: number;
  };
  /** Tables uploaded at a time. */
  readonly transfer: { readonly parallel: number };
  /** Body of an entry before compression; at most ENTRY_BODY_BYTES_MAX. */
  readonly entryBodyBytesMax: number;
  /** A WAL or MANIFEST whose first slot lies further back than this many slots is stored whole at the next snapshot, so that the log can be trimmed. */
  readonly baseAfterSlots: number;
  /** The same once a restore would read so many bytes of the log for it, and several times what it holds. */
  readonly baseAfterBytes: number;
}

export const shipDefaults: Omit<ShipSettings, "layout"> = {
  wal: { maxDelayMs: 500, maxSpoolBytes: 8 * 1024 ** 3 },
  checkpoint: { intervalMs: 300_000, walBytes: 256 * 1024 ** 2 },
  transfer: { parallel: 4 },
  entryBodyBytesMax: 8 * 1024 ** 2,
  baseAfterSlots: 4096,
  baseAfterBytes: 16 * 1024 ** 2,
};

/** What the surface counts; every method returns at once. */
export interface ShipMetrics {
  walShipped(database: string, bytes: number): void;
  tableUploaded(bytes: number, reused: boolean): void;
  checkpointed(reason: CheckpointReason, tookMs: number): void;
  barrierServed(waitedMs: number): void;
  gapFound(database: string): void;
}

export const noMetrics: ShipMetrics = {
  walShipped: () => undefined,
  tableUploaded: () => undefined,
  checkpointed: () => undefined,
  barrierServed: () => undefined,
  gapFound: () => undefined,
};

/** Where snapshots go (log/snapshots). */
export interface SnapshotStore {
  put(image: ImageState, signal: AbortSignal): Promise<void>;
}

/** What every part of shipping is given. */
export interface ShipTools {
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly bucket: Bucket;
  readonly writer: LogWriter;
  readonly logger: Logger;
  readonly progress: Progress;
  readonly metrics: ShipMetrics;
}

export interface ShipComponents extends ShipTools {
  /** The state of the log at this epoch's claim. */
  readonly image: ImageState;
  readonly snapshots: SnapshotStore;
}
