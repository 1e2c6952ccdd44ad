import { describe, expect, test } from "@jest/globals";
import type { EntryKind, Operation, ReadEntry, SequenceRange } from "./entry.js";
import { Image, keysOf, oldestSlotNeeded } from "./image-fold.js";
import { imageToJson } from "./image-json.js";
import { EMPTY_IMAGE, type ImageState } from "./image.js";

const sha256 = "cd".repeat(32);

interface Line {
  readonly kind: EntryKind;
  readonly operations?: readonly Operation[];
  readonly more?: boolean;
  readonly sequences?: readonly SequenceRange[];
}

function append(file: string, offset: number, length: number): Operation {
  return { type: "append", file, offset, bytes: new Uint8Array(length) };
}

function table(file: string, key: string): Operation {
  return { type: "table", file, permissions: 0o644, size: 9, sha256, key };
}

function write(file: string, text: string): Operation {
  return { type: "write", file, permissions: 0o644, bytes: Buffer.from(text) };
}

const remove = (file: string): Operation => ({ type: "remove", file });
const claim: Line = { kind: "claim" };
const heartbeat: Line = { kind: "heartbeat" };
const wal = (...operations: Operation[]): Line => ({ kind: "wal", operations });
const part = (...operations: Operation[]): Line => ({ kind: "wal", operations, more: true });
const trim = (through: number, keys: readonly string[] = [], executedThrough = -1, from = 0): Line => ({
  kind: "trim",
  operations: [{ type: "trim", fromSlot: from, throughSlot: through, keys, executedThrough }],
});

/** The lines as a history: slots from 0, the epoch grows with each claim. */
function historyOf(lines: readonly Line[]): ReadEntry[] {
  let epoch = 0;
  return lines.map(({ kind, operations = [], more = false, sequences = [] }, slot) => {
    if (kind === "claim") epoch++;
    const writer = { member: "m", nonce: "00" };
    return {
      header: { version: 1, cluster: "c", slot, epoch, kind, previous: "", writer, wallTimeMs: 0, more, sequences },
      operations,
      position: { slot, chain: `chain ${slot}` },
      size: 1,
    };
  });
}

function fold(lines: readonly Line[], state: ImageState = EMPTY_IMAGE): Image {
  const image = new Image(state);
  for (const entry of historyOf(lines)) image.push(entry);
  return image;
}

const text = (image: Image): string => JSON.stringify(imageToJson(image.state()));

describe("an image", () => {
  test("holds what the entries say", () => {
    const image = fold([
      claim,
      wal(append("db/1.log", 0, 10), write("db/CURRENT", "a")),
      wal(append("db/1.log", 10, 5), table("db/2.sst", "tables/1/db/2"), {
        type: "directory",
        file: "@companions/d",
        permissions: 0o700,
      }),
      wal(write("db/CURRENT", "b"), append("db/3.log", 0, 1)),
      wal(remove("db/1.log")),
    ]);
    expect([...image.files.keys()].toSorted()).toEqual(["@companions/d", "db/2.sst", "db/3.log", "db/CURRENT"]);
    expect(image.files.get("db/3.log")).toEqual({ kind: "append", size: 1, firstSlot: 3 });
    expect(image.files.get("db/CURRENT")).toEqual({
      kind: "small",
      permissions: 0o644,
      bytes: new Uint8Array(Buffer.from("b")),
    });
    expect(image.files.get("db/2.sst")).toMatchObject({ kind: "table", key: "tables/1/db/2", sha256, size: 9 });
    expect(image.position).toEqual({ slot: 4, chain: "chain 4" });
    expect(oldestSlotNeeded(image.state())).toBe(3);
    expect(keysOf(image.state())).toEqual(new Set(["tables/1/db/2"]));
  });

  test("remembers the last sequence of each database and the claims", () => {
    const image = fold([
      claim,
      { kind: "wal", operations: [append("a/1.log", 0, 1)], sequences: [{ database: "a", first: "1", last: "7" }] },
      claim,
      { kind: "wal", operations: [append("b/1.log", 0, 1)], sequences: [{ database: "b", first: "2", last: "3" }] },
    ]).state();
    expect(image.sequences).toEqual(
      new Map([
        ["a", "7"],
        ["b", "3"],
      ]),
    );
    expect(image.claims).toEqual([0, 2]);
    expect(image.epoch).toBe(2);
  });

  test("its state is a copy", () => {
    const image = fold([claim, wal(append("db/1.log", 0, 1))]);
    const state = image.state();
    const [, , next] = historyOf([claim, heartbeat, wal(append("db/1.log", 1, 1), write("db/CURRENT", "x"))]);
    if (next !== undefined) image.push(next);
    expect(state.files.size).toBe(1);
    expect(state.files.get("db/1.log")).toMatchObject({ size: 1 });
  });

  test("does not keep the bytes it was given", () => {
    const bytes = Buffer.from("abc");
    const image = fold([claim, wal({ type: "write", file: "db/CURRENT", permissions: 0, bytes })]);
    bytes.fill(0);
    expect(image.files.get("db/CURRENT")).toMatchObject({ bytes: new Uint8Array(Buffer.from("abc")) });
  });
});

const begun: readonly Line[] = [
  claim,
  wal(append("db/1.log", 0, 10), table("db/2.sst", "tables/1/db/2"), write("db/CURRENT", "x")),
];

const impossible: readonly (readonly [string, Line, RegExp])[] = [
  ["appends behind the end", wal(append("db/1.log", 11, 1)), /at 11, which has 10/],
  ["appends before the end", wal(append("db/1.log", 9, 1)), /at 9, which has 10/],
  ["begins a file not at 0", wal(append("db/9.log", 1, 1)), /at 1, which has 0/],
  ["appends to a table", wal(append("db/2.sst", 9, 1)), /no WAL or MANIFEST/],
  ["appends to a small file", wal(append("db/CURRENT", 1, 1)), /no WAL or MANIFEST/],
  ["replaces a WAL by a small file", wal(write("db/1.log", "x")), /only grows/],
  ["replaces a WAL by a table", wal(table("db/1.log", "tables/1/db/3")), /only grows/],
  ["removes what isn't there", wal(remove("db/3.log")), /isn't there/],
  ["removes the same twice", wal(remove("db/1.log"), remove("db/1.log")), /isn't there/],
  ["dooms what is in use", trim(0, ["tables/1/db/2"]), /in use/],
  ["trims slots that are not there yet", trim(2), /trims slots 0 to 2/],
];

describe("an entry that", () => {
  test.each(impossible)("%s is refused", (_what, line, reason) => {
    const image = fold(begun);
    const before = text(image);
    const last = historyOf([...begun, line]).at(-1) as ReadEntry;
    expect(() => image.push(last)).toThrow(reason);
    expect(() => image.push(last)).toThrow(expect.objectContaining({ code: "HistoryInvalid", kind: "corrupt" }));
    expect(text(image)).toBe(before);
  });

  test("fails at its last operation takes the others back", () => {
    const image = fold(begun);
    const before = text(image);
    const operations = [
      remove("db/2.sst"),
      table("db/3.sst", "tables/1/db/3"),
      append("db/1.log", 10, 3),
      append("db/4.log", 0, 1),
      write("db/CURRENT", "y"),
      remove("db/nothing"),
    ];
    expect(() => image.push(historyOf([...begun, wal(...operations)]).at(-1) as ReadEntry)).toThrow(/isn't there/);
    expect(text(image)).toBe(before);
    const trims = historyOf([
      ...begun,
      { kind: "trim", operations: [...(trim(0, ["x"]).operations ?? []), ...(trim(9).operations ?? [])] },
    ]);
    const other = fold(begun);
    expect(() => other.push(trims.at(-1) as ReadEntry)).toThrow(/trims slots/);
    expect(text(other)).toBe(before);
  });

  test.each([
    ["has a later epoch without a claim", 2, "wal" as const],
    ["has an earlier epoch", 0, "wal" as const],
    ["claims an epoch again", 1, "claim" as const],
    ["claims an epoch too many", 3, "claim" as const],
  ])("%s is refused", (_what, epoch, kind) => {
    const image = fold(begun);
    const entry = historyOf([...begun, { kind }]).at(-1);
    if (entry === undefined) throw new Error("no entry");
    const changed = { ...entry, header: { ...entry.header, epoch } };
    expect(() => image.push(changed)).toThrow(expect.objectContaining({ code: "HistoryInvalid", kind: "corrupt" }));
  });

  test("was taken in already is refused", () => {
    const image = fold(begun);
    expect(() => image.push(historyOf(begun)[1] as ReadEntry)).toThrow(/taken in already/);
  });
});

describe("a group", () => {
  test("takes effect with its last entry, heartbeats between them or not", () => {
    const lines = [
      claim,
      part(append("db/1.log", 0, 1)),
      heartbeat,
      part(append("db/1.log", 1, 1)),
      wal(append("db/1.log", 2, 1)),
    ];
    const image = new Image(EMPTY_IMAGE);
    const took = historyOf(lines).map((entry) => {
      const slots = image.push(entry).map(({ header }) => header.slot);
      return { slots, at: image.position.slot, files: image.files.size };
    });
    expect(took).toEqual([
      { slots: [], at: 0, files: 0 },
      { slots: [], at: 0, files: 0 },
      { slots: [2], at: 0, files: 0 },
      { slots: [], at: 0, files: 0 },
      { slots: [1, 3, 4], at: 4, files: 1 },
    ]);
    expect(image.files.get("db/1.log")).toEqual({ kind: "append", size: 3, firstSlot: 1 });
  });

  test("that a claim comes before never takes effect", () => {
    const image = fold([claim, part(append("db/1.log", 0, 5)), claim, wal(append("db/1.log", 0, 1))]);
    expect(image.files.get("db/1.log")).toEqual({ kind: "append", size: 1, firstSlot: 3 });
    expect(image.position.slot).toBe(3);
  });

  test("that fails changes nothing at all", () => {
    const image = fold([claim, wal(append("db/1.log", 0, 1)), part(append("db/1.log", 1, 1))]);
    const before = text(image);
    const last = historyOf([claim, claim, claim, wal(append("db/1.log", 1, 1))]).at(-1) as ReadEntry;
    expect(() => image.push({ ...last, header: { ...last.header, epoch: 1 } })).toThrow(/at 1, which has 2/);
    expect(text(image)).toBe(before);
  });

  test("of which a part was read before the start is read again from the position", () => {
    const lines = [
      claim,
      wal(append("db/1.log", 0, 1)),
      part(append("db/1.log", 1, 1)),
      trim(0),
      wal(append("db/1.log", 2, 1)),
      heartbeat,
    ];
    const whole = text(fold(lines));
    for (let stop = 0; stop <= lines.length; stop++) {
      const image = new Image(fold(lines.slice(0, stop)).state());
      const from = image.position.slot;
      for (const entry of historyOf(lines)) if (entry.header.slot > from) image.push(entry);
      expect(text(image)).toBe(whole);
    }
  });
});

describe("garbage", () => {
  test("is an object that no file refers to any more, with the slot that dropped it", () => {
    const lines = [
      claim,
      wal(table("db/1.sst", "k"), table("db/2.sst", "k")),
      wal(remove("db/1.sst")),
      heartbeat,
      wal(remove("db/2.sst")),
    ];
    expect(fold(lines.slice(0, 4)).state().garbage).toEqual(new Map());
    expect(fold(lines).state().garbage).toEqual(new Map([["k", 4]]));
  });

  test("is none while the same object stays under the same or another name", () => {
    const same = fold([claim, wal(table("db/1.sst", "k")), wal(table("db/1.sst", "k"))]);
    const moved = fold([claim, wal(table("db/1.sst", "k")), wal(remove("db/1.sst"), table("db/2.sst", "k"))]);
    expect([same.state().garbage.size, moved.state().garbage.size]).toEqual([0, 0]);
  });

  test("once doomed is kept in mind until it is known to be deleted, and never referred to again", () => {
    const lines = [claim, wal(table("db/1.sst", "k")), wal(remove("db/1.sst")), trim(1, ["k"])];
    const state = fold(lines).state();
    expect(state.garbage.size).toBe(0);
    expect(state.trims).toEqual([{ slot: 3, throughSlot: 1, keys: ["k"] }]);
    expect(state.trimmedThrough).toBe(1);
    expect(() => fold([...lines, wal(table("db/4.sst", "k"))])).toThrow(/k, which is doomed/);
    const again = [...lines, heartbeat, trim(1, [], 3, 2)];
    expect(fold(again).state().trims).toEqual([{ slot: 5, throughSlot: 1, keys: [] }]);
  });

  test("a restart knows what is doomed", () => {
    const lines = [claim, wal(table("db/1.sst", "k")), wal(remove("db/1.sst")), trim(1, ["k"])];
    const image = new Image(fold(lines).state());
    const last = historyOf([...lines, wal(table("db/4.sst", "k"))]).at(-1) as ReadEntry;
    expect(() => image.push(last)).toThrow(/k, which is doomed/);
  });
});

test("random histories: cut anywhere and gone on from the state, the end is the same", () => {
  let seed = 7;
  const next = (below: number): number => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) >>> 8) % below;
  for (let round = 0; round < 40; round++) {
    const sizes = new Map<string, number>();
    const lines: Line[] = [claim];
    let open = false;
    for (let step = 0; step < 25; step++) {
      const file = `db/${next(4)}.log`;
      const size = sizes.get(file) ?? 0;
      const dice = next(10);
      if (dice === 0 && !open) lines.push(claim);
      else if (dice === 1) lines.push(heartbeat);
      else if (dice === 2 && size > 0) {
        lines.push({ ...wal(remove(file)), more: open });
        sizes.delete(file);
      } else {
        const length = 1 + next(5);
        open = dice > 7;
        lines.push({ kind: "checkpoint", operations: [append(file, size, length)], more: open });
        sizes.set(file, size + length);
      }
    }
    const whole = text(fold(lines));
    const stop = next(lines.length);
    const image = new Image(fold(lines.slice(0, stop)).state());
    const from = image.position.slot;
    for (const entry of historyOf(lines)) if (entry.header.slot > from) image.push(entry);
    expect(text(image)).toBe(whole);
  }
});
