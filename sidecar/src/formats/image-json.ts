import type { MetaMasterError } from "../base/errors.js";
import { SMALL_FILE_BYTES_MAX, type ImagePath } from "./entry.js";
import { imagePathFault } from "./image-path.js";
import type { ImageFile, ImageState, PendingTrim } from "./image.js";

type Fail = (reason: string) => MetaMasterError;
type Raw = Readonly<Record<string, unknown>>;

const DIGEST = /^[0-9a-f]{64}$/;
const SEQUENCE = /^(0|[1-9][0-9]{0,19})$/;
const KEY = /^[\x21-\x7e]{1,1024}$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const PERMISSIONS_MAX = 0o7777;
const CLAIMS_MAX = 10_000_000;

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/**
 * JSON with everything in the order of names, small files in base64: equal images give equal text. Also the form in which a member keeps
 * its image on disk.
 */
export function imageToJson(image: ImageState): object {
  const files = [...image.files].toSorted(byName);
  return {
    position: { slot: image.position.slot, chain: image.position.chain },
    epoch: image.epoch,
    claims: image.claims,
    trimmedThrough: image.trimmedThrough,
    trims: image.trims.map(({ slot, throughSlot, keys }) => ({ slot, throughSlot, keys })),
    sequences: [...image.sequences].toSorted(byName),
    garbage: [...image.garbage].toSorted(byName),
    files: files.map(([path, file]) => fileToJson(path, file)),
  };
}

function fileToJson(path: ImagePath, file: ImageFile): object {
  if (file.kind === "append") {
    const { kind, size, firstSlot, base } = file;
    if (base === undefined) return { path, kind, size, firstSlot };
    return { path, kind, size, firstSlot, base: { key: base.key, size: base.size, sha256: base.sha256 } };
  }
  if (file.kind === "table") {
    const { kind, size, sha256, key, permissions } = file;
    return { path, kind, size, sha256, key, permissions };
  }
  if (file.kind === "small") {
    const { kind, permissions, bytes } = file;
    return { path, kind, permissions, bytes: Buffer.from(bytes).toString("base64") };
  }
  return { path, kind: file.kind, permissions: file.permissions };
}

/** The reverse of `imageToJson`, strictly checked (fields it doesn't know apart); `fail` makes the error. */
export function imageFromJson(value: unknown, fail: Fail): ImageState {
  const check = new Check(fail);
  const raw = check.object(value, "the image");
  const position = check.object(raw["position"], "position");
  const slot = check.count(position["slot"], "position.slot", -1);
  const files = new Map<ImagePath, ImageFile>();
  for (const item of check.list(raw["files"], "files")) {
    const file = check.object(item, "files[]");
    const path = check.path(file["path"]);
    if (files.has(path)) throw fail(`${path} is there twice`);
    files.set(path, fileFromJson(file, path, check, slot));
  }
  return {
    position: { slot, chain: check.text(position["chain"], "position.chain", slot < 0 ? /^$/ : DIGEST) },
    epoch: check.count(raw["epoch"], "epoch"),
    files,
    sequences: pairs(raw["sequences"], "sequences", check, (item, what) => check.text(item, what, SEQUENCE)),
    garbage: pairs(raw["garbage"], "garbage", check, (item, what) => check.count(item, what, 0, slot)),
    claims: claimsFromJson(raw["claims"], check, slot),
    trimmedThrough: check.count(raw["trimmedThrough"], "trimmedThrough", -1, slot),
    trims: check.list(raw["trims"], "trims").map((item) => trimFromJson(item, check, slot)),
  };
}

function pairs<V>(
  value: unknown,
  what: string,
  check: Check,
  parse: (item: unknown, what: string) => V,
): Map<string, V> {
  const result = new Map<string, V>();
  for (const item of check.list(value, what)) {
    const [name, second, ...rest] = check.list(item, `${what}[]`);
    if (rest.length > 0) throw check.fail(`${what}[] has more than two items`);
    const key = check.text(name, `${what}[]`, KEY);
    if (result.has(key)) throw check.fail(`${what} has ${key} twice`);
    result.set(key, parse(second, `${what} of ${key}`));
  }
  return result;
}

function claimsFromJson(value: unknown, check: Check, slot: number): number[] {
  const claims = check.list(value, "claims");
  if (claims.length > CLAIMS_MAX) throw check.fail("there are too many claims");
  let before = -1;
  return claims.map((item) => {
    before = check.count(item, "claims[]", before + 1, slot);
    return before;
  });
}

function trimFromJson(value: unknown, check: Check, last: number): PendingTrim {
  const raw = check.object(value, "trims[]");
  return {
    slot: check.count(raw["slot"], "trims[].slot", 0, last),
    throughSlot: check.count(raw["throughSlot"], "trims[].throughSlot", -1, last),
    keys: check.list(raw["keys"], "trims[].keys").map((key) => check.text(key, "trims[].keys", KEY)),
  };
}

function fileFromJson(raw: Raw, path: string, check: Check, last: number): ImageFile {
  const count = (name: string, most?: number): number => check.count(raw[name], `${path}: ${name}`, 0, most);
  const permissions = (): number => count("permissions", PERMISSIONS_MAX);
  switch (raw["kind"]) {
    case "append": {
      // A base made at the position lets the slots begin behind it.
      const file = { kind: "append" as const, size: count("size"), firstSlot: count("firstSlot", last + 1) };
      if (raw["base"] === undefined) return file;
      const base = check.object(raw["base"], `${path}: base`);
      return {
        ...file,
        base: {
          key: check.text(base["key"], `${path}: base.key`, KEY),
          size: check.count(base["size"], `${path}: base.size`, 0, file.size),
          sha256: check.text(base["sha256"], `${path}: base.sha256`, DIGEST),
        },
      };
    }
    case "table":
      return {
        kind: "table",
        size: count("size"),
        sha256: check.text(raw["sha256"], `${path}: sha256`, DIGEST),
        key: check.text(raw["key"], `${path}: key`, KEY),
        permissions: permissions(),
      };
    case "small": {
      const bytes = Buffer.from(check.text(raw["bytes"], `${path}: bytes`, BASE64), "base64");
      if (bytes.length > SMALL_FILE_BYTES_MAX) throw check.fail(`${path} has ${bytes.length} bytes`);
      return { kind: "small", permissions: permissions(), bytes };
    }
    case "directory":
      return { kind: "directory", permissions: permissions() };
    default:
      throw check.fail(`${path} is of an unknown kind`);
  }
}

/** Checks of what JSON.parse gave. */
export class Check {
  readonly fail: Fail;

  constructor(fail: Fail) {
    this.fail = fail;
  }

  object(value: unknown, what: string): Raw {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.fail(`${what} is not an object`);
    }
    return Object.fromEntries(Object.entries(value));
  }

  list(value: unknown, what: string): readonly unknown[] {
    if (!Array.isArray(value)) throw this.fail(`${what} is not a list`);
    return value;
  }

  text(value: unknown, what: string, pattern: RegExp): string {
    if (typeof value !== "string" || !pattern.test(value)) throw this.fail(`${what} is not valid`);
    return value;
  }

  count(value: unknown, what: string, least = 0, most = Number.MAX_SAFE_INTEGER): number {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least || value > most) {
      throw this.fail(`${what} is no whole number from ${least} to ${most}`);
    }
    return value;
  }

  path(value: unknown): string {
    if (typeof value !== "string") throw this.fail("files[].path is not valid");
    const fault = imagePathFault(value);
    if (fault !== undefined) throw this.fail(`the file name ${JSON.stringify(value.slice(0, 200))} ${fault}`);
    return value;
  }
}

export function parseJson(bytes: Uint8Array, what: string, fail: Fail): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw fail(`${what} is not JSON`);
  }
}
