import { describe, expect, test } from "@jest/globals";
import { buildBatch } from "./testing/batch-builder.js";
import { ByteWriter } from "./testing/bytes.js";
import { Seeded } from "./testing/seeded.js";
import { walkBatch, type BatchRecord } from "./write-batch.js";

function raw(count: number, ...records: Uint8Array[]): Uint8Array {
  return Buffer.concat([new ByteWriter().fixed64(7n).fixed32(count).done(), ...records]);
}

function record(tag: number, ...strings: string[]): Uint8Array {
  const out = new ByteWriter().byte(tag);
  for (const each of strings) out.prefixed(each);
  return out.done();
}

function body(count: number): string[] {
  return Array.from({ length: count }, () => "s");
}

function familyRecord(tag: number, family: number, ...strings: string[]): Uint8Array {
  const out = new ByteWriter().byte(tag).varint(family);
  for (const each of strings) out.prefixed(each);
  return out.done();
}

test("counts operations by family, and passes every record on", () => {
  const seen: BatchRecord[] = [];
  const batch = buildBatch(99n, [
    { type: "put", key: "a", value: "1" },
    { type: "delete", key: "b", columnFamily: 300 },
    { type: "logData", value: "x" },
    { type: "noop" },
    { type: "deleteRange", key: "c", value: "d", columnFamily: 2 },
  ]);
  const summary = walkBatch(batch, "here", (each) => seen.push(each));
  expect([summary.sequence, summary.count, summary.sequencesUsed]).toEqual([99n, 3, 3]);
  expect([...summary.columnFamilies]).toEqual([
    [0, 1],
    [300, 1],
    [2, 1],
  ]);
  expect(
    seen.map(({ kind, columnFamily, strings }) => [
      kind,
      columnFamily,
      ...strings.map((each) => Buffer.from(each).toString()),
    ]),
  ).toEqual([
    ["put", 0, "a", "1"],
    ["delete", 300, "b"],
    ["logData", 0, "x"],
    ["noop", 0],
    ["deleteRange", 2, "c", "d"],
  ]);
});

test("knows every tag of db/dbformat.h", () => {
  const plain = [
    [0, 1],
    [1, 2],
    [2, 2],
    [7, 1],
    [0x0f, 2],
    [0x11, 2],
    [0x16, 2],
    [0x18, 2],
  ] as const;
  const family = [
    [4, 1],
    [5, 2],
    [6, 2],
    [8, 1],
    [0x0e, 2],
    [0x10, 2],
    [0x17, 2],
    [0x19, 2],
  ] as const;
  const records = [
    ...plain.map(([tag, count]) => record(tag, ...body(count))),
    ...family.map(([tag, count]) => familyRecord(tag, 3, ...body(count))),
    record(3, "s"),
    record(0x0d),
    record(9),
    record(0x0a, "x"),
    record(0x12),
    record(0x0a, "x"),
    record(0x13),
    record(0x0a, "x"),
    record(0x0b, "x"),
    record(0x0c, "x"),
    record(0x15, "t", "x"),
  ];
  expect(walkBatch(raw(16, ...records), "here").count).toBe(16);
});

describe("two-phase commit", () => {
  const put = record(1, "k", "v");

  test("a prepare uses no sequence, a commit as many as only memory knows", () => {
    expect(walkBatch(raw(2, record(9), put, put, record(0x0a, "x")), "here").sequencesUsed).toBe(0);
    expect(walkBatch(raw(3, record(9), put, put, record(0x0a, "x"), put), "here").sequencesUsed).toBe(1);
    expect(walkBatch(raw(0, record(0x0b, "x")), "here").sequencesUsed).toBeUndefined();
    expect(walkBatch(raw(1, record(0x12), put, record(0x0a, "x")), "here").sequencesUsed).toBe(1);
  });

  test.each([
    ["an end without a beginning", [record(0x0a, "x")]],
    ["a beginning inside another", [record(9), record(9)]],
  ])("refuses %s", (_name, records) => {
    expect(() => walkBatch(raw(0, ...records), "here")).toThrow(expect.objectContaining({ code: "WriteBatchCorrupt" }));
  });
});

test.each([
  ["shorter than its header", new Uint8Array(11), "WriteBatchCorrupt"],
  ["with fewer operations than announced", raw(2, record(1, "k", "v")), "WriteBatchCorrupt"],
  ["with more operations than announced", raw(0, record(1, "k", "v")), "WriteBatchCorrupt"],
  ["cut in a value", raw(1, record(1, "k", "value").subarray(0, -1)), "WriteBatchCorrupt"],
  ["cut in a family", raw(1, Uint8Array.of(5, 0x80)), "WriteBatchCorrupt"],
  ["with an unknown tag", raw(0, Uint8Array.of(0x40)), "WriteBatchUnsupported"],
  ["with a tag of memtables only", raw(0, Uint8Array.of(0x14)), "WriteBatchUnsupported"],
])("refuses a batch %s", (_name, payload, code) => {
  expect(() => walkBatch(payload, "db/000004.log, offset 9")).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining("db/000004.log, offset 9") as unknown }),
  );
});

test("is never a crash, whatever the bytes", () => {
  const random = new Seeded(5);
  const good = buildBatch(1n, [
    { type: "put", key: "key", value: "value" },
    { type: "merge", key: "k", value: "v", columnFamily: 9 },
  ]);
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from(good);
    bytes[random.below(bytes.length)] = random.below(256);
    try {
      walkBatch(bytes.subarray(0, random.below(bytes.length + 1)), "here");
    } catch (error) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^WriteBatch(Corrupt|Unsupported)$/) as unknown });
    }
  }
});
