import { describe, expect, test } from "@jest/globals";
import { errorCodes } from "../base/error-codes.js";
import { MetaMasterError } from "../base/errors.js";
import { endsAtStart, haltCodes, haltFor, haltReasonFor, haltReasons } from "./halts.js";

test("every code that halts is one that is listed", () => {
  expect(Object.keys(haltCodes).filter((code) => !(code in errorCodes))).toEqual([]);
  expect(Object.values(haltCodes).filter(({ reason }) => !(reason in haltReasons))).toEqual([]);
});

describe("over with another start", () => {
  const cases: readonly (readonly [string, boolean])[] = [
    ["AdoptionRefused", true],
    ["CrossDevice", true],
    ["DatabaseNotConfigured", true],
    ["FormatTooNew", true],
    ["MasterWillNotDie", true],
    ["NotRocksDb", true],
    ["PathBlocked", true],
    ["AdoptionDamaged", false],
    ["ClusterMissing", false],
    ["DuplicateIdentity", false],
    ["EntryCorrupt", false],
    ["ForeignCluster", false],
    ["ForeignDatabase", false],
    ["HistoryMismatch", false],
    ["LogGap", false],
  ];

  test.each(cases)("%s: %s", (code, isOver) => {
    const kind = ["EntryCorrupt", "HistoryMismatch"].includes(code) ? "corrupt" : "invalid";
    const error = new MetaMasterError(code, kind, "what was found");
    const reason = haltReasonFor(error);
    if (reason === undefined) throw new Error(`${code} halts nothing`);
    expect(endsAtStart(haltFor(error, reason, 0))).toBe(isOver);
  });

  test("what can't be read any more, or has no code, is not", () => {
    expect(endsAtStart(haltFor(new Error("a defect"), "MasterWillNotDie", 0))).toBe(false);
  });
});
