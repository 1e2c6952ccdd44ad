import { describe, expect, test } from "@jest/globals";
import type { EntryKind, Operation, ReadEntry } from "../../formats/entry.js";
import { beginWatch, candidacyOf, pollDelayOf, seeEnd, seeEntry, type LeaseWatch } from "./lease-watch.js";

const leaseMs = 15_000;
const settings = { member: "me", leaseMs, jitter: 0 };

function entry(kind: EntryKind, member = "primary", handover?: { to: string; untilMs: number }): ReadEntry {
  const operations: Operation[] = handover === undefined ? [] : [{ type: "handover", ...handover }];
  return {
    header: {
      version: 1,
      cluster: "c",
      slot: 7,
      epoch: 3,
      kind,
      previous: "",
      writer: { member, nonce: "n" },
      wallTimeMs: 0,
      more: false,
      sequences: [],
    },
    operations,
    position: { slot: 7, chain: "x" },
    size: 1,
  };
}

type Step =
  /** An entry was read at this time. */
  | readonly [atMs: number, "sees", EntryKind, { to?: string; untilMs?: number; by?: string }?]
  /** A look sent at this time found nothing. */
  | readonly [atMs: number, "end"];

interface Case {
  readonly name: string;
  readonly start?: { slot?: number; last?: ReadEntry; ownEpoch?: boolean };
  readonly steps: readonly Step[];
  /** When it is asked. */
  readonly nowMs: number;
  readonly may: string | undefined;
}

function watchOf({ start = {}, steps }: Pick<Case, "start" | "steps">): LeaseWatch {
  let watch = beginWatch(
    { slot: start.slot ?? 7, last: start.last, ownEpoch: start.ownEpoch ?? false, atMs: 0 },
    settings.member,
  );
  for (const [atMs, what, kind, more] of steps) {
    if (what === "end") watch = seeEnd(watch, atMs);
    else if (kind !== undefined) {
      const { to, untilMs = 0, by } = more ?? {};
      const handover = to === undefined ? undefined : { to, untilMs };
      watch = seeEntry(watch, entry(kind, by, handover), atMs, settings.member);
    }
  }
  return watch;
}

const cases: readonly Case[] = [
  { name: "nothing looked at yet", steps: [], nowMs: 100_000, may: undefined },
  { name: "only just began to watch an old end", steps: [[10, "end"]], nowMs: 20, may: undefined },
  {
    name: "an end unchanged for less than a lease",
    steps: [
      [1, "end"],
      [14_999, "end"],
    ],
    nowMs: 14_999,
    may: undefined,
  },
  {
    name: "an end unchanged for a lease",
    steps: [
      [1, "end"],
      [15_000, "end"],
    ],
    nowMs: 15_010,
    may: "LeaseExpired",
  },
  {
    name: "time passed, but no look was sent after it (frozen)",
    steps: [[1, "end"]],
    nowMs: 3_600_000,
    may: undefined,
  },
  {
    name: "frozen, and a look after waking finds the same end",
    steps: [
      [1, "end"],
      [3_600_000, "end"],
    ],
    nowMs: 3_600_010,
    may: "LeaseExpired",
  },
  {
    name: "frozen, and a look after waking finds a sign of life",
    steps: [
      [1, "end"],
      [3_600_000, "sees", "heartbeat"],
    ],
    nowMs: 3_600_010,
    may: undefined,
  },
  {
    name: "a look that was sent early and answered late",
    steps: [
      [1, "end"],
      [14_000, "end"],
    ],
    nowMs: 30_000,
    may: undefined,
  },
  {
    name: "a sign of life begins the wait anew",
    steps: [
      [1, "end"],
      [14_000, "sees", "wal"],
      [15_000, "end"],
      [28_999, "end"],
    ],
    nowMs: 29_000,
    may: undefined,
  },
  {
    name: "a lease after a sign of life",
    steps: [
      [14_000, "sees", "wal"],
      [15_000, "end"],
      [29_000, "end"],
    ],
    nowMs: 29_000,
    may: "LeaseExpired",
  },
  {
    name: "an entry seen and no look after it",
    steps: [
      [1, "end"],
      [15_000, "end"],
      [15_001, "sees", "wal"],
    ],
    nowMs: 40_000,
    may: undefined,
  },
  {
    name: "a handover announced is no release",
    steps: [
      [1, "sees", "handover", { to: "", untilMs: 5000 }],
      [100, "end"],
    ],
    nowMs: 100,
    may: undefined,
  },
  {
    name: "a release to anybody",
    steps: [
      [1, "sees", "release", { to: "", untilMs: 5000 }],
      [5, "end"],
    ],
    nowMs: 6,
    may: "Released",
  },
  {
    name: "a release to me",
    steps: [
      [1, "sees", "release", { to: "me", untilMs: 5000 }],
      [5, "end"],
    ],
    nowMs: 6,
    may: "Released",
  },
  {
    name: "a release not looked behind",
    steps: [[1, "sees", "release", { to: "me", untilMs: 5000 }]],
    nowMs: 6,
    may: undefined,
  },
  {
    name: "a release to another one, soon after",
    steps: [
      [1, "sees", "release", { to: "other", untilMs: 5000 }],
      [4999, "end"],
    ],
    nowMs: 4999,
    may: undefined,
  },
  {
    name: "a release to another one that doesn't come",
    steps: [
      [1, "sees", "release", { to: "other", untilMs: 5000 }],
      [5002, "end"],
    ],
    nowMs: 5002,
    may: "Released",
  },
  {
    name: "my own release to anybody: others first",
    steps: [
      [1, "sees", "release", { to: "", untilMs: 5000, by: "me" }],
      [1000, "end"],
    ],
    nowMs: 1000,
    may: undefined,
  },
  {
    name: "my own release, and nobody came",
    steps: [
      [1, "sees", "release", { to: "", untilMs: 5000, by: "me" }],
      [5002, "end"],
    ],
    nowMs: 5002,
    may: "Released",
  },
  {
    name: "a claim after a release",
    steps: [
      [1, "sees", "release", { to: "", untilMs: 5000 }],
      [5, "sees", "claim"],
      [6, "end"],
    ],
    nowMs: 7,
    may: undefined,
  },
  {
    name: "a release that stood there before",
    start: { last: entry("release", "primary", { to: "", untilMs: 5000 }) },
    steps: [[1, "end"]],
    nowMs: 2,
    may: "Released",
  },
  { name: "no history", start: { slot: -1 }, steps: [[1, "end"]], nowMs: 2, may: "EmptyHistory" },
  { name: "no history, not looked yet", start: { slot: -1 }, steps: [], nowMs: 60_000, may: undefined },
  {
    name: "a history that somebody just began",
    start: { slot: -1 },
    steps: [
      [1, "sees", "claim"],
      [2, "end"],
    ],
    nowMs: 3,
    may: undefined,
  },
  { name: "the own last run's epoch", start: { ownEpoch: true }, steps: [[1, "end"]], nowMs: 2, may: "OwnEpoch" },
  {
    name: "the own epoch, and a late entry of that dead run",
    start: { ownEpoch: true },
    steps: [
      [1, "sees", "heartbeat", { by: "me" }],
      [2, "end"],
    ],
    nowMs: 3,
    may: "OwnEpoch",
  },
  {
    name: "the own epoch, and then a claim",
    start: { ownEpoch: true },
    steps: [
      [1, "sees", "claim"],
      [2, "end"],
    ],
    nowMs: 3,
    may: undefined,
  },
  {
    name: "the own epoch, released to another one",
    start: { ownEpoch: true, last: entry("release", "me", { to: "other", untilMs: 5000 }) },
    steps: [[1, "end"]],
    nowMs: 2,
    may: undefined,
  },
  {
    name: "the own epoch, released to anybody by a stop",
    start: { ownEpoch: true, last: entry("release", "me", { to: "", untilMs: 5000 }) },
    steps: [[1, "end"]],
    nowMs: 2,
    may: "OwnEpoch",
  },
];

test.each(cases)("may claim? $name: $may", ({ may, nowMs, ...given }) => {
  expect(candidacyOf(watchOf(given), settings, nowMs)?.reason).toBe(may);
});

test("the time split adds up to the time since the last sign of life", () => {
  const watch = watchOf({
    steps: [
      [1000, "sees", "wal"],
      [1300, "end"],
      [16_000, "end"],
    ],
  });
  expect(candidacyOf(watch, settings, 16_020)).toEqual({ reason: "LeaseExpired", detectMs: 300, leaseMs: 14_720 });
});

test("jitter only ever adds, and a thirtieth of a lease at most", () => {
  const watch = watchOf({
    steps: [
      [0, "sees", "wal"],
      [1, "end"],
      [15_500, "end"],
    ],
  });
  expect(candidacyOf(watch, { ...settings, jitter: 0.99 }, 15_500)?.reason).toBe("LeaseExpired");
  const early = watchOf({
    steps: [
      [0, "sees", "wal"],
      [1, "end"],
      [15_200, "end"],
    ],
  });
  expect(candidacyOf(early, { ...settings, jitter: 0.5 }, 15_200)).toBeUndefined();
});

function delay(steps: readonly Step[], nowMs: number): number {
  return pollDelayOf(watchOf({ steps }), settings, nowMs);
}

describe("when to look next", () => {
  test("usually a part of the lease, within a second", () => {
    expect(delay([[1, "end"]], 2000)).toBe(1000);
    expect(pollDelayOf(watchOf({ steps: [] }), { ...settings, leaseMs: 4000 }, 2000)).toBe(400);
  });

  test("sooner where something was read just now", () => {
    expect(delay([[100, "sees", "wal"]], 200)).toBe(250);
    expect(pollDelayOf(watchOf({ steps: [[100, "sees", "wal"]] }), { ...settings, leaseMs: 3000 }, 200)).toBe(100);
  });

  test("exactly when the lease is over", () => {
    expect(delay([[1, "end"]], 14_700)).toBe(300);
  });

  test("often while a handover is announced, through the entries before its release, and until somebody claims", () => {
    const announced: Step = [100, "sees", "handover", { to: "", untilMs: 5000 }];
    expect(delay([announced], 200)).toBe(50);
    expect(delay([announced, [300, "sees", "wal"]], 400)).toBe(50);
    expect(delay([announced, [300, "sees", "wal"]], 5200)).toBe(1000);
    expect(delay([announced, [300, "sees", "claim"]], 400)).toBe(250);
  });
});
