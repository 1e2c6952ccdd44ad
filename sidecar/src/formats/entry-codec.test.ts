import { sha256Hex } from "../base/sha256.js";
import { createHash } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { ZstdCompression } from "../base/zstd-compression.js";
import { ENTRY_OBJECT_BYTES_MAX, decodeEntry, decodeEntryHeader, encodeEntry } from "./entry-codec.js";
import { ENTRY_BODY_BYTES_MAX, SMALL_FILE_BYTES_MAX, type Entry, type EntryHeader, type Operation } from "./entry.js";

const compression = new ZstdCompression();
const digest = "ab".repeat(32);

const header: EntryHeader = {
  version: 1,
  cluster: "c1",
  slot: 7,
  epoch: 3,
  kind: "checkpoint",
  previous: digest,
  writer: { member: "m-1", nonce: "0123456789abcdef0123456789abcdef" },
  wallTimeMs: 1_800_000_000_000,
  more: false,
  sequences: [{ database: "meta", first: "0", last: "18446744073709551615" }],
};

const files: readonly Operation[] = [
  { type: "append", file: "meta/000012.log", offset: 2 ** 40, bytes: Buffer.from("bytes") },
  { type: "append", file: "meta@wal/000013.log", offset: 0, bytes: Buffer.alloc(0) },
  { type: "write", file: "meta/CURRENT", permissions: 0o644, bytes: Buffer.from("MANIFEST-000004\n") },
  { type: "table", file: "meta/000009.sst", permissions: 0o600, size: 123, sha256: digest, key: "tables/3/meta/9-x" },
  { type: "directory", file: "@companions/ck/ü", permissions: 0o755 },
  { type: "remove", file: "meta/000008.sst" },
];

async function encoded(entry: Entry): Promise<Buffer> {
  return Buffer.from((await encodeEntry(entry, compression)).bytes);
}

/** With its trailing sha256 made right again: only the checks behind it can object. */
function resealed(bytes: Buffer): Buffer {
  const body = bytes.subarray(0, -32);
  return Buffer.concat([body, createHash("sha256").update(body).digest()]);
}

function withHeader(bytes: Buffer, json: string): Buffer {
  const length = bytes.readUInt32LE(8);
  const head = Buffer.from(bytes.subarray(0, 20));
  head.writeUInt32LE(Buffer.byteLength(json), 8);
  return resealed(Buffer.concat([head, Buffer.from(json), bytes.subarray(20 + length)]));
}

async function withBody(kind: EntryHeader["kind"], body: Buffer): Promise<Buffer> {
  const bytes = await encoded({ header: { ...header, kind }, operations: [] });
  const packed = await compression.compress(body);
  const head = Buffer.from(bytes.subarray(0, 20));
  head.writeUInt32LE(body.length, 12);
  head.writeUInt32LE(packed.length, 16);
  return resealed(Buffer.concat([head, bytes.subarray(20, -32), packed, Buffer.alloc(32)]));
}

const decode = (bytes: Uint8Array): Promise<Entry> => decodeEntry(bytes, "log/7", compression);
const corrupt = { code: "EntryCorrupt", kind: "corrupt" };

describe("an entry", () => {
  test("comes back as it was, whatever its operations", async () => {
    const entries: Entry[] = [
      { header, operations: files },
      { header: { ...header, kind: "wal", more: true }, operations: files },
      { header: { ...header, kind: "claim", slot: 0, previous: "" }, operations: [] },
      { header: { ...header, kind: "handover" }, operations: [{ type: "handover", to: "m2", untilMs: 5000 }] },
      { header: { ...header, kind: "release" }, operations: [{ type: "handover", to: "", untilMs: 0 }] },
      {
        header: { ...header, kind: "trim" },
        operations: [
          {
            type: "trim",
            fromSlot: 0,
            throughSlot: -1,
            keys: ["tables/1/a/b", "snapshots/1.json"],
            executedThrough: -1,
          },
          { type: "trim", fromSlot: 3, throughSlot: 6, keys: [], executedThrough: 5 },
        ],
      },
    ];
    for (const entry of entries) {
      const { bytes, chain } = await encodeEntry(entry, compression);
      expect(chain).toBe(sha256Hex(bytes));
      expect(await decode(bytes)).toEqual({ ...entry, chain });
      expect(decodeEntryHeader(bytes, "log/7")).toEqual(entry.header);
    }
  });

  test("does not keep the caller's buffers", async () => {
    const mine = Buffer.from("first");
    const operations: Operation[] = [{ type: "append", file: "meta/1.log", offset: 0, bytes: mine }];
    const promise = encodeEntry({ header: { ...header, kind: "wal" }, operations }, compression);
    mine.fill(0);
    const [operation] = (await decode((await promise).bytes)).operations;
    expect(operation?.type === "append" && Buffer.from(operation.bytes).toString()).toBe("first");
  });

  test("with any single bit flipped is refused", async () => {
    const bytes = await encoded({ header, operations: files });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      await expect(decode(flipped)).rejects.toMatchObject(corrupt);
    }
  });

  test("cut off anywhere, or with bytes behind it, is refused", async () => {
    const bytes = await encoded({ header, operations: files });
    for (let length = 0; length < bytes.length; length++) {
      await expect(decode(bytes.subarray(0, length))).rejects.toMatchObject(corrupt);
    }
    await expect(decode(Buffer.concat([bytes, Buffer.alloc(1)]))).rejects.toMatchObject(corrupt);
    await expect(decode(Buffer.alloc(ENTRY_OBJECT_BYTES_MAX + 1))).rejects.toMatchObject(corrupt);
  });

  test.each([
    ["header", 8],
    ["body", 12],
    ["packed body", 16],
  ])("an absurd length of its %s is refused, though its digest is right", async (_what, offset) => {
    const bytes = await encoded({ header, operations: files });
    for (const length of [0xffff_ffff, 0x7fff_ffff, ENTRY_BODY_BYTES_MAX + 1, bytes.readUInt32LE(offset) + 1, 0]) {
      const bad = Buffer.from(bytes);
      bad.writeUInt32LE(length, offset);
      await expect(decode(resealed(bad))).rejects.toMatchObject(corrupt);
    }
  });

  test("a body that grows past what it says is not unpacked further", async () => {
    const bomb = await withBody("wal", Buffer.alloc(ENTRY_BODY_BYTES_MAX));
    bomb.writeUInt32LE(100, 12);
    await expect(decode(resealed(bomb))).rejects.toMatchObject(corrupt);
    // Nor one that is true to its word but past the limit.
    const large = await withBody("wal", Buffer.alloc(ENTRY_BODY_BYTES_MAX + 1));
    await expect(decode(large)).rejects.toThrow(/a body of 8388609 bytes/);
  });

  test("of a newer format says so, but only if its digest is right", async () => {
    const bytes = await encoded({ header, operations: files });
    bytes.writeUInt16LE(2, 4);
    await expect(decode(bytes)).rejects.toMatchObject(corrupt);
    const error = await decode(resealed(bytes)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "FormatTooNew", kind: "invalid", details: { key: "log/7", version: 2 } });
    expect(error).toMatchObject({ hint: expect.stringContaining("Upgrade") });
  });

  test("errors name the object and the reason", async () => {
    await expect(decode(Buffer.from("not an entry".repeat(10)))).rejects.toThrow(/log\/7 is damaged: it doesn't begin/);
  });
});

const broken: readonly (readonly [string, (raw: Record<string, unknown>) => void])[] = [
  ["an unknown field", (raw) => (raw["extra"] = 1)],
  ["a missing field", (raw) => delete raw["epoch"]],
  ["another header version", (raw) => (raw["version"] = 2)],
  ["a negative slot", (raw) => (raw["slot"] = -1)],
  ["a broken slot", (raw) => (raw["slot"] = 1.5)],
  ["a slot as text", (raw) => (raw["slot"] = "7")],
  ["an epoch past 2^53", (raw) => (raw["epoch"] = 2 ** 53)],
  ["an unknown kind", (raw) => (raw["kind"] = "toString")],
  ["an empty cluster", (raw) => (raw["cluster"] = "")],
  ["a long member name", (raw) => (raw["writer"] = { member: "m".repeat(254), nonce: "0".repeat(32) })],
  ["a writer with more", (raw) => (raw["writer"] = { member: "m", nonce: "0".repeat(32), x: 1 })],
  ["a short nonce", (raw) => (raw["writer"] = { member: "m", nonce: "0" })],
  ["no predecessor behind slot 0", (raw) => (raw["previous"] = "")],
  ["a digest in capitals", (raw) => (raw["previous"] = "AB".repeat(32))],
  ["sequences that are none", (raw) => (raw["sequences"] = {})],
  ["a sequence past 2^64", (raw) => (raw["sequences"] = [{ database: "d", first: "0", last: "18446744073709551616" }])],
  ["more on a heartbeat", (raw) => Object.assign(raw, { kind: "heartbeat", more: true })],
  ["more that is no flag", (raw) => (raw["more"] = 0)],
];

test.each(broken)("a header with %s is refused", async (_what, change) => {
  const raw: Record<string, unknown> = { ...header };
  change(raw);
  const bytes = await encoded({ header, operations: [] });
  await expect(decode(withHeader(bytes, JSON.stringify(header)))).resolves.toBeDefined();
  await expect(decode(withHeader(bytes, JSON.stringify(raw)))).rejects.toMatchObject(corrupt);
});

test("a header that is no JSON, no object, or no UTF-8 is refused", async () => {
  const bytes = await encoded({ header, operations: [] });
  for (const json of ["", "null", "[]", "7", "{", '{"version":1}', "\u0000"]) {
    await expect(decode(withHeader(bytes, json))).rejects.toMatchObject(corrupt);
  }
});

/** A body by hand: u8 tag, then fields. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

const u = (size: 1 | 2 | 4, value: number): Buffer => {
  const bytes = Buffer.alloc(size);
  bytes.writeUIntLE(value, 0, size);
  return bytes;
};
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};

const bodies: readonly (readonly [string, EntryHeader["kind"], Buffer])[] = [
  ["an unknown tag", "wal", u(1, 99)],
  ["an append cut off", "wal", Buffer.concat([u(1, 1), text("a/b"), u64(0n), u(4, 10), Buffer.alloc(9)])],
  ["an append of 4 GiB", "wal", Buffer.concat([u(1, 1), text("a/b"), u64(0n), u(4, 0xffff_ffff)])],
  ["an offset past 2^53", "wal", Buffer.concat([u(1, 1), text("a/b"), u64(2n ** 53n), u(4, 0)])],
  ["a path that climbs", "wal", Buffer.concat([u(1, 5), text("a/../../etc/passwd")])],
  ["an absolute path", "wal", Buffer.concat([u(1, 5), text("/etc/passwd")])],
  ["a path into our own folder", "wal", Buffer.concat([u(1, 5), text("@companions/.metamaster/state.json")])],
  ["a path of nothing but a database", "wal", Buffer.concat([u(1, 5), text("a")])],
  ["a path that is no UTF-8", "wal", Buffer.concat([u(1, 5), u(2, 3), Buffer.from([0x61, 0x2f, 0xff])])],
  ["a path of two lines", "wal", Buffer.concat([u(1, 5), text("a/b\nc")])],
  ["setuid and more in the permissions", "wal", Buffer.concat([u(1, 4), text("a/b"), u(2, 0o10000)])],
  [
    "a small file that is large",
    "wal",
    Buffer.concat([
      u(1, 2),
      text("a/b"),
      u(2, 0),
      u(4, SMALL_FILE_BYTES_MAX + 1),
      Buffer.alloc(SMALL_FILE_BYTES_MAX + 1),
    ]),
  ],
  ["file bytes in a heartbeat", "heartbeat", Buffer.concat([u(1, 5), text("a/b")])],
  ["file bytes in a claim", "claim", Buffer.concat([u(1, 5), text("a/b")])],
  ["a handover in a wal", "wal", Buffer.concat([u(1, 6), text(""), u64(0n)])],
  [
    "a trim of a slot's key",
    "trim",
    Buffer.concat([u(1, 7), u64(0n), u64(0n), u64(0n), u(4, 1), text("log/00000000000000000000")]),
  ],
  [
    "a trim of the identity",
    "trim",
    Buffer.concat([u(1, 7), u64(0n), u64(0n), u64(0n), u(4, 1), text("cluster.json")]),
  ],
  ["a trim of a billion keys", "trim", Buffer.concat([u(1, 7), u64(0n), u64(0n), u64(0n), u(4, 1e9)])],
  ["a trim that goes backwards", "trim", Buffer.concat([u(1, 7), u64(5n), u64(4n), u64(0n), u(4, 0)])],
];

test.each(bodies)("a body with %s is refused", async (_what, kind, body) => {
  await expect(decode(await withBody(kind, body))).rejects.toMatchObject(corrupt);
});

test("the same bodies, made right, are read", async () => {
  const good: readonly (readonly [EntryHeader["kind"], Buffer])[] = [
    ["wal", Buffer.concat([u(1, 1), text("a/b"), u64(2n ** 53n - 1n), u(4, 10), Buffer.alloc(10)])],
    ["wal", Buffer.concat([u(1, 5), text("a/b")])],
    ["trim", Buffer.concat([u(1, 7), u64(4n), u64(4n), u64(0n), u(4, 1), text("tables/1/a/b")])],
  ];
  for (const [kind, body] of good) expect((await decode(await withBody(kind, body))).operations).toHaveLength(1);
});

test("random bodies never do anything but throw or decode", async () => {
  let state = 42;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 8;
  for (let round = 0; round < 500; round++) {
    const body = Buffer.from(
      Array.from({ length: 1 + (next() % 60) }, () => (next() % 4 === 0 ? next() % 8 : next() & 255)),
    );
    try {
      await decode(await withBody("wal", body));
    } catch (error) {
      expect(error).toMatchObject(corrupt);
    }
  }
});

describe("what no reader would take is never written", () => {
  const bad: readonly (readonly [string, Entry])[] = [
    ["a path that climbs", { header, operations: [{ type: "remove", file: "a/../b" }] }],
    ["more on a trim", { header: { ...header, kind: "trim", more: true }, operations: [] }],
    [
      "files in a heartbeat",
      { header: { ...header, kind: "heartbeat" }, operations: [{ type: "remove", file: "a/b" }] },
    ],
    ["half a slot", { header: { ...header, slot: 0.5 }, operations: [] }],
    [
      "a doomed slot by key",
      {
        header: { ...header, kind: "trim" },
        operations: [{ type: "trim", fromSlot: 0, throughSlot: 0, keys: ["log/1"], executedThrough: -1 }],
      },
    ],
    [
      "a huge header",
      {
        header: {
          ...header,
          sequences: Array.from({ length: 256 }, () => ({ database: "d".repeat(250), first: "0", last: "0" })),
        },
        operations: [],
      },
    ],
  ];
  test.each(bad)("%s", async (_what, entry) => {
    await expect(encodeEntry(entry, compression)).rejects.toMatchObject({ code: "EntryInvalid", kind: "invalid" });
  });

  test("more bytes than an entry holds", async () => {
    const operations: Operation[] = [
      { type: "append", file: "a/b", offset: 0, bytes: new Uint8Array(ENTRY_BODY_BYTES_MAX) },
    ];
    await expect(encodeEntry({ header, operations }, compression)).rejects.toMatchObject({ code: "EntryTooLarge" });
  });
});
