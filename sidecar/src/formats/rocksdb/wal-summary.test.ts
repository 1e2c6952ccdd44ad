import { describe, expect, test } from "@jest/globals";
import { BLOCK_BYTES } from "./record-framing.js";
import { buildBatch } from "./testing/batch-builder.js";
import { Seeded } from "./testing/seeded.js";
import { WalWriter, type WalWriterOptions } from "./testing/wal-writer.js";
import { summarizeWal } from "./wal-summary.js";

const kinds: [string, WalWriterOptions][] = [
  ["plain", {}],
  ["recyclable", { recyclable: true }],
  ["compressed", { compressed: true }],
  ["recyclable and compressed", { recyclable: true, compressed: true }],
];

function batch(index: number, value: Uint8Array): Uint8Array {
  return buildBatch(BigInt(2 * index + 1), [
    { type: "put", key: `row-${1000 + index}`, value },
    { type: "delete", key: "old", columnFamily: 3 },
    { type: "logData", value: "note" },
  ]);
}

/** Batch N has the sequences 2N+1 and 2N+2; wherever they can, batches end 0 to 14 bytes before a block's end. */
function write(options: WalWriterOptions, batches: number): { bytes: Uint8Array; ends: number[] } {
  const writer = new WalWriter(12, options);
  const random = new Seeded(7);
  const overhead = batch(0, new Uint8Array(200)).length - 200 + (options.recyclable === true ? 11 : 7);
  const ends: number[] = [];
  const pieces = Array.from({ length: batches }, (_, index) => {
    const fitting = BLOCK_BYTES - (writer.offset % BLOCK_BYTES) - overhead - random.below(15);
    const size = fitting >= 128 && fitting < 16_384 ? fitting : 15_000 + random.below(1000);
    const piece = writer.append(batch(index, random.bytes(size)));
    ends.push(writer.offset);
    return piece;
  });
  return { bytes: Buffer.concat(pieces), ends };
}

describe.each(kinds)("a %s WAL", (_name, options) => {
  test("is summed up piece by piece, wherever a piece begins", () => {
    const { bytes, ends } = write(options, 400);
    for (let piece = 0; piece + 5 <= ends.length; piece += 3) {
      const offset = ends[piece - 1] ?? 0;
      const part = bytes.subarray(offset, ends[piece + 4]);
      expect(summarizeWal({ file: "db/000012.log", number: 12, offset, bytes: part })).toEqual({
        batches: 5,
        operations: 10,
        sequences: { first: BigInt(2 * piece + 1), last: BigInt(2 * piece + 10) },
        compressed: options.compressed ?? false,
        kinds: { put: 5, delete: 5, logData: 5 },
        columnFamilies: [
          { id: 0, operations: 5, kinds: { put: 5 } },
          { id: 3, operations: 5, kinds: { delete: 5 } },
        ],
        otherColumnFamilies: 0,
        incomplete: undefined,
      });
    }
    if (options.compressed === true) return;
    const left = new Set(ends.map((end) => (BLOCK_BYTES - (end % BLOCK_BYTES)) % BLOCK_BYTES));
    for (let padding = 0; padding < 11; padding++) expect(left).toContain(padding);
  });

  test("that begins or ends inside a record says so and counts what is whole", () => {
    const { bytes, ends } = write(options, 20);
    const cut = summarizeWal({
      file: "db/000012.log",
      number: 12,
      offset: 0,
      bytes: bytes.subarray(0, ends[9]! + 500),
    });
    expect(cut).toMatchObject({ batches: 10, incomplete: expect.stringContaining(`offset ${ends[9]}`) as unknown });
    const offset = ends[9]! + 500;
    const rest = summarizeWal({ file: "db/000012.log", number: 12, offset, bytes: bytes.subarray(offset) });
    expect(rest).toMatchObject({ batches: 0, sequences: undefined, incomplete: expect.any(String) as unknown });
  });
});

test("a batch that can't be walked is named, the others are counted", () => {
  const writer = new WalWriter(12);
  const bytes = Buffer.concat([
    writer.append(buildBatch(1n, [{ type: "put", key: "a", value: "b" }])),
    writer.append(Buffer.concat([buildBatch(2n, []), Uint8Array.of(0x30)])),
    writer.append(buildBatch(2n, [{ type: "put", key: "a", value: "b" }])),
  ]);
  const summary = summarizeWal({ file: "db/000012.log", number: 12, offset: 0, bytes });
  expect(summary).toMatchObject({
    batches: 2,
    operations: 2,
    incomplete: expect.stringContaining("tag 48") as unknown,
  });
});

test("a sequence number that looks like the beginning of a zstd frame is one all the same", () => {
  const bytes = new WalWriter(12).append(buildBatch(0xfd2fb528n, [{ type: "put", key: "a", value: "b" }]));
  const summary = summarizeWal({ file: "db/000012.log", number: 12, offset: 0, bytes });
  expect(summary).toMatchObject({ batches: 1, compressed: false, incomplete: undefined });
});

test("so many column families are listed, the others counted", () => {
  const writer = new WalWriter(12);
  const puts = Array.from(
    { length: 1500 },
    (_, columnFamily) => ({ type: "put", key: "a", value: "b", columnFamily }) as const,
  );
  const summary = summarizeWal({
    file: "db/000012.log",
    number: 12,
    offset: 0,
    bytes: writer.append(buildBatch(1n, puts)),
  });
  expect([summary.columnFamilies.length, summary.otherColumnFamilies, summary.operations]).toEqual([1000, 500, 1500]);
});
