import { Buffers, type Loan } from "../base/buffers.js";
import type { Compression } from "../base/compression.js";
import { MetaMasterError, isKind } from "../base/errors.js";
import { clusterDeleted, END_FORMAT_VERSION, isEnd } from "./end-entry.js";
import { DIGEST_BYTES, digestsOf, MAGIC, PREFIX_BYTES, writePrefix } from "./entry-frame.js";
import { decodeHeader, encodeHeader, HEADER_BYTES_MAX } from "./entry-header.js";
import { ENTRY_BODY_BYTES_MAX, type Digest, type Entry, type EntryHeader, type Operation } from "./entry.js";
import { decodeOperations, encodeOperations } from "./operation-codec.js";

const FORMAT_VERSION = 1;

/** zstd's worst case is a little over its input. */
function compressedBytesMax(bodyBytes: number): number {
  return bodyBytes + Math.ceil(bodyBytes / 128) + 1024;
}

/** No object of a log is larger; what a reader asks of the bucket at most. */
export const ENTRY_OBJECT_BYTES_MAX = objectBytesMax(ENTRY_BODY_BYTES_MAX);

function objectBytesMax(bodyBytes: number): number {
  return PREFIX_BYTES + HEADER_BYTES_MAX + compressedBytesMax(bodyBytes) + DIGEST_BYTES;
}

export interface EncodedEntry extends Loan {
  /** sha256 of `bytes`: the chain digest of its position. */
  readonly chain: Digest;
}

/** What one writer encodes its entries in. */
export class EntryMemory {
  readonly bodies: Buffers;
  readonly objects: Buffers;

  /** Of an entry's body; larger ones get memory of their own. */
  constructor(bodyBytesMax: number = ENTRY_BODY_BYTES_MAX, pooledBytesMin?: number) {
    this.bodies = new Buffers(bodyBytesMax, pooledBytesMin);
    this.objects = new Buffers(objectBytesMax(bodyBytesMax), pooledBytesMin);
  }
}

/** Throws `EntryTooLarge` (invalid) past the limits: a writer's mistake, never sent. */
export async function encodeEntry(
  entry: Entry,
  compression: Compression,
  memory: EntryMemory = new EntryMemory(),
): Promise<EncodedEntry> {
  const header = encodeHeader(entry.header);
  if (header.length > HEADER_BYTES_MAX) throw invalid(`a header of ${header.length} bytes`);
  // What a reader would refuse must never get into a slot: it could not be taken back.
  decodeHeader(header, invalid);
  const operations = encodeOperations(entry.operations);
  if (operations.length > ENTRY_BODY_BYTES_MAX) throw tooLarge(operations.length);
  const body = memory.bodies.take(operations.length);
  const object = memory.objects.take(
    PREFIX_BYTES + header.length + compressedBytesMax(operations.length) + DIGEST_BYTES,
  );
  try {
    operations.copyTo(body.bytes);
    decodeOperations(entry.header.kind, body.bytes, invalid);
    const { bytes, chain } = await frameEntry(header, body.bytes, object.bytes, compression);
    return { bytes, chain, give: object.give };
  } catch (error) {
    object.give();
    throw error;
  } finally {
    body.give();
  }
}

/** Lays the entry out in `object`. */
async function frameEntry(
  header: Uint8Array,
  body: Uint8Array,
  object: Uint8Array,
  compression: Compression,
): Promise<{ readonly bytes: Uint8Array; readonly chain: Digest }> {
  const bodyAt = PREFIX_BYTES + header.length;
  const room = object.subarray(bodyAt, object.length - DIGEST_BYTES);
  const packed = body.length === 0 ? 0 : await compression.compressInto(body, room);
  const end = bodyAt + packed;
  const bytes = Buffer.from(object.buffer, object.byteOffset, end + DIGEST_BYTES);
  writePrefix(bytes, { version: FORMAT_VERSION, header: header.length, body: body.length, packed });
  bytes.set(header, PREFIX_BYTES);
  const { digest, chain } = digestsOf(bytes.subarray(0, end));
  bytes.set(digest, end);
  return { bytes, chain };
}

function tooLarge(bytes: number): MetaMasterError {
  return new MetaMasterError(
    "EntryTooLarge",
    "invalid",
    `The body of an entry would have ${bytes} bytes, allowed are ${ENTRY_BODY_BYTES_MAX}.`,
    { hint: "This is a defect of MetaMaster: report it." },
  );
}

function invalid(reason: string): MetaMasterError {
  return new MetaMasterError("EntryInvalid", "invalid", `An entry can't be written: ${reason}.`, {
    hint: "This is a defect of MetaMaster: report it.",
  });
}

function corrupt(key: string, reason: string, cause?: unknown): MetaMasterError {
  return new MetaMasterError("EntryCorrupt", "corrupt", `${key} is damaged: ${reason}; it was not applied.`, {
    cause,
    details: { key },
    hint: "If it stays so, bring the object back from the bucket's versions, or restore from a snapshot behind it.",
  });
}

interface Frame {
  readonly chain: Digest;
  readonly header: Uint8Array;
  readonly packed: Uint8Array;
  readonly rawBytes: number;
}

function openFrame(bytes: Buffer, key: string): Frame {
  if (bytes.length < PREFIX_BYTES + DIGEST_BYTES) throw corrupt(key, `${bytes.length} bytes are too few for an entry`);
  if (bytes.length > ENTRY_OBJECT_BYTES_MAX)
    throw corrupt(key, `${bytes.length} bytes exceed ${ENTRY_OBJECT_BYTES_MAX}`);
  if (bytes.readUInt32LE(0) !== MAGIC) throw corrupt(key, "it doesn't begin like an entry");
  const version = bytes.readUInt16LE(4);
  const end = bytes.length - DIGEST_BYTES;
  // The digest before the version: a flipped bit in the version must not send anybody to upgrade.
  const { digest, chain } = digestsOf(bytes.subarray(0, end));
  if (!digest.equals(bytes.subarray(end))) throw corrupt(key, "its sha256 doesn't match");
  if (version === END_FORMAT_VERSION && isEnd(bytes)) throw clusterDeleted(key);
  if (version > FORMAT_VERSION) {
    throw new MetaMasterError(
      "FormatTooNew",
      "invalid",
      `${key} has format ${version}, this release reads up to ${FORMAT_VERSION}.`,
      {
        details: { key, version },
        hint: "Upgrade this member to at least the release that wrote it.",
      },
    );
  }
  if (version !== FORMAT_VERSION || bytes.readUInt16LE(6) !== 0) throw corrupt(key, `format ${version} is unknown`);
  const headerBytes = bytes.readUInt32LE(8);
  const rawBytes = bytes.readUInt32LE(12);
  const packedBytes = bytes.readUInt32LE(16);
  if (headerBytes > HEADER_BYTES_MAX) throw corrupt(key, `a header of ${headerBytes} bytes`);
  if (rawBytes > ENTRY_BODY_BYTES_MAX) throw corrupt(key, `a body of ${rawBytes} bytes`);
  if (PREFIX_BYTES + headerBytes + packedBytes !== end) throw corrupt(key, "its lengths don't add up");
  const bodyAt = PREFIX_BYTES + headerBytes;
  return { chain, header: bytes.subarray(PREFIX_BYTES, bodyAt), packed: bytes.subarray(bodyAt, end), rawBytes };
}

async function unpack({ packed, rawBytes }: Frame, compression: Compression, key: string): Promise<Uint8Array> {
  try {
    return await compression.decompress(packed, rawBytes);
  } catch (error) {
    if (!isKind(error, "corrupt")) throw error;
    throw corrupt(key, `its body can't be decompressed (${error.message})`, error);
  }
}

/** The header alone, verified by the entry's sha256. */
export function decodeEntryHeader(bytes: Uint8Array, key: string): EntryHeader {
  const frame = openFrame(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), key);
  return decodeHeader(frame.header, (reason) => corrupt(key, reason));
}

export interface DecodedEntry extends Entry {
  /** sha256 of the object: the chain digest of its position. */
  readonly chain: Digest;
}

/** Verifies the whole object before any operation is visible; `key` names it in errors. Operations' bytes point into the decoded body, never into `bytes`. */
export async function decodeEntry(bytes: Uint8Array, key: string, compression: Compression): Promise<DecodedEntry> {
  const frame = openFrame(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), key);
  const refuse = (reason: string): MetaMasterError => corrupt(key, reason);
  const header = decodeHeader(frame.header, refuse);
  if (frame.rawBytes === 0 && frame.packed.length > 0) throw refuse("an empty body has bytes");
  const body = frame.rawBytes === 0 ? frame.packed : await unpack(frame, compression, key);
  if (body.length !== frame.rawBytes) throw refuse(`its body has ${body.length} bytes instead of ${frame.rawBytes}`);
  const operations: readonly Operation[] = decodeOperations(header.kind, body, refuse);
  return { header, operations, chain: frame.chain };
}
