import { expect, test } from "@jest/globals";
import { SystemClock } from "../base/system-clock.js";
import { IdentityGuard } from "./identity-guard.js";
import { MemoryLog } from "./testing/memory-log.js";

const self = { member: "me", nonce: "now" };
type Look = readonly [member: string, nonce: string];

function entriesOf(looks: readonly Look[]): MemoryLog {
  const log = new MemoryLog(new SystemClock());
  for (const [member, nonce] of looks) log.write("heartbeat", { member, nonce }, 1);
  return log;
}

const cases: readonly (readonly [string, readonly Look[], readonly Look[], boolean])[] = [
  [
    "others",
    [],
    [
      ["a", "x"],
      ["a", "x"],
      ["b", "now"],
    ],
    false,
  ],
  [
    "this run's own",
    [],
    [
      ["me", "now"],
      ["me", "now"],
      ["me", "now"],
    ],
    false,
  ],
  [
    "an earlier run's of this directory",
    [],
    [
      ["me", "before"],
      ["me", "before"],
    ],
    false,
  ],
  ["one of an unknown run: a put that landed late", [], [["me", "x"]], false],
  [
    "two of an unknown run, written before this one began",
    [
      ["me", "x"],
      ["me", "x"],
      ["me", "x"],
    ],
    [["me", "x"]],
    false,
  ],
  [
    "one each of two unknown runs",
    [],
    [
      ["me", "x"],
      ["me", "y"],
    ],
    false,
  ],
  [
    "two of an unknown run",
    [],
    [
      ["me", "x"],
      ["a", "x"],
      ["me", "x"],
    ],
    true,
  ],
];

test.each(cases)("another process under this name? %s", (_name, before, after, expected) => {
  const guard = new IdentityGuard(self, ["before"]);
  for (const entry of entriesOf(before).entries) guard.observe(entry);
  guard.arm();
  const look = (): void => {
    for (const entry of entriesOf(after).entries) guard.observe(entry);
  };
  if (expected) expect(look).toThrow(expect.objectContaining({ code: "DuplicateIdentity" }));
  else expect(look).not.toThrow();
});
