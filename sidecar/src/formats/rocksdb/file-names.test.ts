import { describe, expect, test } from "@jest/globals";
import { formatCurrent, manifestFileName, parseCurrent, parseFileName, walFileName } from "./file-names.js";

describe("names", () => {
  test.each([
    ["000123.log", { type: "wal", number: 123, archived: false }],
    ["1234567.log", { type: "wal", number: 1_234_567, archived: false }],
    ["archive/000009.log", { type: "wal", number: 9, archived: true }],
    ["MANIFEST-000005", { type: "manifest", number: 5 }],
    ["OPTIONS-000007", { type: "options", number: 7 }],
    ["OPTIONS-000007.dbtmp", { type: "temporary" }],
    ["000008.dbtmp", { type: "temporary" }],
    ["000010.sst", { type: "table", number: 10 }],
    ["000010.ldb", { type: "table", number: 10 }],
    ["000011.blob", { type: "blob", number: 11 }],
    ["CURRENT", { type: "current" }],
    ["IDENTITY", { type: "identity" }],
    ["LOCK", { type: "lock" }],
    ["LOG", { type: "infoLog" }],
    ["LOG.old.1700000000000000", { type: "infoLog" }],
  ])("%s", (name, parsed) => {
    expect(parseFileName(name)).toEqual(parsed);
  });

  test.each([
    "",
    "log",
    ".log",
    "12.sst.bak",
    "a12.log",
    "archive/000009.sst",
    "archive/",
    "MANIFEST-",
    "MANIFEST-5 ",
    "MANIFEST-+5",
    "-1.log",
    "18446744073709551616.log",
    "9007199254740992.log",
    "constructor",
    "__proto__",
  ])("%j is none", (name) => {
    expect(parseFileName(name)).toBeUndefined();
  });

  test("are padded to six digits and grow past them", () => {
    expect([walFileName(7), walFileName(1_234_567), manifestFileName(12)]).toEqual([
      "000007.log",
      "1234567.log",
      "MANIFEST-000012",
    ]);
  });
});

describe("CURRENT", () => {
  test("names the MANIFEST it was written for", () => {
    expect(parseCurrent(formatCurrent(5))).toEqual({ name: "MANIFEST-000005", number: 5 });
  });

  test.each([
    "",
    "MANIFEST-000005",
    "MANIFEST-000005\n\n",
    "000005.log\n",
    "MANIFEST-5x\n",
    "../MANIFEST-000005\n",
    "M".repeat(70) + "\n",
  ])("%j is refused", (text) => {
    expect(() => parseCurrent(Buffer.from(text), "db/CURRENT")).toThrow("db/CURRENT does not name a MANIFEST");
  });
});
