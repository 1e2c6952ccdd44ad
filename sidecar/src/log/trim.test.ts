import { describe, expect, test } from "@jest/globals";
import { snapshotKey } from "../formats/entry.js";
import { EMPTY_IMAGE, type ImageFile, type ImageState } from "../formats/image.js";
import { keptSnapshots, planTrim, retentionDefaults, type SnapshotFacts, type TrimFacts } from "./trim.js";

const hour = 3_600_000;
const sha256 = "ab".repeat(32);

function snapshot(slot: number, fields: Partial<SnapshotFacts> = {}): SnapshotFacts {
  return { slot, wallTimeMs: slot * hour, oldestSlotNeeded: slot - 2, bases: [], ...fields };
}

function facts(fields: Partial<TrimFacts> = {}, image: Partial<ImageState> = {}): TrimFacts {
  return {
    image: { ...EMPTY_IMAGE, position: { slot: 100, chain: sha256 }, epoch: 5, claims: [0, 12], ...image },
    snapshots: [10, 20, 30, 40].map((slot) => snapshot(slot)),
    damaged: [],
    pinned: new Set(),
    listed: [],
    nowWallMs: 100 * hour,
    executedThrough: -1,
    ...fields,
  };
}

const table = (key: string): ImageFile => ({ kind: "table", size: 1, sha256, key, permissions: 0 });
const retention = { ...retentionDefaults, snapshots: 3 };

const kept = (windowMs: number, snapshots: number, all = facts()): number[] =>
  keptSnapshots(all, { ...retention, windowMs, snapshots }).map(({ slot }) => slot);

describe("the snapshots that are kept", () => {
  test.each([
    ["the newest", 0, 1, [40]],
    ["the newest few", 0, 3, [20, 30, 40]],
    ["all, if there are no more", 0, 9, [10, 20, 30, 40]],
    ["never none", 0, 0, [40]],
    ["those of the window and the one before it", 75 * hour, 1, [20, 30, 40]],
    ["exactly at the window's beginning", 70 * hour, 1, [20, 30, 40]],
    ["all, if the window reaches back further", 1000 * hour, 1, [10, 20, 30, 40]],
    ["the newest, if all are older than the window", 10 * hour, 1, [40]],
    ["the newest few, if the window is shorter than they", 10 * hour, 2, [30, 40]],
  ])("are %s", (_what, windowMs, count, slots) => {
    expect(kept(windowMs, count)).toEqual(slots);
  });

  test("are none that is doomed, nor one that nobody could restore", () => {
    const trims = [{ slot: 90, throughSlot: -1, keys: [snapshotKey(40)] }];
    expect(kept(0, 2, facts({}, { trims }))).toEqual([20, 30]);
    expect(kept(0, 9, facts({}, { trimmedThrough: 20 }))).toEqual([30, 40]);
  });
});

describe("a trim", () => {
  test("names slots below all that kept snapshots need, and the snapshots that are not kept", () => {
    expect(planTrim(facts(), retention)).toEqual({
      type: "trim",
      fromSlot: 0,
      throughSlot: 17,
      keys: [snapshotKey(10)],
      executedThrough: -1,
    });
  });

  test("goes on behind the last one, and is none if there is nothing new", () => {
    const trims = [{ slot: 90, throughSlot: 17, keys: [snapshotKey(10)] }];
    expect(planTrim(facts({}, { trimmedThrough: 17, trims }), retention)).toBeUndefined();
    const later = facts(
      { snapshots: [20, 30, 40, 50].map((slot) => snapshot(slot)), executedThrough: 90 },
      { trimmedThrough: 17 },
    );
    expect(planTrim(later, retention)).toMatchObject({
      fromSlot: 18,
      throughSlot: 27,
      keys: [snapshotKey(20)],
      executedThrough: 90,
    });
  });

  test("is held back by the oldest slot that any kept snapshot needs, not only the oldest one", () => {
    const snapshots = [snapshot(20, { oldestSlotNeeded: 19 }), snapshot(30, { oldestSlotNeeded: 5 }), snapshot(40)];
    expect(planTrim(facts({ snapshots }), retention)).toMatchObject({ throughSlot: 4 });
  });

  test("is none without a snapshot that can be restored", () => {
    expect(planTrim(facts({ snapshots: [], damaged: [10, 20] }), retention)).toBeUndefined();
  });

  test("damaged snapshots are no reason to keep less, and go when they would have gone", () => {
    const snapshots = [10, 20, 30].map((slot) => snapshot(slot));
    expect(planTrim(facts({ snapshots, damaged: [5, 40] }), retention)?.keys).toEqual([snapshotKey(5)]);
  });

  test("names garbage only if the oldest kept snapshot came after it was dropped", () => {
    const garbage = new Map([
      ["tables/1/db/a", 20],
      ["tables/1/db/b", 21],
      ["tables/1/db/c", 5],
    ]);
    const keys = planTrim(facts({}, { garbage }), retention)?.keys;
    expect(keys).toContain("tables/1/db/a");
    expect(keys).not.toContain("tables/1/db/b");
    expect(keys).toContain("tables/1/db/c");
  });

  test("never names what is pinned, in use, or doomed already", () => {
    const garbage = new Map(["a", "b", "c"].map((name) => [`tables/1/db/${name}`, 5]));
    const all = facts(
      { pinned: new Set(["tables/1/db/a"]), listed: ["tables/1/db/d", "tables/2/db/e"] },
      {
        garbage,
        files: new Map([["db/d", table("tables/1/db/d")]]),
        trims: [{ slot: 50, throughSlot: 17, keys: ["tables/1/db/b", "tables/2/db/e", snapshotKey(10)] }],
      },
    );
    expect(planTrim(all, retention)?.keys).toEqual(["tables/1/db/c"]);
  });

  test("names bases of dropped snapshots that no kept one nor the image has", () => {
    const snapshots = [
      snapshot(8, { bases: ["tables/5/db/old", "tables/5/db/kept", "tables/5/db/image"] }),
      snapshot(20, { bases: ["tables/5/db/other"] }),
      snapshot(30, { bases: ["tables/5/db/kept"] }),
      snapshot(40),
    ];
    const base = { key: "tables/5/db/image", size: 1, sha256 };
    const files = new Map<string, ImageFile>([["db/1.log", { kind: "append", size: 2, firstSlot: 9, base }]]);
    expect(planTrim(facts({ snapshots }, { files }), retention)?.keys).toEqual([snapshotKey(8), "tables/5/db/old"]);
  });

  test("names uploads that nothing ever referred to, of earlier epochs only", () => {
    const listed = [
      "tables/4/db/lost",
      "tables/5/db/now",
      "tables/6/db/later",
      "tables/x/db/odd",
      "tables/4/db/garbage",
    ];
    const garbage = new Map([["tables/4/db/garbage", 35]]);
    expect(planTrim(facts({ listed }, { garbage }), retention)?.keys).toEqual([snapshotKey(10), "tables/4/db/lost"]);
  });

  test("is bounded; the rest comes next time", () => {
    const garbage = new Map(Array.from({ length: 25_000 }, (_, number) => [`tables/1/db/${number}`, 5] as const));
    expect(planTrim(facts({}, { garbage }), retention)?.keys).toHaveLength(10_000);
  });
});
