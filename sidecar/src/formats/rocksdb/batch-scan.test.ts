import { describe, expect, test } from "@jest/globals";
import { batchLayouts } from "./batch-layouts.js";
import { BatchScan, type BatchFault } from "./batch-scan.js";
import { buildBatch } from "./testing/batch-builder.js";
import { ByteWriter } from "./testing/bytes.js";
import { Seeded } from "./testing/seeded.js";
import { walkBatch } from "./write-batch.js";

/** Fed in pieces of at most `most` bytes. */
function scan(
  batch: Uint8Array,
  random: Seeded,
  most: number,
  scanner: BatchScan = new BatchScan(),
): BatchFault | "ok" {
  scanner.begin();
  for (let at = 0; at < batch.length;) {
    const end = Math.min(batch.length, at + 1 + random.below(most));
    const fault = scanner.feed(batch, at, end);
    if (fault !== undefined) return fault;
    at = end;
  }
  return scanner.end() ?? "ok";
}

/** Every operation there is except references to blobs, with strings of all lengths of varints. */
function anyBatch(random: Seeded): Uint8Array {
  const writer = new ByteWriter().fixed64(9n).fixed32(0);
  const tags = [...batchLayouts].filter(([, { kind }]) => kind !== "blobIndex");
  for (let index = 0; index < 20; index++) {
    const [tag, { family, strings }] = tags[random.below(tags.length)]!;
    writer.byte(tag);
    if (family) writer.varint(random.below(3) === 0 ? 5_000_000 : random.below(200));
    for (let string = 0; string < strings; string++) {
      // Its bytes look like tags of references to blobs.
      writer.prefixed(new Uint8Array([0, 1, 127, 128, 20_000][random.below(5)]!).fill(0x11));
    }
  }
  return writer.byte(1).prefixed("key").prefixed("value").done();
}

/** Behind a batch's header. */
function raw(...bytes: number[]): Uint8Array {
  return Uint8Array.from([...new Uint8Array(12), ...bytes]);
}

describe("the scan of a batch", () => {
  test("passes every known operation, however the batch is split", () => {
    const random = new Seeded(3);
    const scanner = new BatchScan();
    for (let round = 0; round < 25; round++) {
      const batch = anyBatch(random);
      for (const most of [1_000_000, 5_000, 3, 1]) expect(scan(batch, random, most, scanner)).toBe("ok");
      expect(scan(batch.subarray(0, batch.length - 1), random, 100, scanner)).toBe("malformed");
    }
  });

  test.each([0, 7])("finds a reference to a blob in column family %i behind anything", (columnFamily) => {
    const random = new Seeded(4);
    for (let round = 0; round < 20; round++) {
      const reference = buildBatch(1n, [{ type: "blobIndex", key: "k", value: "v", columnFamily }]);
      const batch = Buffer.concat([anyBatch(random), reference.subarray(12)]);
      for (const most of [1_000_000, 3, 1]) expect(scan(batch, random, most)).toBe("blobReference");
    }
  });

  test("names an unknown tag, and a length that no varint has", () => {
    const scanner = new BatchScan();
    const random = new Seeded(1);
    expect(scan(raw(0x14), random, 9, scanner)).toBe("unknownTag");
    expect(scanner.unknownTag).toBe(0x14);
    expect(scan(raw(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), random, 9)).toBe("malformed");
    expect(scan(raw(5, 0x80), random, 9)).toBe("malformed");
    expect(scan(raw().subarray(0, 11), random, 9)).toBe("malformed");
  });

  test("agrees with the walker on damaged batches", () => {
    const random = new Seeded(8);
    const good = buildBatch(1n, [
      { type: "put", key: "key", value: "value" },
      { type: "merge", key: "k", value: "v", columnFamily: 300 },
      { type: "delete", key: "abc" },
    ]);
    for (let round = 0; round < 3000; round++) {
      const bytes = Uint8Array.from(good);
      bytes[12 + random.below(bytes.length - 12)] = random.below(256);
      const verdict = scan(bytes, random, 8);
      let walked: string | undefined;
      try {
        const { kinds } = walkBatch(bytes, "here");
        walked = kinds.has("blobIndex") ? "blobReference" : "ok";
      } catch (error) {
        walked = (error as Error).message;
      }
      // What the walker checks beyond it: counts and the order of markers.
      if (walked === "ok" || walked === "blobReference") expect(verdict).toBe(walked);
      else if (verdict === "unknownTag") expect(walked).toContain("unknown tag");
      else if (verdict === "malformed") expect(walked).toMatch(/cut short|misplaced/);
    }
  });
});
