import { appendFile, readFile, unlink, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { logKey, SNAPSHOT_PREFIX, TABLE_PREFIX } from "../formats/entry.js";
import { oldestSlotNeeded } from "../formats/image-fold.js";
import { encodeSnapshot } from "../formats/snapshot.js";
import type { ModelDatabase } from "./ship/testing/model-database.js";
import { deadline, World, type Member } from "./testing/world.js";
import { verifyBucket, type VerifyReport } from "./verify.js";
import { verifyDirectory } from "./verify-directory.js";

let world: World;
let primary: Member;
let database: ModelDatabase;
beforeEach(async () => {
  world = await World.open();
  primary = world.member("a");
  await primary.lead();
  database = await primary.create();
  for (let round = 0; round < 3; round++) {
    await database.put(10);
    await primary.barrier();
    await database.flush();
    await primary.checkpoint();
  }
  await database.put(5);
  await primary.barrier();
});
afterEach(() => world.close());

const verify = (digests = false): Promise<VerifyReport> =>
  verifyBucket(primary.tools, world.shelf, { digests }, deadline());
const found = (report: VerifyReport): string[] => report.findings.map(({ code, subject }) => `${code} ${subject}`);
const keys = (prefix: string): string[] =>
  world.bucket.entries().flatMap(([key]) => (key.startsWith(prefix) ? [key] : []));
const flip = (key: string): void => {
  const bytes = Buffer.from(world.bucket.entries().find(([each]) => each === key)![1]);
  bytes[bytes.length >> 1]! ^= 1;
  world.bucket.poke(key, bytes);
};

describe("a bucket's history", () => {
  test("that is whole has no findings", async () => {
    const report = await verify(true);
    expect(report.findings).toEqual([]);
    expect(report.entries).toBeGreaterThan(5);
    expect(report.snapshots).toBeGreaterThan(2);
    expect(report.objects).toBe(keys(TABLE_PREFIX).length);
    expect(report.end.slot).toBe((await world.entries()).at(-1)!.position.slot);
  });

  test("without a snapshot is checked from its beginning", async () => {
    for (const key of keys(SNAPSHOT_PREFIX)) await world.bucket.delete(key, {});
    const report = await verify(true);
    expect(report.findings).toEqual([]);
    expect(report.objects).toBe(keys(TABLE_PREFIX).length);
  });

  test("with damage of every kind is told all of it at once", async () => {
    const tables = keys(TABLE_PREFIX);
    const snapshots = keys(SNAPSHOT_PREFIX);
    await world.bucket.delete(tables[0]!, {});
    world.bucket.poke(tables[1]!, Buffer.from("short"));
    flip(snapshots[1]!);
    const slot = (await world.entries()).at(-1)!.position.slot;
    flip(logKey(slot - 1));
    world.bucket.poke("tables/9/db/forgotten", Buffer.from("x"));
    const report = await verify();
    expect(found(report).toSorted()).toEqual(
      [
        `EntryCorrupt log/${slot - 1}`,
        `ObjectMissing ${tables[0]!}`,
        `ObjectSize ${tables[1]!}`,
        "ObjectsUnreferenced tables/9/db/forgotten",
        `SnapshotCorrupt snapshots/${Number.parseInt(snapshots[1]!.slice(SNAPSHOT_PREFIX.length), 10)}`,
      ].toSorted(),
    );
    expect(report.end.slot).toBe(slot);
  });

  test("with a missing slot", async () => {
    const slot = (await world.entries()).at(-1)!.position.slot;
    await world.bucket.delete(logKey(slot - 1), {});
    expect(found(await verify())).toEqual([`LogGap log/${slot - 1}`]);
  });

  test("with a flipped bit in a table: only reading it tells", async () => {
    const [table] = keys(TABLE_PREFIX);
    flip(table!);
    expect(found(await verify(false))).toEqual([]);
    expect(found(await verify(true))).toEqual([`ObjectCorrupt ${table!}`]);
  });

  test("with a snapshot that says something else than the log", async () => {
    const slot = (await world.shelf.list(deadline())).at(-1)!;
    const snapshot = (await world.shelf.read(slot, deadline()))!;
    const files = new Map(snapshot.files);
    const [path] = [...files.keys()].filter((each) => each.endsWith(".sst"));
    files.delete(path!);
    const bytes = await encodeSnapshot({ ...snapshot, files }, world.compression);
    const key = keys(SNAPSHOT_PREFIX).at(-1)!;
    world.bucket.poke(key, bytes);
    expect(found(await verify())).toEqual([`SnapshotMismatch snapshots/${slot}`]);
  });

  test("of which a trim doomed the beginning needs none of it, whether it is deleted yet or not", async () => {
    await database.rollManifest();
    await database.put(1);
    await database.flush();
    await database.compact();
    await primary.checkpoint();
    await primary.die();
    const newest = (await world.shelf.read((await world.shelf.list(deadline())).at(-1)!, deadline()))!;
    const throughSlot = oldestSlotNeeded(newest) - 1;
    expect(throughSlot).toBeGreaterThan(2);
    const [table] = keys(TABLE_PREFIX).filter((key) =>
      [...newest.files.values()].every((file) => !("key" in file) || file.key !== key),
    );
    expect(table).toBeDefined();
    const doomed = [table!];
    const writer = await world.member("t").claim((await world.entries()).at(-1)!.position, newest.epoch + 1);
    const trim = { type: "trim" as const, fromSlot: 0, throughSlot, keys: doomed, executedThrough: -1 };
    await writer.append({ kind: "trim", operations: [trim], sequences: [], more: false }, deadline());
    expect((await verify(true)).findings).toEqual([]);
    for (const key of doomed) await world.bucket.delete(key, {});
    for (const { header } of await world.entries()) {
      if (header.kind !== "claim" && header.slot <= throughSlot) await world.bucket.delete(logKey(header.slot), {});
    }
    expect((await verify(true)).findings).toEqual([]);
  });
});

const check = async (member: Member): Promise<string[]> => {
  const { tools, parts } = member;
  return found(await verifyDirectory(tools, world.shelf, parts.store, deadline()));
};
const local = (path: string): string => path.replace("/a/", "/b/");

describe("a directory", () => {
  let standby: Member;
  beforeEach(async () => {
    standby = world.member("b");
    await standby.follow();
  });
  test("of a follower that is whole has no findings", async () => expect(await check(standby)).toEqual([]));

  test("of a follower with damage of every kind is told all of it, and nothing is changed", async () => {
    const wal = await readFile(local(database.walFile));
    wal[20]! ^= 1;
    await writeFile(local(database.walFile), wal);
    const [one, two] = database.tableFiles.map(local);
    await unlink(one!);
    const table = await readFile(two!);
    table[3]! ^= 1;
    await writeFile(two!, table);
    await writeFile(`${standby.directory}/db/CURRENT`, "MANIFEST-000099\n");
    await writeFile(`${standby.directory}/db/999999.sst`, "mine");
    const before = await standby.disk();
    expect((await check(standby)).toSorted()).toEqual(
      [
        `FileDiffers ${local(database.walFile)}`,
        `FileMissing ${one!}`,
        `FileDiffers ${two!}`,
        `FileDiffers ${standby.directory}/db/CURRENT`,
        `FileUnknown ${standby.directory}/db/999999.sst`,
      ].toSorted(),
    );
    expect(await standby.disk()).toEqual(before);
  });

  test("of a primary is whole though it holds more than the log", async () => {
    await database.put(3);
    await primary.die();
    await database.put(3);
    expect(await check(primary)).toEqual([]);
    const wal = await readFile(database.walFile);
    wal[20]! ^= 1;
    await writeFile(database.walFile, wal);
    expect(await check(primary)).toEqual([`FileDiffers ${database.walFile}`]);
  });

  test("that nothing is known of, or that was being restored", async () => {
    const state = `${standby.directory}/.metamaster/state.json`;
    const text = await readFile(state, "utf8");
    await writeFile(state, text.replace('"role":"follower"', '"role":"restoring"'));
    expect(await check(standby)).toEqual([`RestoreUnfinished ${standby.directory}/.metamaster`]);
    await appendFile(state, "x");
    expect(await check(standby)).toEqual([`StateUnreadable ${state}`]);
    await unlink(state);
    expect(await check(standby)).toEqual([`StateMissing ${state}`]);
  });
});
