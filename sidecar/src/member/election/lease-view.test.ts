import { describe, expect, test } from "@jest/globals";
import type { LeaseRecord, StoredLease } from "../../kube/leases.js";
import { leaseLife } from "./lease-life.js";
import { holderText, parseHolder, released, renewed, stampOf, takenBy } from "./lease-record.js";
import { seeLease, verdictOf, type LeaseView, type LogSays } from "./lease-view.js";

const self = { uid: "uid-a", nonce: "a2" };
const settings = { self, leaseMs: 6000, jitter: 0 };

function storing(record: LeaseRecord): StoredLease {
  return { resourceVersion: "1", record, object: {} };
}

function lease(holder: string, version = "1", durationMs = 6000): StoredLease {
  const record = { holder, durationMs, acquireTime: "", renewTime: `r${version}`, transitions: 0, heldBy: [] };
  return { resourceVersion: version, record, object: {} };
}

/** Read at 1000; looks sent at these moments found it unchanged. */
function watched(stored: StoredLease | undefined, ...looksMs: number[]): LeaseView {
  let view = seeLease(undefined, stored, { sentMs: 990, readMs: 1000 });
  for (const sentMs of looksMs) view = seeLease(view, stored, { sentMs, readMs: sentMs + 10 });
  return view;
}

const life: LogSays = { last: "Life", open: false, releasedBy: undefined, emptyMs: 1000 };
const nothing: LogSays = { ...life, last: "Nothing", open: true };
const own: LogSays = { ...nothing, last: "OwnEpoch" };
const freed: LogSays = { ...life, last: "Release", open: true, releasedBy: "b1" };
const reserved: LogSays = { ...freed, open: false };

const yes = (reason: string) => ({ may: true, reason });
const until = (dueMs: number) => ({ may: false, dueMs });
const unless = (ask: string, dueMs: number) => ({ may: false, ask, dueMs });

describe("may this member take the lease", () => {
  const other = lease("uid-b_b1");
  const cases: readonly [string, LeaseView, LogSays, object][] = [
    ["no lease, no history", watched(undefined), nothing, yes("EmptyHistory")],
    ["no lease, no history, a moment too early", watched(undefined), { ...nothing, open: false }, until(Infinity)],
    ["no lease, and a primary that may live", watched(undefined, 6999), life, until(7000)],
    ["no lease for a whole lease", watched(undefined, 7000), life, yes("LeaseExpired")],
    ["no lease, the own dead run wrote last", watched(undefined), own, yes("OwnEpoch")],
    ["no lease, released in the log", watched(undefined), freed, yes("Released")],
    ["released", watched(lease("")), freed, yes("Released")],
    ["released, never claimed with", watched(lease("", "1", 1000)), life, yes("Released")],
    ["released, for whom is not read yet", watched(lease("", "1", 1000)), { ...life, emptyMs: 999 }, until(Infinity)],
    ["emptied by a person, just read", watched(lease("")), life, until(7000)],
    ["emptied by a person, for a lease", watched(lease(""), 7000), life, yes("LeaseExpired")],
    ["released, and reserved for another", watched(lease("")), reserved, until(Infinity)],
    ["held, and reserved for another", watched(other, 99_000), reserved, until(Infinity)],
    ["held, released in the log by its holder", watched(other), freed, yes("Released")],
    ["held by another than who released in the log", watched(lease("uid-c_c1")), freed, unless("Evidence", 7000)],
    ["held, just read", watched(other), life, unless("Evidence", 7000)],
    ["held, unchanged for not quite a lease", watched(other, 6999), life, unless("Evidence", 7000)],
    ["held, unchanged for a lease", watched(other, 7000), life, yes("LeaseExpired")],
    ["held with a longer promise", watched(lease("uid-b_b1", "1", 15_000), 15_999), life, unless("Evidence", 16_000)],
    ["held with a longer promise, kept", watched(lease("uid-b_b1", "1", 15_000), 16_000), life, yes("LeaseExpired")],
    [
      "held with a promise that nobody gives",
      watched(lease("uid-b_b1", "1", 1e12), 599_999),
      life,
      unless("Evidence", 601_000),
    ],
    [
      "the same, for as long as anybody may promise",
      watched(lease("uid-b_b1", "1", 1e12), 601_000),
      life,
      yes("LeaseExpired"),
    ],
    ["held with a shorter promise", watched(lease("uid-b_b1", "1", 1000), 6999), life, unless("Evidence", 7000)],
    ["held by a stranger", watched(lease("somebody")), life, unless("Evidence", 7000)],
    ["held by another, the own dead run wrote last", watched(other), own, unless("Evidence", 7000)],
    ["held by another, no history yet", watched(other), nothing, unless("Evidence", 7000)],
    ["held by this pod's earlier run", watched(lease("uid-a_a1")), life, unless("Own", Infinity)],
    ["held by this very run, which gave up", watched(lease("uid-a_a2"), 6999), life, until(7000)],
    ["held by this very run, with a tail to ship", watched(lease("uid-a_a2")), own, yes("OwnEpoch")],
  ];

  test.each(cases)("%s", (_name, view, log, expected) => {
    expect(verdictOf(view, log, settings)).toEqual(expected);
  });

  test("jitter makes it later, never sooner", () => {
    expect(verdictOf(watched(other, 7000), life, { ...settings, jitter: 1 }).may).toBe(false);
    expect(verdictOf(watched(other, 7201), life, { ...settings, jitter: 1 })).toEqual(yes("LeaseExpired"));
  });
});

describe("what counts as unchanged", () => {
  const first = watched(lease("b_1"), 2000);

  test.each([
    ["a renewal", lease("b_1", "2")],
    ["another holder", { ...lease("b_1"), record: lease("c_1").record }],
    ["only another version (somebody labelled it)", { ...lease("b_1"), resourceVersion: "9" }],
    ["its deletion", undefined],
  ])("%s begins the wait anew", (_name, stored) => {
    const view = seeLease(first, stored, { sentMs: 3000, readMs: 3010 });
    expect(view).toEqual({ stored, readAtMs: 3010, firstSameMs: undefined, lastSameMs: undefined });
  });

  test("the wait counts from the reading to the sending of the latest look", () => {
    const view = seeLease(first, lease("b_1"), { sentMs: 3000, readMs: 9000 });
    expect(view).toMatchObject({ readAtMs: 1000, firstSameMs: 2000, lastSameMs: 3000 });
  });
});

describe("records", () => {
  test("holders", () => {
    expect(parseHolder(holderText(self))).toEqual(self);
    expect(parseHolder("with_underscores_n")).toEqual({ uid: "with_underscores", nonce: "n" });
    for (const text of ["", "_", "x", "_n", "u_"]) expect(parseHolder(text)).toBeUndefined();
  });

  test("who held it is remembered, each once, the newest first, and not without end", () => {
    const again = released(takenBy(self, 6000, "t", lease("uid-b_b1")), "u");
    const other = takenBy({ uid: "uid-b", nonce: "b1" }, 6000, "t", storing(again));
    expect(other.heldBy).toEqual(["b1", "a2"]);
    expect(leaseLife(storing(other))).toEqual({ mark: "uid-b_b1 at t", runs: ["b1", "b1", "a2"] });
    expect(leaseLife(storing(again))).toEqual({ mark: undefined, runs: ["a2", "b1"] });
    expect(leaseLife(undefined)).toBeUndefined();
    let record = other;
    for (let i = 0; i < 100; i++) record = takenBy({ uid: "u", nonce: `n${i}` }, 6000, "t", storing(record));
    expect(record.heldBy).toHaveLength(32);
    expect(record.heldBy[0]).toBe("n99");
  });

  test("no two stamps of a run are alike, and each is a time with microseconds", () => {
    const stamps = [1, 2, 3].map((writing) => stampOf(0, writing));
    expect(new Set(stamps).size).toBe(3);
    expect(stamps[0]).toBe("1970-01-01T00:00:00.000001Z");
  });

  test("taking counts a transition, renewing and releasing don't", () => {
    const taken = takenBy(self, 6000, "t", lease("uid-b_b1"));
    expect(taken).toEqual({
      holder: "uid-a_a2",
      durationMs: 6000,
      acquireTime: "t",
      renewTime: "t",
      transitions: 1,
      heldBy: ["a2", "b1"],
    });
    expect(takenBy(self, 6000, "t", undefined)).toMatchObject({ transitions: 0, heldBy: ["a2"] });
    expect(renewed(taken, 9000, "u")).toEqual({ ...taken, durationMs: 9000, renewTime: "u" });
    expect(released(taken, "u")).toEqual({ ...taken, holder: "", durationMs: 1000, renewTime: "u" });
  });
});
