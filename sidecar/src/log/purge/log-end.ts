import { sha256Hex } from "../../base/sha256.js";
import { MetaMasterError, hasCode, isKind } from "../../base/errors.js";
import type { Bucket } from "../../bucket/bucket.js";
import { ENTRY_OBJECT_BYTES_MAX, decodeEntryHeader } from "../../formats/entry-codec.js";
import { logKey, type Digest, type EntryHeader } from "../../formats/entry.js";

/** The newest entry of a log, whatever it is. */
export interface LogEnd {
  /** -1: there is none. */
  readonly slot: number;
  /** Of the object's bytes; "" without one. */
  readonly chain: Digest;
  /** Undefined: there is none, it is damaged, or it is the end that a purge put there. */
  readonly header: EntryHeader | undefined;
  /** A purge has put the end of everything here: nobody writes behind it. */
  readonly fenced: boolean;
}

/** Of a log without entries. */
export const NO_END: LogEnd = { slot: -1, chain: "", header: undefined, fenced: false };

/** Throws `ForeignCluster` and `FormatTooNew` (invalid). A damaged entry is no reason to keep the rest: what it was is not known. */
export async function readEntryAt(bucket: Bucket, slot: number, uid: string, signal: AbortSignal): Promise<LogEnd> {
  const key = logKey(slot);
  const bytes = await bytesOf(bucket, key, signal);
  const chain = sha256Hex(bytes);
  try {
    const header = decodeEntryHeader(bytes, key);
    if (header.cluster === uid) return { slot, chain, header, fenced: false };
    throw new MetaMasterError(
      "ForeignCluster",
      "invalid",
      `${key} in ${bucket.url} belongs to the cluster ${header.cluster}, the prefix to ${uid}. Nothing was deleted.`,
      {
        details: { key, found: header.cluster, expected: uid },
        hint: "Two clusters wrote below one prefix, or objects were copied between prefixes: look which is wanted, and delete by hand.",
      },
    );
  } catch (error) {
    if (hasCode(error, "ClusterDeleted")) return { slot, chain, header: undefined, fenced: true };
    if (!isKind(error, "corrupt")) throw error;
    return { slot, chain, header: undefined, fenced: false };
  }
}

async function bytesOf(bucket: Bucket, key: string, signal: AbortSignal): Promise<Uint8Array> {
  try {
    return (await bucket.get(key, { maxBytes: ENTRY_OBJECT_BYTES_MAX, signal })) ?? new Uint8Array();
  } catch (error) {
    if (!hasCode(error, "ObjectTooLarge")) throw error;
    return new Uint8Array();
  }
}
