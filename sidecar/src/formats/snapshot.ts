import { sha256Hex } from "../base/sha256.js";
import type { Compression } from "../base/compression.js";
import { MetaMasterError, isKind } from "../base/errors.js";
import { Check, imageFromJson, imageToJson, parseJson } from "./image-json.js";
import type { ImageState } from "./image.js";

export { imageFromJson, imageToJson };

const SNAPSHOT_VERSION = 1;
/** Of the object and of its JSON; about a million tables. */
export const SNAPSHOT_BYTES_MAX = 256 * 1024 * 1024;
/** Up to this size it stays JSON that a person can read; above it is one zstd frame. */
const PLAIN_BYTES_MAX = 64 * 1024;
const HEAD_BYTES_MAX = 1024;
/** "\n", 64 hex digits, "\n". */
const TAIL_BYTES = 66;

export interface Snapshot extends ImageState {
  readonly cluster: string;
  readonly wallTimeMs: number;
}

/** Line 1: what it is. Then one JSON document, plain or as one zstd frame. The last line: sha256 of all bytes before its newline. */
export async function encodeSnapshot(snapshot: Snapshot, compression: Compression): Promise<Uint8Array> {
  const { cluster, wallTimeMs } = snapshot;
  const json = Buffer.from(JSON.stringify({ cluster, wallTimeMs, ...imageToJson(snapshot) }));
  const encoding = json.length <= PLAIN_BYTES_MAX ? "json" : "zstd";
  const head = { metamaster: "snapshot", version: SNAPSHOT_VERSION, encoding, bytes: json.length };
  const body = encoding === "json" ? json : await compression.compress(json);
  const all = Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]);
  if (Math.max(json.length, all.length + TAIL_BYTES) > SNAPSHOT_BYTES_MAX) {
    throw new MetaMasterError(
      "SnapshotTooLarge",
      "invalid",
      `A snapshot of ${snapshot.files.size} files would have ${json.length} bytes, allowed are ${SNAPSHOT_BYTES_MAX}.`,
      { hint: "Replicate fewer companions; RocksDB itself needs far fewer files." },
    );
  }
  return Buffer.concat([all, Buffer.from(`\n${sha256Hex(all)}\n`)]);
}

/** Verifies the whole object before anything of it is used; `key` names it in errors. */
export async function decodeSnapshot(bytes: Uint8Array, key: string, compression: Compression): Promise<Snapshot> {
  const fail = (reason: string, cause?: unknown): MetaMasterError =>
    new MetaMasterError("SnapshotCorrupt", "corrupt", `${key} is damaged: ${reason}; it was not used.`, {
      cause,
      details: { key },
      hint: "An older snapshot and the log after it hold the same data: they are used if they are there.",
    });
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length > SNAPSHOT_BYTES_MAX) throw fail(`it has ${buffer.length} bytes`);
  const lineEnd = buffer.subarray(0, HEAD_BYTES_MAX).indexOf(10);
  const bodyEnd = buffer.length - TAIL_BYTES;
  if (lineEnd < 0 || bodyEnd <= lineEnd) throw fail("it doesn't look like a snapshot");
  const all = buffer.subarray(0, bodyEnd);
  // The digest before the version: a flipped bit in the version must not send anybody to upgrade.
  if (buffer.subarray(bodyEnd).toString("latin1") !== `\n${sha256Hex(all)}\n`) throw fail("its sha256 doesn't match");
  const check = new Check(fail);
  const head = check.object(parseJson(all.subarray(0, lineEnd), "its first line", fail), "its first line");
  if (head["metamaster"] !== "snapshot") throw fail("it doesn't look like a snapshot");
  const version = check.count(head["version"], "version", 1);
  if (version > SNAPSHOT_VERSION) throw tooNew(key, version);
  const length = check.count(head["bytes"], "bytes", 0, SNAPSHOT_BYTES_MAX);
  const encoding = check.text(head["encoding"], "encoding", /^(json|zstd)$/);
  const body = all.subarray(lineEnd + 1);
  const json = encoding === "json" ? body : await unpack(body, length, compression, fail);
  if (json.length !== length) throw fail(`it has ${json.length} bytes of JSON instead of ${length}`);
  const value = parseJson(json, "it", fail);
  const raw = check.object(value, "the snapshot");
  return {
    ...imageFromJson(value, fail),
    cluster: check.text(raw["cluster"], "cluster", /^[\x21-\x7e]{1,253}$/),
    wallTimeMs: check.count(raw["wallTimeMs"], "wallTimeMs"),
  };
}

async function unpack(
  body: Uint8Array,
  length: number,
  compression: Compression,
  fail: (reason: string, cause?: unknown) => MetaMasterError,
): Promise<Uint8Array> {
  try {
    return await compression.decompress(body, length);
  } catch (error) {
    if (!isKind(error, "corrupt")) throw error;
    throw fail(error.message, error);
  }
}

function tooNew(key: string, version: number): MetaMasterError {
  return new MetaMasterError(
    "FormatTooNew",
    "invalid",
    `${key} has format ${version}, this release reads up to ${SNAPSHOT_VERSION}.`,
    { details: { key, version }, hint: "Upgrade this member to at least the release that wrote it." },
  );
}
