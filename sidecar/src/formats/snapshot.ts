import { createHash } from "node:crypto";
import { MetaMasterError } from "../base/errors.js";
import type { ImagePath } from "./entry.js";
import { imagePathFault } from "./image-path.js";
import type { ImageFile, ImageState } from "./image.js";

export const SNAPSHOT_VERSION = 1;
/** Of the object; about a million tables. */
export const SNAPSHOT_BYTES_MAX = 256 * 1024 * 1024;

export interface Snapshot extends ImageState {
  readonly cluster: string;
  readonly wallTimeMs: number;
}

/** JSON with the files in name order; small files in base64. Also the form in which a member keeps its image on disk. */
export function imageToJson(image: ImageState): object {
  const files = [...image.files].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return {
    position: image.position,
    epoch: image.epoch,
    sequences: Object.fromEntries(image.sequences),
    garbage: Object.fromEntries(image.garbage),
    files: files.map(([path, file]) =>
      file.kind === "small" ? { path, ...file, bytes: Buffer.from(file.bytes).toString("base64") } : { path, ...file },
    ),
  };
}

/** Line 1: what it is and the sha256 of the rest; then one JSON document. */
export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
  const body = JSON.stringify({ cluster: snapshot.cluster, wallTimeMs: snapshot.wallTimeMs, ...imageToJson(snapshot) });
  const sha256 = createHash("sha256").update(body).digest("hex");
  return Buffer.from(`${JSON.stringify({ metamaster: "snapshot", version: SNAPSHOT_VERSION, sha256 })}\n${body}\n`);
}

type Raw = Readonly<Record<string, unknown>>;

class Check {
  readonly #fail: (reason: string) => MetaMasterError;

  constructor(fail: (reason: string) => MetaMasterError) {
    this.#fail = fail;
  }

  object(value: unknown, what: string): Raw {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw this.#fail(`${what} is not an object`);
    return Object.fromEntries(Object.entries(value));
  }

  text(value: unknown, what: string, pattern: RegExp): string {
    if (typeof value !== "string" || !pattern.test(value)) throw this.#fail(`${what} is not valid`);
    return value;
  }

  count(value: unknown, what: string, least = 0): number {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least)
      throw this.#fail(`${what} is not a count`);
    return value;
  }

  path(value: unknown): string {
    const path = this.text(value, "files[].path", /^/);
    const fault = imagePathFault(path);
    if (fault !== undefined) throw this.#fail(`the file name ${JSON.stringify(path)} ${fault}`);
    return path;
  }

  file(raw: Raw, path: string): ImageFile {
    const permissions = (): number => this.count(raw["permissions"], `${path}: permissions`);
    const digest = (value: unknown): string => this.text(value, `${path}: sha256`, /^[0-9a-f]{64}$/);
    switch (raw["kind"]) {
      case "append": {
        const file = {
          kind: "append" as const,
          size: this.count(raw["size"], `${path}: size`),
          firstSlot: this.count(raw["firstSlot"], `${path}: firstSlot`),
        };
        if (raw["base"] === undefined) return file;
        const base = this.object(raw["base"], `${path}: base`);
        return {
          ...file,
          base: {
            key: this.text(base["key"], `${path}: base.key`, /^./),
            size: this.count(base["size"], `${path}: base.size`),
            sha256: digest(base["sha256"]),
          },
        };
      }
      case "table":
        return {
          kind: "table",
          size: this.count(raw["size"], `${path}: size`),
          sha256: digest(raw["sha256"]),
          key: this.text(raw["key"], `${path}: key`, /^./),
          permissions: permissions(),
        };
      case "small":
        return {
          kind: "small",
          permissions: permissions(),
          bytes: Buffer.from(this.text(raw["bytes"], `${path}: bytes`, /^[A-Za-z0-9+/]*={0,2}$/), "base64"),
        };
      case "directory":
        return { kind: "directory", permissions: permissions() };
      default:
        throw this.#fail(`${path} is of an unknown kind`);
    }
  }
}

/** The reverse of `imageToJson`, strictly checked; `fail` makes the error. */
export function imageFromJson(value: unknown, fail: (reason: string) => MetaMasterError): ImageState {
  const check = new Check(fail);
  const raw = check.object(value, "the image");
  const position = check.object(raw["position"], "position");
  if (!Array.isArray(raw["files"])) throw fail("files is not a list");
  const files = new Map<ImagePath, ImageFile>();
  for (const item of raw["files"] as unknown[]) {
    const file = check.object(item, "files[]");
    const path = check.path(file["path"]);
    if (files.has(path)) throw fail(`${path} is there twice`);
    files.set(path, check.file(file, path));
  }
  const sequences = Object.entries(check.object(raw["sequences"], "sequences")).map(
    ([name, last]) => [name, check.text(last, `sequences.${name}`, /^[0-9]{1,20}$/)] as const,
  );
  const garbage = Object.entries(check.object(raw["garbage"], "garbage")).map(
    ([key, slot]) => [key, check.count(slot, `garbage.${key}`)] as const,
  );
  return {
    position: {
      slot: check.count(position["slot"], "position.slot", -1),
      chain: check.text(position["chain"], "position.chain", /^([0-9a-f]{64})?$/),
    },
    epoch: check.count(raw["epoch"], "epoch"),
    files,
    sequences: new Map(sequences),
    garbage: new Map(garbage),
  };
}

/** Verifies the whole object before anything of it is used; `key` names it in errors. */
export function decodeSnapshot(bytes: Uint8Array, key: string): Snapshot {
  const fail = (reason: string): MetaMasterError =>
    new MetaMasterError("SnapshotCorrupt", "corrupt", `${key} is damaged: ${reason}; it was not used`, {
      details: { key },
      hint: "An older snapshot and the log after it hold the same data: they are used if they are there.",
    });
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lineEnd = buffer.indexOf(10);
  if (lineEnd < 0 || lineEnd > 1024 || buffer.at(-1) !== 10) throw fail("it doesn't look like a snapshot");
  const check = new Check(fail);
  const head = check.object(parseJson(buffer.subarray(0, lineEnd), fail), "its first line");
  if (head["metamaster"] !== "snapshot") throw fail("it doesn't look like a snapshot");
  const body = buffer.subarray(lineEnd + 1, -1);
  const version = check.count(head["version"], "version", 1);
  if (version > SNAPSHOT_VERSION) {
    throw new MetaMasterError(
      "FormatTooNew",
      "invalid",
      `${key} has format ${version}, this release reads up to ${SNAPSHOT_VERSION}`,
      {
        details: { key, version },
        hint: "Upgrade this member to at least the release that wrote it.",
      },
    );
  }
  if (createHash("sha256").update(body).digest("hex") !== head["sha256"]) throw fail("its sha256 doesn't match");
  const value = parseJson(body, fail);
  const raw = check.object(value, "the snapshot");
  return {
    ...imageFromJson(value, fail),
    cluster: check.text(raw["cluster"], "cluster", /^./),
    wallTimeMs: check.count(raw["wallTimeMs"], "wallTimeMs"),
  };
}

function parseJson(bytes: Uint8Array, fail: (reason: string) => MetaMasterError): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw fail("it is not JSON");
  }
}
