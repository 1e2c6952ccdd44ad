import type { Digest, ImagePath, Position } from "./entry.js";

/** One file of an image: the state of all databases at a position, a pure fold over the log's operations. */
export type ImageFile =
  /**
   * A WAL or MANIFEST. Its bytes: the object `base` if there is one (its first `base.size` bytes), then the append operations of the
   * slots from `firstSlot` on. Of slots older than a snapshot's, only the operations for such files are read.
   */
  | {
      readonly kind: "append";
      readonly size: number;
      readonly firstSlot: number;
      readonly base?: { readonly key: string; readonly size: number; readonly sha256: Digest };
    }
  | {
      readonly kind: "table";
      readonly size: number;
      readonly sha256: Digest;
      readonly key: string;
      readonly permissions: number;
    }
  /** `bytes` in base64 in JSON. */
  | { readonly kind: "small"; readonly permissions: number; readonly bytes: Uint8Array }
  | { readonly kind: "directory"; readonly permissions: number };

export interface ImageState {
  readonly position: Position;
  readonly epoch: number;
  readonly files: ReadonlyMap<ImagePath, ImageFile>;
  /** Last WAL sequence shipped, per database, decimal. */
  readonly sequences: ReadonlyMap<string, string>;
  /** Object keys that no file refers to any more, with the slot that dropped the last reference; until a `trim` dooms them. */
  readonly garbage: ReadonlyMap<string, number>;
  /** Slots of all claims, ascending: they are never deleted. */
  readonly claims: readonly number[];
  /** Every slot up to this one, claims apart, is doomed or deleted; -1: none. */
  readonly trimmedThrough: number;
  /** Trims that are not known to be carried out, ascending by slot. What they name is never referred to again. */
  readonly trims: readonly PendingTrim[];
}

export interface PendingTrim {
  /** Of the `trim` entry. */
  readonly slot: number;
  readonly throughSlot: number;
  readonly keys: readonly string[];
}

export const EMPTY_IMAGE: ImageState = {
  position: { slot: -1, chain: "" },
  epoch: 0,
  files: new Map(),
  sequences: new Map(),
  garbage: new Map(),
  claims: [],
  trimmedThrough: -1,
  trims: [],
};
