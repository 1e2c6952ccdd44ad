import { expect, test } from "@jest/globals";
import type { Operation } from "../../formats/entry.js";
import { buildBatch, type BatchOperation } from "../../formats/rocksdb/testing/batch-builder.js";
import { WalWriter } from "../../formats/rocksdb/testing/wal-writer.js";
import { plainWal, walOf, walText } from "./wal-text.js";

function append(file: string, ...batches: BatchOperation[][]): Operation {
  const writer = new WalWriter(12);
  let sequence = 5n;
  const bytes = Buffer.concat(
    batches.map((operations) => {
      const piece = writer.append(buildBatch(sequence, operations));
      sequence += BigInt(operations.length);
      return piece;
    }),
  );
  return { type: "append", file, offset: 0, bytes };
}

const put = (columnFamily: number): BatchOperation => ({ type: "put", key: "a", value: "b", columnFamily });
const remove = (columnFamily: number): BatchOperation => ({ type: "delete", key: "a", columnFamily });

function textOf(operation: Operation): string[] {
  return walText(walOf(operation)!).map((line) => line.trim());
}

test("batches, operations, sequences, and what they do", () => {
  expect(textOf(append("meta@wal/000012.log", [put(0), remove(0)], [put(0)]))).toEqual([
    "2 batches, 3 operations, sequences 5-7",
    "put 2, delete 1",
  ]);
  expect(textOf(append("meta/000012.log", [put(0), remove(7)]))).toEqual([
    "1 batch, 2 operations, sequences 5-6",
    "put 1, delete 1",
    "column family 0: put 1",
    "column family 7: delete 1",
  ]);
});

test("many column families are cut short, damage is named", () => {
  const many = append(
    "meta/000012.log",
    Array.from({ length: 40 }, (_, family) => put(family)),
  );
  expect(textOf(many).slice(-2)).toEqual(["column family 15: put 1", "other column families: 24 operations"]);
  const damaged = { ...many, bytes: Uint8Array.of(1, 2, 3) } as Operation;
  expect(textOf(damaged)).toEqual([
    "0 batches, 0 operations",
    expect.stringMatching(/^not all of it: meta\/000012\.log, offset 0: /),
  ]);
});

test("for programs every field is there", () => {
  const nothing = walOf({ type: "append", file: "meta/000012.log", offset: 0, bytes: new Uint8Array(0) })!;
  expect(JSON.parse(JSON.stringify(plainWal(nothing)))).toEqual({
    batches: 0,
    operations: 0,
    sequences: null,
    compressed: false,
    kinds: {},
    columnFamilies: [],
    otherColumnFamilies: 0,
    incomplete: null,
  });
});

test("only WALs are walked", () => {
  expect(walOf(append("meta/MANIFEST-000005"))).toBeUndefined();
  expect(walOf({ type: "remove", file: "meta/000012.log" })).toBeUndefined();
});
