import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import type { Logger } from "../base/log.js";
import { NodeFileSystem } from "../base/node-file-system.js";
import type { FailoverRecord } from "./failover-record.js";
import { FileRecords } from "./file-records.js";
import type { Halt } from "./halts.js";

let folder: string;
const warnings: string[] = [];
const logger: Logger = {
  debug: () => {},
  info: () => {},
  warn: (_fields, message) => warnings.push(message),
  error: () => {},
};
const halt: Halt = {
  reason: "LogGap",
  message: "slot 7 is missing",
  code: "LogGap",
  hint: "bring it back",
  details: { slot: 7, trimmed: false, key: "log/7" },
  atWallMs: 12,
};
const failover: FailoverRecord = {
  kind: "Failover",
  cause: "LeaseExpired",
  from: "a",
  to: "b",
  epoch: 2,
  slot: 9,
  atWallMs: 1,
  detectMs: 2,
  leaseMs: 3,
  drainMs: 4,
  claimMs: 5,
  openMs: 6,
  firstWriteMs: undefined,
};

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "mm-records-")), ".metamaster");
  warnings.length = 0;
});

afterEach(() => {
  rmSync(join(folder, ".."), { recursive: true });
});

function records(): FileRecords {
  return new FileRecords(new NodeFileSystem(), folder, logger);
}

test("nothing is there at first", async () => {
  expect(await records().readHalt()).toBeUndefined();
  expect(await records().readFailovers()).toEqual([]);
});

test("a halt is kept over restarts until it is cleared", async () => {
  await records().writeHalt(halt);
  expect(await records().readHalt()).toEqual(halt);
  await records().clearHalt();
  expect(await records().readHalt()).toBeUndefined();
  expect(readdirSync(folder)).toEqual([]);
});

test.each(["", "{", "[]", '{"reason":"SomethingLater"}', '"LogGap"'])(
  "a halt that can't be read is a halt: %s",
  async (text) => {
    await records().writeHalt(halt);
    writeFileSync(join(folder, "halted.json"), text);
    expect(await records().readHalt()).toMatchObject({
      reason: "LocalUnusable",
      message: expect.stringContaining("halted.json"),
    });
  },
);

test("earlier runs are told, newest first; failovers beside them survive", async () => {
  expect(await records().beginRun("one")).toEqual([]);
  const second = records();
  await Promise.all([second.writeFailovers([failover]), second.beginRun("two")]);
  expect(await records().beginRun("three")).toEqual(["two", "one"]);
  expect(await records().readFailovers()).toEqual([failover]);
});

test("a history that can't be read is begun anew, with a word", async () => {
  await records().beginRun("one");
  writeFileSync(join(folder, "member.json"), "{");
  expect(await records().beginRun("two")).toEqual([]);
  expect(warnings.join()).toContain("member.json");
  writeFileSync(
    join(folder, "member.json"),
    JSON.stringify({ runs: [1, "x"], failovers: [{ ...failover, epoch: "2" }, failover, 3] }),
  );
  expect(await records().beginRun("three")).toEqual(["x"]);
  expect(await records().readFailovers()).toEqual([failover]);
});
