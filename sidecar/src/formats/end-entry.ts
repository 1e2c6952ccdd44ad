import { MetaMasterError } from "../base/errors.js";
import { DIGEST_BYTES, PREFIX_BYTES, digestsOf, writePrefix } from "./entry-frame.js";
import type { Digest } from "./entry.js";

/**
 * The format of the one entry behind which there is nothing: its cluster is being deleted. It is not of format 1, so that a release that does not know it
 * halts (`FormatTooNew`) instead of following it and writing on.
 */
export const END_FORMAT_VERSION = 2;
const KIND = "end";

/** Where it stands, and who put it there. */
export interface EndHeader {
  readonly cluster: string;
  readonly slot: number;
  /** Of the entry before it, or 0 if nothing is known of that. */
  readonly epoch: number;
  readonly previous: Digest;
  readonly by: string;
  readonly wallTimeMs: number;
}

export function encodeEnd({ cluster, slot, epoch, previous, by, wallTimeMs }: EndHeader): {
  readonly bytes: Uint8Array;
  readonly chain: Digest;
} {
  const fields = { version: END_FORMAT_VERSION, cluster, slot, epoch, kind: KIND, previous, by, wallTimeMs };
  const header = Buffer.from(JSON.stringify(fields));
  const end = PREFIX_BYTES + header.length;
  const bytes = Buffer.alloc(end + DIGEST_BYTES);
  writePrefix(bytes, { version: END_FORMAT_VERSION, header: header.length, body: 0, packed: 0 });
  bytes.set(header, PREFIX_BYTES);
  const { digest, chain } = digestsOf(bytes.subarray(0, end));
  bytes.set(digest, end);
  return { bytes, chain };
}

/** `bytes`: an object of that format whose digest is right. False: the format has come to mean more than this release knows. */
export function isEnd(bytes: Buffer): boolean {
  const headerBytes = bytes.readUInt32LE(8);
  if (PREFIX_BYTES + headerBytes + DIGEST_BYTES !== bytes.length) return false;
  try {
    const header: unknown = JSON.parse(bytes.toString("utf8", PREFIX_BYTES, PREFIX_BYTES + headerBytes));
    return typeof header === "object" && header !== null && Reflect.get(header, "kind") === KIND;
  } catch {
    return false;
  }
}

/** Whoever meets the end, or the identity that says the same, goes no further. */
export function clusterDeleted(where: string): MetaMasterError {
  return new MetaMasterError(
    "ClusterDeleted",
    "invalid",
    `${where}: the cluster is being deleted by \`metamaster purge\`, nobody may write to it any more.`,
    {
      hint: "Nothing can be begun below this prefix until the purge is finished: run the same `metamaster purge` once more if it was broken off. A member that is wanted again then starts with an empty data directory.",
    },
  );
}
