import { describe, expect, test } from "@jest/globals";
import { MetaMasterError, type ErrorKind } from "../base/errors.js";
import {
  afterFollowError,
  afterMasterFailure,
  afterSyncError,
  isOwnEpoch,
  isUnusable,
  mayAcknowledge,
  mayStand,
  switchoverRefusal,
} from "./decisions.js";

function failure(code: string, kind: ErrorKind): MetaMasterError {
  return new MetaMasterError(code, kind, "x");
}

describe("an error while following", () => {
  const table: readonly [string, Error, boolean, string][] = [
    ["the bucket is away", failure("BucketTimeout", "transient"), false, "Retry"],
    ["credentials were withdrawn: they may come back", failure("BucketAccessDenied", "invalid"), false, "Retry"],
    ["the disk is full", failure("DiskFull", "transient"), true, "Retry"],
    ["something unexpected", new TypeError("x"), true, "Retry"],
    ["the log was trimmed away under it", failure("TrimmedAway", "conflict"), false, "Resync"],
    ["what was applied could not be synced", failure("SyncFailed", "conflict"), true, "Resync"],
    ["a file of the image is missing", failure("FileNotFound", "invalid"), false, "Resync"],
    ["damage on this disk, at first", failure("LocalDamaged", "corrupt"), false, "Resync"],
    ["damage on this disk, again at the same place", failure("LocalDamaged", "corrupt"), true, "CorruptHistory"],
    ["a hole that opening would meet, at first", failure("ImageIncomplete", "corrupt"), false, "Resync"],
    ["an entry that fails its check", failure("EntryCorrupt", "corrupt"), false, "CorruptHistory"],
    ["another history", failure("ChainBroken", "corrupt"), false, "CorruptHistory"],
    ["a slot missing in the middle", failure("LogGap", "corrupt"), false, "LogGap"],
    ["a later release's entries", failure("FormatTooNew", "invalid"), false, "FormatTooNew"],
    ["another cluster's entries", failure("ForeignCluster", "invalid"), false, "ForeignCluster"],
    ["a twin", failure("DuplicateIdentity", "invalid"), false, "DuplicateIdentity"],
  ];

  test.each(table)("%s", (_name, error, again, expected) => {
    const decided = afterFollowError(error, again);
    expect(decided.action === "Halt" ? decided.reason : decided.action).toBe(expected);
  });
});

describe("an error while comparing the disk with the log", () => {
  const table: readonly [string, Error, string][] = [
    ["the bucket is away", failure("BucketTimeout", "transient"), "Retry"],
    ["trimmed away while restoring", failure("TrimmedAway", "conflict"), "Retry"],
    ["refused access", failure("FileDenied", "invalid"), "Retry"],
    ["databases without history", failure("AdoptionRefused", "invalid"), "AdoptionRefused"],
    ["databases of something else", failure("ForeignDatabase", "invalid"), "ForeignDatabase"],
    ["a table that fails its check", failure("TableCorrupt", "corrupt"), "CorruptHistory"],
    ["another cluster's directory", failure("ForeignCluster", "invalid"), "ForeignCluster"],
  ];

  test.each(table)("%s", (_name, error, expected) => {
    const decided = afterSyncError(error);
    expect(decided.action === "Halt" ? decided.reason : decided.action).toBe(expected);
  });
});

test.each([
  ["an unsupported feature", failure("BlobReferencesInWal", "invalid"), true],
  ["the bucket refuses", failure("BucketAccessDenied", "invalid"), false],
  ["the bucket is away", failure("BucketTimeout", "transient"), false],
  ["a named halt of its own", failure("ForeignCluster", "invalid"), false],
  ["a defect", new Error("x"), false],
])("an epoch that can't be begun is for a person to mend: %s", (_name, error, expected) => {
  expect(isUnusable(error)).toBe(expected);
});

describe("who may stand at all", () => {
  test.each([
    ["Empty", "New", 0, true],
    ["Following", "New", 0, true],
    ["Empty", "Adopt", 0, false],
    ["Following", "Adopt", 0, false],
    ["Following", "Adopt", 1, true],
    ["Adoptable", "Adopt", 0, true],
    ["Ahead", "Adopt", 0, true],
  ] as const)("%s, bootstrap %s, %i files: %s", (reconciled, bootstrap, imageFiles, expected) => {
    expect(mayStand({ reconciled, bootstrap, imageFiles })).toBe(expected);
  });

  test.each([
    ["Ahead", false, true],
    ["Ahead", true, false],
    ["Following", false, false],
    ["Empty", false, false],
    ["Adoptable", false, false],
  ] as const)("without waiting: %s, gave up %s: %s", (reconciled, gaveUp, expected) => {
    expect(isOwnEpoch(reconciled, gaveUp)).toBe(expected);
  });
});

test.each([
  [1000, 1000, 30_000, "Restart"],
  [30_999, 1000, 30_000, "Restart"],
  [31_000, 1000, 30_000, "StepDown"],
  [1000, 1000, 0, "StepDown"],
] as const)(
  "a master that failed, at %i, failing since %i, grace %i: %s",
  (nowMs, failingSinceMs, restartGraceMs, expected) => {
    expect(afterMasterFailure({ nowMs, failingSinceMs, restartGraceMs })).toBe(expected);
  },
);

test.each([
  ["in office", { fenced: false, termEnded: false, nowMs: 1, leadershipUntilMs: 2 }, true],
  ["fenced", { fenced: true, termEnded: false, nowMs: 1, leadershipUntilMs: 2 }, false],
  ["the term has ended", { fenced: false, termEnded: true, nowMs: 1, leadershipUntilMs: 2 }, false],
  ["leadership not proven any more", { fenced: false, termEnded: false, nowMs: 2, leadershipUntilMs: 2 }, false],
] as const)("a barrier may answer: %s", (_name, facts, expected) => {
  expect(mayAcknowledge(facts)).toBe(expected);
});

test.each([
  ["fine", {}, undefined],
  ["a standby", { role: "Standby" }, "NotPrimary"],
  ["still opening", { role: "Promoting" }, "NotPrimary"],
  ["to itself", { to: "me" }, "SwitchoverRefused"],
  ["under way", { pending: true }, "SwitchoverRefused"],
  ["as much lag as allowed", { maxLagBytes: 10 }, undefined],
  ["more lag than allowed", { maxLagBytes: 9 }, "SwitchoverRefused"],
] as const)("a switchover: %s", (_name, facts, expected) => {
  const usual = { role: "Primary", member: "me", to: "other", lagBytes: 10, maxLagBytes: undefined, pending: false };
  expect(switchoverRefusal({ ...usual, ...facts })?.code).toBe(expected);
});
