import { createHash } from "node:crypto";
import type { Digest } from "./entry.js";

/** "MMLE": MetaMaster log entry. */
export const MAGIC = 0x454c4d4d;
/** magic u32, version u16, reserved u16, header bytes u32, raw body bytes u32, compressed body bytes u32; little-endian. */
export const PREFIX_BYTES = 20;
export const DIGEST_BYTES = 32;

export interface FrameSizes {
  readonly version: number;
  readonly header: number;
  readonly body: number;
  readonly packed: number;
}

export function writePrefix(bytes: Buffer, { version, header, body, packed }: FrameSizes): void {
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt16LE(version, 4);
  bytes.writeUInt16LE(0, 6);
  bytes.writeUInt32LE(header, 8);
  bytes.writeUInt32LE(body, 12);
  bytes.writeUInt32LE(packed, 16);
}

/** Of an entry's bytes without its trailing digest: that digest, and the chain digest of the whole, in one pass. */
export function digestsOf(content: Uint8Array): { readonly digest: Buffer; readonly chain: Digest } {
  const hash = createHash("sha256").update(content);
  const digest = hash.copy().digest();
  return { digest, chain: hash.update(digest).digest("hex") };
}
