import { createHash } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../base/errors.js";
import { ZstdCompression } from "../base/zstd-compression.js";
import { EMPTY_IMAGE, type ImageFile } from "./image.js";
import { decodeSnapshot, encodeSnapshot, imageFromJson, imageToJson, type Snapshot } from "./snapshot.js";

const compression = new ZstdCompression();
const digest = "ef".repeat(32);
const corrupt = { code: "SnapshotCorrupt", kind: "corrupt" };

const snapshot: Snapshot = {
  cluster: "c1",
  wallTimeMs: 1_800_000_000_000,
  position: { slot: 41, chain: digest },
  epoch: 2,
  files: new Map<string, ImageFile>([
    ["meta/000012.log", { kind: "append", size: 100, firstSlot: 30 }],
    [
      "meta/MANIFEST-000004",
      { kind: "append", size: 50, firstSlot: 42, base: { key: "tables/2/meta/M-x", size: 50, sha256: digest } },
    ],
    ["meta/000009.sst", { kind: "table", size: 1, sha256: digest, key: "tables/1/meta/9-x", permissions: 0o644 }],
    ["meta/CURRENT", { kind: "small", permissions: 0o644, bytes: Buffer.from("MANIFEST-000004\n") }],
    ["@companions/empty", { kind: "small", permissions: 0o600, bytes: Buffer.alloc(0) }],
    ["@companions/ck", { kind: "directory", permissions: 0o755 }],
  ]),
  sequences: new Map([["meta", "18446744073709551615"]]),
  garbage: new Map([["tables/1/meta/8-x", 40]]),
  claims: [0, 17],
  trimmedThrough: 9,
  trims: [{ slot: 12, throughSlot: 9, keys: ["tables/1/meta/7-x", "snapshots/1.json"] }],
};

const decode = (bytes: Uint8Array): Promise<Snapshot> => decodeSnapshot(bytes, "snapshots/41.json", compression);

/** Many files: more than 64 KiB of JSON. */
function large(): Snapshot {
  const files = new Map(snapshot.files);
  for (let number = 100; number < 1100; number++) {
    files.set(`meta/${number}.sst`, {
      kind: "table",
      size: number,
      sha256: digest,
      key: `tables/1/meta/${number}`,
      permissions: 0,
    });
  }
  return { ...snapshot, files };
}

function resealed(head: string, body: Uint8Array): Buffer {
  const all = Buffer.concat([Buffer.from(`${head}\n`), body]);
  return Buffer.concat([all, Buffer.from(`\n${createHash("sha256").update(all).digest("hex")}\n`)]);
}

function withJson(change: (raw: Record<string, unknown>) => void): Buffer {
  const raw: Record<string, unknown> = { cluster: "c1", wallTimeMs: 1, ...imageToJson(snapshot) };
  change(raw);
  const body = Buffer.from(JSON.stringify(raw));
  return resealed(JSON.stringify({ metamaster: "snapshot", version: 1, encoding: "json", bytes: body.length }), body);
}

describe("a snapshot", () => {
  test("comes back as it was, small or large", async () => {
    const small = await encodeSnapshot(snapshot, compression);
    expect(await decode(small)).toEqual({ ...snapshot, files: new Map(snapshot.files) });
    expect(Buffer.from(small).toString()).toContain('"encoding":"json"');
    const packed = await encodeSnapshot(large(), compression);
    expect(Buffer.from(packed).subarray(0, 200).toString("latin1")).toContain('"encoding":"zstd"');
    expect(packed.length).toBeLessThan(64 * 1024);
    expect(await decode(packed)).toEqual(large());
    const none = { ...EMPTY_IMAGE, cluster: "c", wallTimeMs: 0 };
    expect(await decode(await encodeSnapshot(none, compression))).toEqual(none);
  });

  test("equal images give equal bytes, whatever the order they were made in", async () => {
    const turned = { ...snapshot, files: new Map([...snapshot.files].toReversed()) };
    expect(await encodeSnapshot(turned, compression)).toEqual(await encodeSnapshot(snapshot, compression));
  });

  test("with any single bit flipped, cut off anywhere or with more behind it is refused", async () => {
    for (const bytes of [await encodeSnapshot(snapshot, compression), await encodeSnapshot(large(), compression)]) {
      for (let bit = 0; bit < bytes.length * 8; bit += bytes.length > 4000 ? 37 : 1) {
        const flipped = Buffer.from(bytes);
        flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        await expect(decode(flipped)).rejects.toMatchObject(corrupt);
      }
      for (let length = 0; length < bytes.length; length += 13) {
        await expect(decode(bytes.subarray(0, length))).rejects.toMatchObject(corrupt);
      }
      await expect(decode(Buffer.concat([bytes, Buffer.from("\n")]))).rejects.toMatchObject(corrupt);
    }
  });

  test("of a newer format says so", async () => {
    const bytes = resealed('{"metamaster":"snapshot","version":2}', Buffer.from("who knows"));
    await expect(decode(bytes)).rejects.toMatchObject({ code: "FormatTooNew", kind: "invalid" });
  });

  test("a frame that grows past what it says is refused", async () => {
    const body = await compression.compress(Buffer.alloc(1_000_000, 32));
    const head = JSON.stringify({ metamaster: "snapshot", version: 1, encoding: "zstd", bytes: 1000 });
    await expect(decode(resealed(head, body))).rejects.toMatchObject(corrupt);
  });
});

type Change = (raw: Record<string, unknown>) => unknown;
const file =
  (fields: object): Change =>
  (raw) =>
    (raw["files"] = [{ path: "meta/1", ...fields }]);

const broken: readonly (readonly [string, Change])[] = [
  ["files that are no list", (raw) => (raw["files"] = {})],
  ["a file twice", (raw) => (raw["files"] = [...(raw["files"] as object[]), ...(raw["files"] as object[])])],
  ["a file of an unknown kind", file({ kind: "link" })],
  ["a path that climbs", (raw) => (raw["files"] = [{ path: "a/../b", kind: "directory", permissions: 0 }])],
  ["a size below nothing", file({ kind: "append", size: -1, firstSlot: 0 })],
  ["a first slot behind the position", file({ kind: "append", size: 1, firstSlot: 43 })],
  [
    "a base larger than its file",
    file({ kind: "append", size: 1, firstSlot: 0, base: { key: "k", size: 2, sha256: digest } }),
  ],
  ["a base without a digest", file({ kind: "append", size: 1, firstSlot: 0, base: { key: "k", size: 1 } })],
  ["a table without a key", file({ kind: "table", size: 1, sha256: digest, key: "", permissions: 0 })],
  ["a key of two lines", file({ kind: "table", size: 1, sha256: digest, key: "a\nb", permissions: 0 })],
  ["odd permissions", file({ kind: "directory", permissions: 0o10000 })],
  ["bytes that are no base64", file({ kind: "small", permissions: 0, bytes: "a" })],
  ["a large small file", file({ kind: "small", permissions: 0, bytes: Buffer.alloc(262_145).toString("base64") })],
  ["a position without a chain", (raw) => (raw["position"] = { slot: 4, chain: "" })],
  ["a chain before the first entry", (raw) => (raw["position"] = { slot: -1, chain: digest })],
  ["claims out of order", (raw) => (raw["claims"] = [3, 3])],
  ["a claim behind the position", (raw) => (raw["claims"] = [42])],
  ["trims that are none", (raw) => (raw["trims"] = [null])],
  ["a sequence past all", (raw) => (raw["sequences"] = [["a", "100000000000000000000"]])],
  [
    "a sequence twice",
    (raw) =>
      (raw["sequences"] = [
        ["a", "1"],
        ["a", "1"],
      ]),
  ],
  ["garbage without a slot", (raw) => (raw["garbage"] = [["k"]])],
  ["an empty cluster", (raw) => (raw["cluster"] = "")],
  ["a time that is none", (raw) => (raw["wallTimeMs"] = "now")],
  ["an epoch that is none", (raw) => (raw["epoch"] = null)],
];

test.each(broken)("a snapshot with %s is refused, though its digest is right", async (_what, change) => {
  await expect(decode(withJson(() => undefined))).resolves.toBeDefined();
  await expect(decode(withJson((raw) => void change(raw)))).rejects.toMatchObject(corrupt);
});

test("names that mean something to JavaScript are names like others", () => {
  const image = {
    ...EMPTY_IMAGE,
    sequences: new Map([
      ["__proto__", "1"],
      ["constructor", "2"],
    ]),
  };
  const text: unknown = JSON.parse(JSON.stringify(imageToJson(image)));
  expect(imageFromJson(text, (reason) => new MetaMasterError("X", "corrupt", reason))).toEqual(image);
});
