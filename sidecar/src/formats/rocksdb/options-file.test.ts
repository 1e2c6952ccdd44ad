import { expect, test } from "@jest/globals";
import { refuseOptions, rewriteOptions } from "./options-file.js";

const text = [
  "[DBOptions]",
  "  wal_dir=/var/lib/master/wal",
  "  db_paths={path=/a\\;b;target_size=1}",
  "  db_log_dir=/var/log",
  "  max_open_files=-1",
  "",
  '[CFOptions "default"]',
  "  cf_paths={path=/c;target_size=2}",
  "  comparator=leveldb.BytewiseComparator",
  "",
].join("\n");

function rewrite(from: string, walDirectory?: string): { text: string; changes: readonly object[] } {
  const { bytes, changes } = rewriteOptions(Buffer.from(from, "latin1"), walDirectory);
  return { text: Buffer.from(bytes).toString("latin1"), changes };
}

test("no directory of the original is left, all else stays", () => {
  const result = rewrite(text);
  expect(result.text).not.toMatch(/\/(var|a|c)\b/);
  expect(result.text.split("\n")).toEqual([
    "[DBOptions]",
    "  wal_dir=",
    "  db_paths={}",
    "  db_log_dir=",
    "  max_open_files=-1",
    "",
    '[CFOptions "default"]',
    "  cf_paths={}",
    "  comparator=leveldb.BytewiseComparator",
    "",
  ]);
  expect(result.changes).toEqual([
    { line: 2, option: "wal_dir", was: "/var/lib/master/wal" },
    { line: 3, option: "db_paths", was: "{path=/a\\;b;target_size=1}" },
    { line: 4, option: "db_log_dir", was: "/var/log" },
    { line: 8, option: "cf_paths", was: "{path=/c;target_size=2}" },
  ]);
});

test("the copy's own WAL directory takes the place of the original's, escaped", () => {
  expect(rewrite("  wal_dir = /old \r\n", "/new;wal").text).toBe("  wal_dir = /new\\;wal \r\n");
});

test("what names no directory comes back as it is, byte for byte", () => {
  const plain = "  wal_dir=\n  db_paths={}\n  cf_paths=\n  x=\xff\xfe\n";
  const bytes = Buffer.from(plain, "latin1");
  expect(rewriteOptions(bytes)).toEqual({ bytes, changes: [] });
  expect(rewrite(`${plain}wal_dir=/w\n`).text).toBe(`${plain}wal_dir=\n`);
});

test("options of similar names, comments and nested values are left alone", () => {
  const others = "  my_wal_dir=/x\n# wal_dir=/x\n  table={wal_dir=/x}\n";
  expect(rewrite(others)).toEqual({ text: others, changes: [] });
});

function withLine(line: string): Uint8Array {
  return Buffer.from(`${text}  enable_blob_files=true\n${line}\n`, "latin1");
}

test("blob direct write is refused, blob files are not", () => {
  for (const line of ["enable_blob_direct_write=true", "  enable_blob_direct_write = true \r"]) {
    expect(() => refuseOptions(withLine(line), "db/OPTIONS-000007")).toThrow(
      expect.objectContaining({
        code: "BlobReferencesInWal",
        message: expect.stringContaining("db/OPTIONS-000007") as unknown,
      }),
    );
  }
  for (const line of ["  enable_blob_direct_write=false", "  blob_direct_write_partitions=4", ""]) {
    expect(refuseOptions(withLine(line), "db/OPTIONS-000007")).toBeUndefined();
  }
});
