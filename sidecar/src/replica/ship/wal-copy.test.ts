import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { MetaMasterError } from "../../base/errors.js";
import { NodeFileSystem } from "../../base/node-file-system.js";
import { recordType } from "../../formats/rocksdb/record-framing.js";
import { buildBatch } from "../../formats/rocksdb/testing/batch-builder.js";
import { WalWriter } from "../../formats/rocksdb/testing/wal-writer.js";
import { WalCopy } from "./wal-copy.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "metamaster-copy-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test("a copy grows with the records of its number, whatever the file held before", async () => {
  const original = `${directory}/000007.log`;
  const copied = `${directory}/copy`;
  const wal = new WalWriter(7, { recyclable: true });
  const put = (row: number): Uint8Array =>
    wal.append(buildBatch(BigInt(row), [{ type: "put", key: `row-${row}`, value: "v" }]));
  const file = Buffer.alloc(2000, 0xee);
  const first = put(1);
  file.set(first);
  // What happens to stand behind it announces more than the file has.
  file.set([1, 2, 3, 4, 3000 & 0xff, 3000 >> 8, recordType.full], first.length);
  await writeFile(original, file);
  const copy = new WalCopy(new NodeFileSystem(), { number: 7, original, copy: copied });
  const scratch = new Uint8Array(64 * 1024);
  try {
    await copy.advance(scratch);
    expect(copy.size).toBe(first.length);
    const second = put(2);
    file.set(second, first.length);
    await writeFile(original, file, { flag: "r+" });
    await copy.advance(scratch);
    expect(copy.size).toBe(first.length + second.length);
    expect(await readFile(copied)).toEqual(Buffer.concat([first, second]));
  } finally {
    await copy.close();
  }
});

test("what could not be written on a full disk is written later, though nothing new came", async () => {
  const original = `${directory}/000008.log`;
  const record = new WalWriter(8, { recyclable: true }).append(
    buildBatch(1n, [{ type: "put", key: "row-1", value: "v" }]),
  );
  await writeFile(original, record);
  const fs = new NodeFileSystem();
  let full = true;
  const open: NodeFileSystem["open"] = async (path, mode, permissions) => {
    if (full && mode === "readWrite") throw new MetaMasterError("DiskFull", "transient", `${path}: no space left`);
    return await NodeFileSystem.prototype.open.call(fs, path, mode, permissions);
  };
  fs.open = open;
  const copy = new WalCopy(fs, { number: 8, original, copy: `${directory}/copy` });
  const scratch = new Uint8Array(64 * 1024);
  try {
    await expect(copy.advance(scratch)).rejects.toMatchObject({ code: "DiskFull" });
    await expect(copy.advance(scratch)).rejects.toMatchObject({ code: "DiskFull" });
    full = false;
    await copy.advance(scratch);
    expect(copy.size).toBe(record.length);
  } finally {
    await copy.close();
  }
});
