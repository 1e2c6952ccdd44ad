import { sha256Hex } from "../base/sha256.js";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { logKey, snapshotKey, SNAPSHOT_PREFIX, TABLE_PREFIX } from "../formats/entry.js";
import { encodeSnapshot } from "../formats/snapshot.js";
import { restore, restoreForMaster } from "./restore.js";
import type { RestoreTarget } from "./restore-target.js";
import type { ModelDatabase } from "./ship/testing/model-database.js";
import { deadline, differences, rowCount, World, type Member } from "./testing/world.js";

let world: World;
let primary: Member;
let database: ModelDatabase;
/** Slot and rows after each barrier. */
let marks: { readonly slot: number; readonly rows: bigint; readonly wallMs: number }[];
beforeEach(async () => {
  world = await World.open();
  primary = world.member("a");
  await primary.lead();
  database = await primary.create();
  marks = [];
  for (let round = 0; round < 4; round++) {
    await database.put(10);
    await primary.barrier();
    marks.push({ slot: primary.writer!.position.slot, rows: database.last, wallMs: world.clock.wallMs() });
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (round === 2) continue;
    await database.flush();
    await primary.checkpoint();
  }
});
afterEach(() => world.close());

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
  );
let made = 0;
const restored = async (target: RestoreTarget): Promise<Member> => {
  const member = world.member(`r${made++}`);
  await restore(member.parts, target, deadline());
  return member;
};
const keys = (prefix: string): string[] =>
  world.bucket.entries().flatMap(([key]) => (key.startsWith(prefix) ? [key] : []));

describe("a point in history", () => {
  test("by slot: what was durable there, at every slot", async () => {
    const end = (await world.entries()).at(-1)!.position.slot;
    for (let slot = 0; slot <= end; slot++) {
      const member = await restored({ kind: "slot", slot });
      expect(differences(await member.disk(), await world.files(slot))).toEqual([]);
    }
  });

  test("by sequence number: nothing beyond it", async () => {
    for (const { rows } of marks) {
      const member = await restored({ kind: "sequence", database: "db", sequence: rows });
      expect(rowCount(await member.disk())).toBe(rows);
      const less = await restored({ kind: "sequence", database: "db", sequence: rows - 1n });
      expect(rowCount(await less.disk())).toBeLessThan(rows);
    }
  });

  test("by time: up to the last entry before it", async () => {
    for (const { rows, wallMs } of marks) {
      const member = await restored({ kind: "time", wallMs: wallMs + 1 });
      expect(rowCount(await member.disk())).toBe(rows);
    }
  });

  test("before the first entry there is nothing to restore", async () => {
    const first = (await world.entries())[0]!.header.wallTimeMs;
    expect(await code(restored({ kind: "time", wallMs: first - 1 }))).toBe("TargetTooOld");
    expect(rowCount(await (await restored({ kind: "time", wallMs: first })).disk())).toBe(0n);
  });

  test("that is not there yet, or no more, is refused", async () => {
    expect(await code(restored({ kind: "slot", slot: 10_000 }))).toBe("TargetNotReached");
    const snapshots = await world.shelf.list(deadline());
    for (let slot = 1; slot < snapshots.at(-1)!; slot++) {
      if ((await world.entries())[slot]?.header.kind !== "claim")
        await world.bucket.delete(logKey(slot), {}).catch(() => undefined);
      break;
    }
    for (const slot of snapshots.slice(0, -1)) await world.bucket.delete(snapshotKey(slot), {});
    await world.bucket.delete(logKey(1), {});
    expect(await code(restored({ kind: "slot", slot: 2 }))).toBe("TargetTooOld");
  });
});

test("a damaged snapshot is passed over for an older one", async () => {
  const [newest] = keys(SNAPSHOT_PREFIX).toReversed();
  world.bucket.poke(newest!, Buffer.from("rubbish"));
  const member = await restored({ kind: "end" });
  expect(member.said.has("warn", "An older snapshot is used")).toBe(true);
  expect(differences(await member.disk(), await world.files())).toEqual([]);
});

test("if every snapshot is damaged and the log was trimmed, that is what is said", async () => {
  for (const key of keys(SNAPSHOT_PREFIX)) world.bucket.poke(key, Buffer.from("rubbish"));
  await world.bucket.delete(logKey(1), {});
  expect(await code(restored({ kind: "end" }))).toBe("SnapshotCorrupt");
});

/** The newest snapshot as it would be with bases for all that it has of WALs and MANIFESTs. */
async function withBases(): Promise<{ readonly slot: number; readonly bytes: Uint8Array }> {
  const slot = (await world.shelf.list(deadline())).at(-1)!;
  const snapshot = (await world.shelf.read(slot, deadline()))!;
  const whole = await world.files(slot);
  const files = new Map(snapshot.files);
  for (const [path, file] of files) {
    if (file.kind !== "append" || file.size === 0) continue;
    const bytes = whole.get(path)!;
    const key = `tables/1/db/base-${path.replaceAll("/", "-")}`;
    world.bucket.poke(key, bytes);
    const sha256 = sha256Hex(bytes);
    files.set(path, { ...file, firstSlot: slot + 1, base: { key, size: bytes.length, sha256 } });
  }
  return { slot, bytes: await encodeSnapshot({ ...snapshot, files }, world.compression) };
}

test("a snapshot that needs slots which are trimmed is passed over for an older one that does not", async () => {
  const { slot, bytes } = await withBases();
  await database.put(7);
  await primary.checkpoint();
  expect((await world.shelf.list(deadline())).at(-1)).toBeGreaterThan(slot);
  world.bucket.poke(snapshotKey(slot), bytes);
  for (let old = 1; old <= slot; old++) await world.bucket.delete(logKey(old), {});
  const member = await restored({ kind: "end" });
  expect(member.said.has("warn", "An older snapshot is used")).toBe(true);
  expect(rowCount(await member.disk())).toBe(database.last);
});

test("a WAL whose beginning is an object of its own is put together from both", async () => {
  const { slot, bytes } = await withBases();
  await database.put(7);
  await primary.barrier();
  world.bucket.poke(snapshotKey(slot), bytes);
  // None of it can come from the log any more.
  for (let old = 1; old <= slot; old++) await world.bucket.delete(logKey(old), {});
  const member = await restored({ kind: "end" });
  expect(rowCount(await member.disk())).toBe(database.last);
  // Again, over what is there: nothing is fetched.
  const again = await restore(member.parts, { kind: "end" }, deadline());
  expect(again).toMatchObject({ fetchedBytes: 0, logBytes: 0 });
});

test("what is there by digest is not fetched again, under whatever name", async () => {
  const first = await restored({ kind: "end" });
  const gone = keys(TABLE_PREFIX);
  const again = await restore(first.parts, { kind: "end" }, deadline());
  expect(again).toMatchObject({ fetchedBytes: 0, logBytes: 0 });
  expect(again.reusedBytes).toBeGreaterThan(0);
  expect(gone.length).toBeGreaterThan(0);
});

test("files that history does not know go, files of the user stay", async () => {
  const member = world.member("r");
  await mkdir(`${member.directory}/db`, { recursive: true });
  await writeFile(`${member.directory}/db/999999.log`, "stray");
  await writeFile(`${member.directory}/db/LOG`, "text");
  await writeFile(`${member.directory}/db/notes.txt`, "mine");
  await restore(member.parts, { kind: "end" }, deadline());
  expect(await readdir(`${member.directory}/db`)).toEqual(expect.arrayContaining(["LOG", "notes.txt"]));
  expect(await readdir(`${member.directory}/db`)).not.toContain("999999.log");
});

test("for a master the OPTIONS lead nowhere else", async () => {
  await writeFile(`${primary.directory}/db/OPTIONS-000005`, "[Version]\n[DBOptions]\n  wal_dir=/the/original\n");
  await database.rollManifest();
  await primary.checkpoint();
  const member = world.member("r");
  await restoreForMaster(member.parts, { kind: "end" }, deadline());
  for (const name of (await readdir(`${member.directory}/db`)).filter((each) => each.startsWith("OPTIONS"))) {
    expect(await readFile(`${member.directory}/db/${name}`, "utf8")).not.toContain("/the/original");
  }
});
