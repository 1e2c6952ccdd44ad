import { expect, test } from "@jest/globals";
import { sha256Hex } from "../base/sha256.js";
import { ZstdCompression } from "../base/zstd-compression.js";
import { encodeEnd } from "./end-entry.js";
import { decodeEntry, decodeEntryHeader } from "./entry-codec.js";
import { digestsOf } from "./entry-frame.js";

const compression = new ZstdCompression();
const { bytes, chain } = encodeEnd({ cluster: "c1", slot: 7, epoch: 2, previous: "", by: "meta-purge", wallTimeMs: 5 });

function signed(change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  copy.set(digestsOf(copy.subarray(0, -32)).digest, copy.length - 32);
  return copy;
}

test("the end of a log is told from every other entry, and from damage", async () => {
  expect(chain).toBe(sha256Hex(bytes));
  const deleted = expect.objectContaining({ code: "ClusterDeleted", kind: "invalid" });
  await expect(decodeEntry(bytes, "log/7", compression)).rejects.toEqual(deleted);
  expect(() => decodeEntryHeader(bytes, "log/7")).toThrow(deleted);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    await expect(decodeEntry(flipped, "log/7", compression)).rejects.toMatchObject({ code: "EntryCorrupt" });
  }
});

test("what else comes to be of that format, or of a later one, is too new", async () => {
  const tooNew = { code: "FormatTooNew" };
  const renamed = signed((copy) => copy.write('"out"', copy.indexOf('"end"')));
  await expect(decodeEntry(renamed, "log/7", compression)).rejects.toMatchObject(tooNew);
  await expect(
    decodeEntry(
      signed((copy) => copy.writeUInt16LE(3, 4)),
      "log/7",
      compression,
    ),
  ).rejects.toMatchObject(tooNew);
});
