import { expect, test } from "@jest/globals";
import { classify } from "./classify-edit.js";
import { ManifestState } from "./manifest-state.js";
import { SequenceCoverage } from "./sequence-coverage.js";
import { ByteWriter } from "./testing/bytes.js";
import { encodeEdit, type EditSpec, type TableSpec } from "./testing/manifest-writer.js";
import { decodeVersionEdit } from "./version-edit.js";

function table(number: number, first: number, last: number, epoch?: number): TableSpec {
  const range = { smallestSequence: BigInt(first), largestSequence: BigInt(last) };
  return { number, ...range, ...(epoch === undefined ? {} : { epoch }) };
}

function unit(...edits: EditSpec[]): Parameters<typeof classify>[0] {
  return { edits: edits.map((edit) => decodeVersionEdit(encodeEdit(edit), "test")), start: 0, end: 1 };
}

const state = new ManifestState("test");
state.apply(unit({ columnFamily: 1, addedColumnFamily: "one", logNumber: 4 }));
state.apply(unit({ logNumber: 5, addedTables: [table(10, 100, 200, 3), table(11, 201, 300, 4)] }));
const coverage = new SequenceCoverage();
coverage.add(301n, 400n);
coverage.add(402n, 500n);

function kindOf(...edits: EditSpec[]): string {
  const result = classify(unit(...edits), { state, walCovers: (first, last) => coverage.covers(first, last) });
  return result.kind === "binding" ? `binding: ${result.reason}` : result.kind;
}

const deleted = (number: number): { level: number; number: number } => ({ level: 0, number });

test.each<[string, EditSpec[]]>([
  [
    "a flush of rows that are all in WALs",
    [{ logNumber: 8, previousLogNumber: 0, addedTables: [table(12, 310, 390)] }],
  ],
  [
    "an atomic flush",
    [
      { logNumber: 8, addedTables: [table(12, 310, 390)], remainingInGroup: 1 },
      { columnFamily: 1, logNumber: 8, addedTables: [table(13, 402, 500)], remainingInGroup: 0 },
    ],
  ],
  [
    "a flush with a blob file",
    [
      {
        logNumber: 8,
        addedTables: [{ ...table(12, 310, 390), oldestBlobFile: 14 }],
        addedBlobs: [{ number: 14, blobs: 1, bytes: 1 }],
      },
    ],
  ],
  ["a flush of nothing", [{ logNumber: 8, minLogNumberToKeep: 8 }]],
  ["a compaction", [{ deletedTables: [deleted(10), deleted(11)], addedTables: [table(12, 100, 300, 3)] }]],
  [
    "a compaction to the last level, sequences zeroed",
    [{ deletedTables: [deleted(10)], addedTables: [table(12, 0, 0, 3)] }],
  ],
  [
    "a compaction of a release without epoch numbers",
    [{ deletedTables: [deleted(11)], addedTables: [table(12, 250, 260)] }],
  ],
  [
    "a file that changes level",
    [{ deletedTables: [deleted(11)], addedTables: [{ ...table(11, 201, 300, 4), level: 3 }] }],
  ],
  ["counters", [{ nextFileNumber: 40, lastSequence: 500n }]],
  ["WALs added and deleted", [{ raw: new ByteWriter().varint(8200).prefixed(Uint8Array.of(9)).done() }]],
])("%s may wait", (_name, edits) => {
  expect(kindOf(...edits)).toBe("deferrable");
});

test.each<[string, EditSpec[], string]>([
  [
    "a flush with a row outside the WALs in the middle",
    [{ logNumber: 8, addedTables: [table(12, 390, 410)] }],
    "not all in WALs",
  ],
  ["a flush of rows outside the WALs", [{ logNumber: 8, addedTables: [table(12, 501, 510)] }], "not all in WALs"],
  ["a flush that moves no log number", [{ logNumber: 5, addedTables: [table(12, 310, 390)] }], "moves no log number"],
  [
    "a flush of one family that is not covered in an atomic group",
    [
      { logNumber: 8, addedTables: [table(12, 310, 390)], remainingInGroup: 1 },
      { columnFamily: 1, logNumber: 8, addedTables: [table(13, 401, 401)], remainingInGroup: 0 },
    ],
    "table 13",
  ],
  ["an ingestion", [{ addedTables: [table(12, 301, 301)] }], "ingestion or import"],
  ["an ingestion with sequence 0", [{ addedTables: [table(12, 0, 0)] }], "ingestion or import"],
  [
    "an ingestion that replaces, with a new sequence",
    [{ deletedTables: [deleted(10)], addedTables: [table(12, 301, 301, 5)] }],
    "does not come from",
  ],
  [
    "an ingestion that replaces, with sequence 0 and a new epoch",
    [{ deletedTables: [deleted(11)], addedTables: [table(12, 0, 0, 5)] }],
    "does not come from",
  ],
  ["tables deleted without any added", [{ deletedTables: [deleted(10)] }], "deleted without any added"],
  [
    "the deletion of what isn't live",
    [{ deletedTables: [deleted(99)], addedTables: [table(12, 100, 100, 1)] }],
    "isn't live",
  ],
  ["a family added", [{ columnFamily: 2, addedColumnFamily: "two" }], "column family two is added"],
  ["a family dropped", [{ columnFamily: 1, droppedColumnFamily: true }], "column family 1 is dropped"],
  ["an edit of an unknown family", [{ columnFamily: 7, logNumber: 9 }], "unknown column family 7"],
  ["an unknown ignorable tag", [{ raw: new ByteWriter().varint(8300).prefixed("x").done() }], "unknown tags 8300"],
  ["a low timestamp", [{ raw: new ByteWriter().varint(8198).prefixed("12345678").done() }], "low timestamp"],
  ["a previous log number", [{ previousLogNumber: 3 }], "previous log number"],
])("%s is binding", (_name, edits, reason) => {
  expect(kindOf(...edits)).toMatch(/^binding: /);
  expect(kindOf(...edits)).toContain(reason);
});

test("a database without a WAL has no edit with tables that may wait", () => {
  const context = { state, walCovers: () => false };
  expect(classify(unit({ logNumber: 8, addedTables: [table(12, 310, 390)] }), context).kind).toBe("binding");
});

test("coverage joins ranges in any order, and knows holes", () => {
  const ranges = new SequenceCoverage();
  for (const [first, last] of [
    [10n, 19n],
    [30n, 39n],
    [5n, 8n],
    [20n, 29n],
    [50n, 49n],
  ] as const)
    ranges.add(first, last);
  expect([ranges.covers(10n, 39n), ranges.covers(5n, 8n), ranges.covers(8n, 10n), ranges.covers(39n, 40n)]).toEqual([
    true,
    true,
    false,
    false,
  ]);
  ranges.add(9n, 9n);
  expect(ranges.covers(5n, 39n)).toBe(true);
  ranges.add(1n, 100n);
  expect(ranges.covers(1n, 100n)).toBe(true);
  ranges.clear();
  expect(ranges.covers(5n, 5n)).toBe(false);
});

test("coverage is bounded, and forgets the oldest", () => {
  const ranges = new SequenceCoverage();
  for (let at = 0n; at < 30_000n; at += 2n) ranges.add(at, at);
  expect([ranges.covers(0n, 0n), ranges.covers(29_998n, 29_998n)]).toEqual([false, true]);
});
