import { randomBytes } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { ZstdCompression } from "./zstd-compression.js";

const zstd = new ZstdCompression();

describe.each([
  ["in line", 1000],
  ["in the thread pool", 1_000_000],
])("zstd %s", (_name, size) => {
  const bytes = randomBytes(size);

  test("gives back what went in, also at the exact limit", async () => {
    const frame = await zstd.compress(bytes);
    expect(Buffer.from(await zstd.decompress(frame, size)).equals(bytes)).toBe(true);
  });

  test("lays frames into the caller's memory, one after the other, and not a byte further", async () => {
    const target = Buffer.alloc(2 * size + 1024, 0xaa);
    const others = randomBytes(size + 1);
    const [first, second] = [target.subarray(0, size + 512), target.subarray(size + 512)];
    const lengths = await Promise.all([zstd.compressInto(bytes, first), zstd.compressInto(others, second)]);
    expect(Buffer.from(await zstd.decompress(first.subarray(0, lengths[0]), size)).equals(bytes)).toBe(true);
    expect(Buffer.from(await zstd.decompress(second.subarray(0, lengths[1]), size + 1)).equals(others)).toBe(true);
    expect(first.subarray(lengths[0]).every((byte) => byte === 0xaa)).toBe(true);
  });

  test("a frame that doesn't fit is an error, and nothing of it gets into the next one", async () => {
    await expect(zstd.compressInto(bytes, Buffer.alloc(size >> 1))).rejects.toMatchObject({ name: "RangeError" });
    const target = Buffer.alloc(size + 512);
    const length = await zstd.compressInto(bytes, target);
    expect(Buffer.from(await zstd.decompress(target.subarray(0, length), size)).equals(bytes)).toBe(true);
  });

  test.each([
    ["too much output", (frame: Uint8Array) => frame, -1, "it gives more than"],
    ["a cut frame", (frame: Uint8Array) => frame.subarray(0, -5), 0, "unexpected end of file"],
    [
      "bytes after the frame",
      (frame: Uint8Array) => Buffer.concat([frame, Buffer.from("junk")]),
      0,
      "4 bytes follow the frame",
    ],
    ["a second frame", (frame: Uint8Array) => Buffer.concat([frame, frame]), 0, "bytes follow the frame"],
    ["no frame", () => new Uint8Array(size), 0, "unknown frame descriptor"],
    [
      "a flipped bit",
      (frame: Uint8Array) => {
        const copy = Uint8Array.from(frame);
        copy[frame.length >> 1] = (copy[frame.length >> 1] ?? 0) ^ 1;
        return copy;
      },
      0,
      "can't be decompressed",
    ],
  ])("names %s", async (_what, damage, more, message) => {
    const frame = damage(await zstd.compress(bytes));
    await expect(zstd.decompress(frame, size + more)).rejects.toMatchObject({
      code: "CompressionCorrupt",
      kind: "corrupt",
      message: expect.stringContaining(message),
    });
  });
});

test("nothing is a frame too, with a limit of nothing", async () => {
  expect(await zstd.decompress(await zstd.compress(new Uint8Array()), 0)).toHaveLength(0);
  await expect(zstd.decompress(await zstd.compress(new Uint8Array(1)), 0)).rejects.toMatchObject({
    code: "CompressionCorrupt",
  });
  await expect(zstd.decompress(new Uint8Array(), 10)).rejects.toMatchObject({ code: "CompressionCorrupt" });
});
