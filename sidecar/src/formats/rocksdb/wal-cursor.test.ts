import { describe, expect, test } from "@jest/globals";
import { BLOCK_BYTES, recordType } from "./record-framing.js";
import { buildBatch } from "./testing/batch-builder.js";
import { ByteWriter } from "./testing/bytes.js";
import { Seeded } from "./testing/seeded.js";
import { WalWriter, type WalWriterOptions } from "./testing/wal-writer.js";
import { WalCursor, type WalCursorSnapshot } from "./wal-cursor.js";

interface Written {
  readonly bytes: Uint8Array;
  readonly records: readonly { readonly end: number; readonly sequence: bigint; readonly count: number }[];
}

const FILE_NUMBER = 12;
const kinds: [string, WalWriterOptions][] = [
  ["plain", {}],
  ["recyclable", { recyclable: true }],
  ["compressed", { compressed: true }],
  ["recyclable and compressed", { recyclable: true, compressed: true }],
];

/** Sizes around everything that matters: empty, headers, block ends, several blocks. */
function write(seed: number, options: WalWriterOptions, count: number, fileNumber: number = FILE_NUMBER): Written {
  const random = new Seeded(seed);
  const writer = new WalWriter(fileNumber, options);
  const pieces: Uint8Array[] = [];
  const records: { end: number; sequence: bigint; count: number }[] = [];
  let sequence = 1n + BigInt(random.below(1000)) * 2n ** 33n;
  for (let index = 0; index < count; index++) {
    const left = BLOCK_BYTES - (writer.offset % BLOCK_BYTES);
    const size = [random.below(50), random.below(2000), Math.max(0, left - random.below(60)), random.below(100_000)][
      random.below(4)
    ]!;
    const operations = random.below(4);
    const filler = random.below(2) === 0 ? random.bytes(size) : new Uint8Array(size).fill(random.below(256));
    const puts = Array.from({ length: operations }, () => ({ type: "put", key: "k", value: "v" }) as const);
    pieces.push(writer.append(buildBatch(sequence, [...puts, { type: "logData", value: filler }])));
    records.push({ end: writer.offset, sequence, count: operations });
    sequence += BigInt(operations);
  }
  return { bytes: Buffer.concat(pieces), records };
}

function wal(...pieces: Uint8Array[]): Uint8Array {
  return Buffer.concat(pieces);
}

function open(): WalCursor {
  return new WalCursor({ fileNumber: FILE_NUMBER, file: "db/000012.log" });
}

/** Feeds as a reader of a file would: from nextOffset, in pieces; gives all records. */
function readAll(
  cursor: WalCursor,
  bytes: Uint8Array,
  pieceBytes: () => number,
): { end: number; sequence: bigint; count: number }[] {
  const found: { end: number; sequence: bigint; count: number }[] = [];
  while (cursor.nextOffset < bytes.length) {
    const from = cursor.nextOffset;
    const { records } = cursor.feed(bytes.subarray(from, from + pieceBytes()));
    for (let index = 0; index < records.length; index++) {
      found.push({ end: records.end(index), sequence: records.sequence(index), count: records.count(index) });
    }
    if (cursor.nextOffset <= from) break;
  }
  return found;
}

describe.each(kinds)("a %s WAL", (_name, options) => {
  test("gives every record, however it is split", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { bytes, records } = write(seed, options, 60);
      const random = new Seeded(seed + 1000);
      for (const most of [1_000_000_000, 100_000, 40_000, 500]) {
        const cursor = open();
        expect(readAll(cursor, bytes, () => 1 + random.below(most))).toEqual(records);
        expect([cursor.state.kind, cursor.wholeEnd, cursor.recycled, cursor.compression]).toEqual([
          "clean",
          bytes.length,
          options.recyclable === true,
          options.compressed === true ? "zstd" : "none",
        ]);
      }
    }
  });

  test("gives every record byte by byte, and says at each byte where the last one ended", () => {
    const { bytes, records } = write(3, options, 12);
    const cursor = open();
    let next = 0;
    for (let at = 0; at < bytes.length; at++) {
      const { records: completed } = cursor.feed(bytes.subarray(at, at + 1));
      next += completed.length;
      if (next > 0 && cursor.wholeEnd !== records[next - 1]!.end)
        throw new Error(`ends at ${cursor.wholeEnd}, read to ${at}`);
      if (cursor.state.kind !== "clean" && cursor.state.kind !== "torn")
        throw new Error(`${cursor.state.kind} at ${at}`);
    }
    expect(next).toBe(records.length);
  });

  test("is torn when truncated anywhere, and goes on from there", () => {
    const { bytes, records } = write(5, options, 30);
    const random = new Seeded(99);
    for (let round = 0; round < 30; round++) {
      const cut = random.below(bytes.length);
      const cursor = open();
      const before = readAll(cursor, bytes.subarray(0, cut), () => 70_000);
      expect(before).toEqual(records.filter((record) => record.end <= cut));
      expect(["clean", "torn"]).toContain(cursor.state.kind);
      expect([...before, ...readAll(cursor, bytes, () => 70_000)]).toEqual(records);
    }
  });

  test("goes on from a snapshot taken anywhere", () => {
    const { bytes, records } = write(6, options, 40);
    const random = new Seeded(7);
    for (let round = 0; round < 15; round++) {
      const first = open();
      const before = readAll(first, bytes.subarray(0, random.below(bytes.length)), () => 50_000);
      const snapshot = JSON.parse(JSON.stringify(first.snapshot())) as WalCursorSnapshot;
      const second = WalCursor.resume(snapshot);
      expect([...before, ...readAll(second, bytes, () => 50_000)]).toEqual(records);
      expect([second.batches, second.lastSequence]).toEqual([records.length, records.at(-1)!.sequence]);
    }
  });

  test("with a flipped bit never gives a wrong record, and ends before the damage", () => {
    const { bytes, records } = write(8, options, 40);
    const random = new Seeded(11);
    for (let round = 0; round < 80; round++) {
      const damaged = Uint8Array.from(bytes);
      const at = random.below(bytes.length);
      damaged[at]! ^= 1 << random.below(8);
      const cursor = open();
      const found = readAll(cursor, damaged, () => 1_000_000_000);
      expect(found).toEqual(records.slice(0, found.length));
      // A flip in the padding of a block is harmless: nobody reads it.
      if (found.length < records.length) {
        expect(cursor.wholeEnd).toBeLessThanOrEqual(at);
        expect(cursor.state.kind).not.toBe("clean");
      }
      // With a whole block of valid records behind it, it can't be taken for a tail.
      if (found.length < records.length && bytes.length - at > 6 * BLOCK_BYTES)
        expect(cursor.state.kind).toBe("corrupt");
    }
  });
});

describe("tails", () => {
  const { bytes, records } = write(21, {}, 20);

  test.each([
    ["zeros", new Uint8Array(4096), "zeros"],
    ["garbage", new Seeded(4).bytes(BLOCK_BYTES * 3), undefined],
  ])("%s after the last record are not yet a record, and are read again", (_name, tail, cause) => {
    const cursor = open();
    readAll(cursor, Buffer.concat([bytes, tail]), () => 1_000_000_000);
    expect(cursor.state).toMatchObject({ kind: "torn", ...(cause === undefined ? {} : { cause }) });
    expect([cursor.wholeEnd, cursor.problem()]).toEqual([bytes.length, undefined]);
    expect(cursor.nextOffset).toBeLessThan(bytes.length + BLOCK_BYTES);
  });

  test("zeros in the middle, with records after them, are corruption with file and offset", () => {
    const { bytes: long } = write(22, {}, 200);
    const damaged = Uint8Array.from(long);
    damaged.fill(0, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES);
    const cursor = open();
    readAll(cursor, damaged, () => 1_000_000_000);
    expect(cursor.state).toMatchObject({ kind: "corrupt", offset: 2 * BLOCK_BYTES });
    expect(cursor.problem()?.code).toBe("WalCorrupt");
    expect(cursor.problem()?.message).toContain(`db/000012.log, offset ${2 * BLOCK_BYTES}`);
    // Not final: the bytes may have been caught while they were written.
    const { records: completed } = cursor.feed(long.subarray(cursor.nextOffset));
    expect([completed.length > 0, cursor.state.kind, cursor.wholeEnd]).toEqual([true, "clean", long.length]);
  });

  test("a recycled file's former content is not yet a record", () => {
    const old = write(31, { recyclable: true }, 60, 8);
    const fresh = write(32, { recyclable: true }, 10);
    const file = Uint8Array.from(old.bytes);
    const empty = open();
    readAll(empty, file, () => 1_000_000_000);
    expect([empty.state.kind, empty.wholeEnd, empty.recycled]).toEqual(["recycled", 0, true]);
    for (let index = 0; index < fresh.records.length; index += 3) {
      const end = fresh.records[index]!.end;
      if (end > file.length) break;
      file.set(fresh.bytes.subarray(0, end));
      const cursor = open();
      expect(readAll(cursor, file, () => 90_000)).toEqual(fresh.records.slice(0, index + 1));
      expect([cursor.wholeEnd, cursor.state.kind === "corrupt"]).toEqual([end, false]);
    }
  });

  test("former content that looks like an unfinished record does not hide the record that is written over it", () => {
    const writer = new WalWriter(FILE_NUMBER, { recyclable: true });
    const first = writer.append(buildBatch(1n, [{ type: "put", key: "a", value: "b" }]));
    const second = writer.append(buildBatch(2n, [{ type: "put", key: "c", value: "d" }]));
    const file = new Uint8Array(1000);
    file.set(first);
    // What stands behind the first record announces 3,000 bytes of an ordinary record, more than the file has.
    file.set([1, 2, 3, 4, 3000 & 0xff, 3000 >> 8, recordType.full], first.length);
    const cursor = open();
    cursor.feed(file);
    expect([cursor.wholeEnd, cursor.state.kind]).toEqual([first.length, "torn"]);
    file.set(second, first.length);
    cursor.rewind();
    expect(cursor.nextOffset).toBe(first.length);
    cursor.feed(file.subarray(cursor.nextOffset));
    expect(cursor.wholeEnd).toBe(first.length + second.length);
  });

  test("records of a batch list are cut at record boundaries", () => {
    const cursor = open();
    const found = cursor.feed(bytes).records;
    expect(found.lastEndWithin(records[4]!.end)).toBe(records[4]!.end);
    expect(found.lastEndWithin(records[4]!.end - 1)).toBe(records[3]!.end);
    expect(found.lastEndWithin(records[0]!.end - 1)).toBeUndefined();
  });
});

describe("records that are no batch", () => {
  const batch = buildBatch(5n, [{ type: "put", key: "a", value: "b" }]);

  test("timestamp sizes, predecessors and ignorable types are passed over", () => {
    const writer = new WalWriter(FILE_NUMBER);
    const bytes = wal(
      writer.special(recordType.predecessorWal, new ByteWriter().fixed64(11n).fixed64(4096n).fixed64(77n).done()),
      writer.special(recordType.timestampSizes, new ByteWriter().fixed32(3).byte(8).byte(0).done()),
      writer.special(200, Uint8Array.of(1, 2, 3)),
      writer.append(batch),
    );
    const cursor = open();
    expect(cursor.feed(bytes).records.length).toBe(1);
    expect([cursor.state.kind, cursor.wholeEnd]).toEqual(["clean", bytes.length]);
    expect(cursor.predecessor).toEqual({ number: 11n, size: 4096n, lastSequence: 77n });
    expect(cursor.snapshot().timestampSizes).toEqual([[3, 8]]);
  });

  test.each([
    ["an unknown type", 40, new Uint8Array(3), "unsupported", "WalRecordUnsupported"],
    [
      "another compression",
      recordType.setCompression,
      new ByteWriter().fixed32(4).done(),
      "unsupported",
      "WalRecordUnsupported",
    ],
    ["a short compression record", recordType.setCompression, new Uint8Array(2), "corrupt", "WalCorrupt"],
    ["a timestamp size of zero", recordType.timestampSizes, new Uint8Array(6), "corrupt", "WalCorrupt"],
    ["a middle without a first", recordType.middle, batch, "corrupt", "WalCorrupt"],
    ["a batch that is too small", recordType.full, new Uint8Array(11), "corrupt", "WalCorrupt"],
    ["a sequence above 2^56", recordType.full, new Uint8Array(12).fill(0xff), "corrupt", "WalCorrupt"],
  ])("%s is a named refusal that stays", (_name, type, payload, kind, code) => {
    const writer = new WalWriter(FILE_NUMBER);
    const cursor = open();
    cursor.feed(wal(writer.special(type, payload), writer.append(batch)));
    expect(cursor.state.kind).toBe(kind);
    expect(cursor.problem()?.code).toBe(code);
    expect(cursor.feed(wal(writer.append(batch))).records.length).toBe(0);
    expect([cursor.state.kind, cursor.wholeEnd]).toEqual([kind, 0]);
  });

  test.each([
    ["plain", {}, 10],
    ["plain, over several blocks", {}, 100_000],
    ["recyclable", { recyclable: true }, 10],
    ["compressed", { compressed: true }, 10],
    ["compressed, behind the first block", { compressed: true }, 1_000_000],
  ])("a reference to a blob file is refused (%s); what comes before it is whole", (_name, options, filler) => {
    const writer = new WalWriter(FILE_NUMBER, options);
    const before = writer.append(batch);
    const put = { type: "put", key: "a", value: new Seeded(1).bytes(filler) } as const;
    const reference = { type: "blobIndex", key: "b", value: "reference" } as const;
    const bytes = wal(before, writer.append(buildBatch(9n, [put, reference])), writer.append(buildBatch(20n, [])));
    const cursor = open();
    expect(readAll(cursor, bytes, () => 30_000)).toHaveLength(1);
    expect([cursor.state.kind, cursor.wholeEnd]).toEqual(["unsupported", before.length]);
    expect(cursor.problem()).toMatchObject({ code: "BlobReferencesInWal", kind: "invalid" });
  });

  test("a batch with an operation of a later RocksDB, and one that ends inside an operation, are refused", () => {
    for (const [last, code] of [
      [Uint8Array.of(0x30), "WriteBatchUnsupported"],
      [Uint8Array.of(1, 3, 1), "WalCorrupt"],
    ] as const) {
      const cursor = open();
      cursor.feed(new WalWriter(FILE_NUMBER).append(wal(buildBatch(1n, []), last)));
      expect(cursor.problem()?.code).toBe(code);
    }
  });

  test("a sequence that goes back is pointed out", () => {
    const writer = new WalWriter(FILE_NUMBER);
    const cursor = open();
    const bytes = wal(writer.append(batch), writer.append(batch), writer.append(buildBatch(4n, [])));
    expect(cursor.feed(bytes).wentBackAt).toBe(2);
  });

  test("a huge compressed record needs only its first block", () => {
    const writer = new WalWriter(FILE_NUMBER, { compressed: true });
    const value = new Seeded(5).bytes(1_000_000);
    const bytes = writer.append(buildBatch(2n ** 40n, [{ type: "put", key: "a", value }]));
    const cursor = open();
    const { records } = cursor.feed(bytes);
    expect([records.length, records.sequence(0), records.count(0)]).toEqual([1, 2n ** 40n, 1]);
  });

  test("of a compressed record that gives more than 16 MiB only the first block is read", () => {
    const writer = new WalWriter(FILE_NUMBER, { compressed: true });
    const put = { type: "put", key: "a", value: new Uint8Array(17 * 1024 * 1024) } as const;
    const reference = { type: "blobIndex", key: "b", value: "reference" } as const;
    const cursor = open();
    expect(cursor.feed(writer.append(buildBatch(1n, [put]))).records.length).toBe(1);
    cursor.feed(writer.append(buildBatch(2n, [reference, put])));
    expect(cursor.problem()?.code).toBe("BlobReferencesInWal");
  });
});
