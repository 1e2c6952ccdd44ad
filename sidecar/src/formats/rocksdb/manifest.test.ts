import { describe, expect, test } from "@jest/globals";
import { ManifestCursor, type ManifestUnit } from "./manifest-cursor.js";
import { ManifestState } from "./manifest-state.js";
import { ByteWriter } from "./testing/bytes.js";
import { ManifestWriter, encodeEdit, type EditSpec } from "./testing/manifest-writer.js";
import { Seeded } from "./testing/seeded.js";
import { decodeVersionEdit } from "./version-edit.js";

const FILE = "db/MANIFEST-000005";

function write(edits: readonly EditSpec[]): Uint8Array {
  const writer = new ManifestWriter();
  return Buffer.concat(edits.map((edit) => writer.append(edit)));
}

function table(
  number: number,
  more: object = {},
): { number: number; smallestSequence: bigint; largestSequence: bigint } {
  return { number, smallestSequence: BigInt(number), largestSequence: BigInt(number) + 10n, ...more };
}

function blob(number: number): { number: number; blobs: number; bytes: number } {
  return { number, blobs: 10, bytes: 1000 };
}

function tableHead(tag: number): ByteWriter {
  return new ByteWriter().varint(tag).varint(2).varint(7);
}

const history: EditSpec[] = [
  { databaseId: "id", comparator: "leveldb.BytewiseComparator", logNumber: 0, nextFileNumber: 2, lastSequence: 0n },
  { columnFamily: 1, addedColumnFamily: "one", comparator: "c", logNumber: 4, maxColumnFamily: 1 },
  {
    logNumber: 8,
    previousLogNumber: 0,
    minLogNumberToKeep: 4,
    nextFileNumber: 12,
    lastSequence: 50n,
    addedTables: [table(10)],
  },
  { columnFamily: 1, logNumber: 8, addedTables: [table(11)], remainingInGroup: 1 },
  { logNumber: 9, addedTables: [table(12)], minLogNumberToKeep: 8, remainingInGroup: 0 },
  { deletedTables: [{ level: 0, number: 10 }], addedTables: [table(14, { level: 1 })], lastSequence: 77n },
  { columnFamily: 2, addedColumnFamily: "two", logNumber: 20 },
  { columnFamily: 2, droppedColumnFamily: true },
];

function fold(units: readonly ManifestUnit[]): ManifestState {
  const state = new ManifestState(FILE);
  for (const unit of units) state.apply(unit);
  return state;
}

function read(
  bytes: Uint8Array,
  pieceBytes: () => number = () => 1_000_000,
): { cursor: ManifestCursor; units: ManifestUnit[] } {
  const cursor = new ManifestCursor(FILE);
  const units: ManifestUnit[] = [];
  while (cursor.nextOffset < bytes.length) {
    const from = cursor.nextOffset;
    units.push(...cursor.feed(bytes.subarray(from, from + pieceBytes())));
    if (cursor.nextOffset <= from) break;
  }
  return { cursor, units };
}

/** The fold of a single unit's edits on top of the history. */
function applying(edits: EditSpec[]): () => void {
  return () => fold(read(write([...history, ...edits])).units);
}

describe("the fold", () => {
  test("has the live tables, families, log numbers and counters", () => {
    const state = fold(read(write(history)).units);
    expect(state.liveFiles().toSorted()).toEqual(["000011.sst", "000012.sst", "000014.sst"]);
    expect([...state.columnFamilies.values()].map(({ id, name, logNumber }) => [id, name, logNumber])).toEqual([
      [0, "default", 9],
      [1, "one", 8],
    ]);
    expect([state.databaseId, state.nextFileNumber, state.lastSequence, state.minLogNumberToKeep]).toEqual([
      "id",
      12,
      77n,
      8,
    ]);
  });

  test("keeps the WALs that RocksDB keeps: with two-phase commit more than what families have not flushed", () => {
    const edits = [...history, { logNumber: 30 }, { columnFamily: 1, logNumber: 25 }];
    const state = fold(read(write(edits)).units);
    expect([state.walFloor(), state.replayFloor(true), state.replayFloor(false)]).toEqual([8, 8, 25]);
    const later = fold(read(write([...edits, { minLogNumberToKeep: 40 }])).units);
    expect([later.walFloor(), later.replayFloor(false)]).toEqual([40, 40]);
    const old = fold(read(write([{ logNumber: 7 }])).units);
    expect([old.walFloor(), old.replayFloor(true)]).toEqual([7, 7]);
  });

  test("counts blob files as live while a table refers to them or an older one, and not all of them is garbage", () => {
    const start = {
      addedTables: [table(20, { oldestBlobFile: 31 })],
      addedBlobs: [blob(30), blob(31), blob(32), blob(33)],
    };
    const state = fold(read(write([start, { blobGarbage: [blob(32), { number: 31, blobs: 10, bytes: 1000 }] }])).units);
    expect([...state.blobFiles()]).toEqual([31, 33]);
    const none = fold(read(write([start, { deletedTables: [{ level: 0, number: 20 }] }])).units);
    expect([...none.blobFiles()]).toEqual([]);
  });

  test("refuses tables in other directories by name", () => {
    const state = fold(read(write([{ addedTables: [table(20, { pathId: 1 })] }])).units);
    expect(() => state.liveFiles()).toThrow(expect.objectContaining({ code: "FilesElsewhere", kind: "invalid" }));
  });

  test.each<[string, EditSpec[]]>([
    ["an unknown column family", [{ columnFamily: 9, logNumber: 1 }]],
    ["a family added twice", [{ columnFamily: 1, addedColumnFamily: "again" }]],
    ["a table added twice", [{ addedTables: [table(12)] }]],
    ["the default family dropped", [{ droppedColumnFamily: true }]],
    ["garbage in an unknown blob file", [{ blobGarbage: [{ number: 5, blobs: 1, bytes: 1 }] }]],
  ])("refuses %s", (_name, edits) => {
    expect(applying(edits)).toThrow(expect.objectContaining({ code: "ManifestCorrupt" }));
  });
});

describe("the cursor", () => {
  test("gives the same units however the file is split, and ends only at whole ones", () => {
    const bytes = write([
      ...history,
      { raw: new ByteWriter().varint(8222).prefixed(new Seeded(1).bytes(100_000)).done() },
    ]);
    const whole = read(bytes);
    expect(whole.units.map((unit) => unit.edits.length)).toEqual([1, 1, 1, 2, 1, 1, 1, 1]);
    expect([whole.cursor.wholeEnd, whole.cursor.state.kind]).toEqual([bytes.length, "clean"]);
    const random = new Seeded(3);
    for (const most of [1, 7, 300, 40_000])
      expect(read(bytes, () => 1 + random.below(most)).units).toEqual(whole.units);
    for (let round = 0; round < 100; round++) {
      const cut = random.below(1000);
      const { cursor, units } = read(bytes.subarray(0, cut));
      expect(units).toEqual(whole.units.filter((unit) => unit.end <= cut));
      expect(cursor.wholeEnd).toBe(units.at(-1)?.end ?? 0);
      expect(["clean", "torn"]).toContain(cursor.state.kind);
    }
  });

  test("does not end inside an atomic group, and goes on from a unit's end", () => {
    const bytes = write(history);
    const units = read(bytes).units;
    const group = units[3]!;
    const inside = read(bytes.subarray(0, group.end - 1));
    expect([inside.cursor.wholeEnd, inside.cursor.state.kind]).toEqual([group.start, "torn"]);
    const later = new ManifestCursor(FILE, group.start);
    expect(later.feed(bytes.subarray(group.start))).toEqual(units.slice(3));
  });

  test.each<[string, EditSpec[], string]>([
    ["an atomic group that is not counted down", [{ remainingInGroup: 2 }, { remainingInGroup: 0 }], "ManifestCorrupt"],
    ["an edit inside an atomic group", [{ remainingInGroup: 1 }, { logNumber: 5 }], "ManifestCorrupt"],
    ["an unknown tag", [{ raw: Uint8Array.of(50) }], "ManifestUnsupported"],
    ["a value that is cut short", [{ raw: Uint8Array.of(1, 20, 65) }], "ManifestCorrupt"],
  ])("refuses %s, with file and offset, and stays there", (_name, edits, code) => {
    const start = write(history).length;
    const { cursor, units } = read(write([...history, ...edits, { logNumber: 40 }]));
    expect([cursor.problem()?.code, units.length, cursor.wholeEnd]).toEqual([code, 7, start]);
    expect(cursor.problem()?.message).toContain(FILE);
  });

  test("with a flipped bit never gives a wrong edit", () => {
    const bytes = write(history);
    const { units } = read(bytes);
    const random = new Seeded(9);
    for (let round = 0; round < 300; round++) {
      const damaged = Uint8Array.from(bytes);
      damaged[random.below(bytes.length)]! ^= 1 << random.below(8);
      const found = read(damaged);
      expect(found.units).toEqual(units.slice(0, found.units.length));
      expect(found.units.length).toBeLessThan(units.length);
      expect(found.cursor.state.kind).not.toBe("clean");
    }
  });
});

describe("one edit", () => {
  test("is never a crash, whatever the bytes", () => {
    const random = new Seeded(17);
    const good = encodeEdit(history[2]!);
    for (let round = 0; round < 3000; round++) {
      const bytes = round % 2 === 0 ? random.bytes(random.below(60)) : Uint8Array.from(good);
      if (round % 2 === 1) bytes[random.below(bytes.length)] = random.below(256);
      try {
        decodeVersionEdit(bytes, FILE);
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^Manifest(Corrupt|Unsupported)$/) as unknown });
      }
    }
  });

  test("reads what older and newer releases write", () => {
    const key = Uint8Array.from([0x61, 1, 0, 0, 0, 0, 0, 0, 0]);
    const body = (out: ByteWriter): ByteWriter => out.varint(99).prefixed(key).prefixed(key);
    const first = body(tableHead(7)).done();
    const second = body(tableHead(100)).varint(5).varint(6).done();
    const third = body(new ByteWriter().varint(102).varint(2).varint(7).varint(1)).varint(5).varint(6).done();
    const hack = body(tableHead(103)).varint(5).varint(6).varint(3).prefixed(new ByteWriter().fixed64(40n).done());
    const fourth = hack.varint(30).prefixed("a field from the future").varint(1).done();
    const wals = new ByteWriter()
      .varint(8199)
      .prefixed(new ByteWriter().varint(12).varint(2).varint(500).varint(1).done());
    const walsDeleted = wals.varint(8200).prefixed(new ByteWriter().varint(9).done()).varint(8197).varint(10).done();
    const edit = decodeVersionEdit(Buffer.concat([first, second, third, fourth, walsDeleted]), FILE);
    expect(
      edit.addedTables.map(({ number, level, pathId, largestSequence }) => [number, level, pathId, largestSequence]),
    ).toEqual([
      [7, 2, 0, 0n],
      [7, 2, 0, 6n],
      [7, 2, 1, 6n],
      [7, 2, 0, 6n],
    ]);
    expect([edit.minLogNumberToKeep, edit.addedWals, edit.walsDeletedBefore]).toEqual([
      40,
      [{ number: 12, syncedSize: 500n }],
      10,
    ]);
  });

  test("refuses a field of a new file that must not be ignored", () => {
    const bytes = Buffer.from(encodeEdit({ addedTables: [table(3)] }));
    const blocked = new ByteWriter().varint(66).prefixed("x").varint(1).done();
    expect(() => decodeVersionEdit(Buffer.concat([bytes.subarray(0, -1), blocked]), FILE)).toThrow(
      "field 66 of a new file is not known",
    );
  });
});
