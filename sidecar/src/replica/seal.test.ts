import { appendFile, link, mkdir, readFile, readdir, stat, truncate, unlink, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { ModelDatabase } from "./ship/testing/model-database.js";
import { differences, rowCount, World, type Member } from "./testing/world.js";

let world: World;
let primary: Member;
let database: ModelDatabase;
let standby: Member;
const local = (path: string): string => path.replace("/a/", "/b/");
beforeEach(async () => {
  world = await World.open();
  primary = world.member("a");
  await primary.lead();
  database = await primary.create();
  await database.put(10);
  await primary.checkpoint();
  await database.flush();
  await primary.checkpoint();
  // Records over many blocks, and one that is larger than a block.
  for (let batch = 0; batch < 50; batch++) await database.put(20, 100);
  await database.put(1, 100_000);
  await primary.barrier();
  await primary.die();
  standby = world.member("b");
  await standby.follow();
});
afterEach(() => world.close());

async function seal(member: Member): Promise<unknown> {
  const { follower } = member;
  if (follower === undefined) throw new Error("no follower");
  const { epoch } = follower.image;
  const writer = await member.claim(follower.seen, epoch + 1);
  return await follower.seal(writer.position, epoch + 1).catch((error: unknown) => error);
}

describe("an image that a master may open", () => {
  test("is whole, names the claim, and the state says whose it is", async () => {
    const image = await seal(standby);
    const claim = (await world.entries()).at(-1)!.position;
    expect(image).toMatchObject({ position: claim, epoch: 2, claims: [0, claim.slot] });
    const state: unknown = JSON.parse(await readFile(`${standby.directory}/.metamaster/state.json`, "utf8"));
    expect(state).toMatchObject({ role: "primary", epoch: 2, claim, runs: [standby.nonce] });
    expect(rowCount(await standby.disk())).toBe(1011n);
  });

  test("has no second name for what RocksDB changes, and no links of an earlier epoch", async () => {
    const links = `${standby.directory}/.metamaster/links/db`;
    await mkdir(links, { recursive: true });
    const wal = local(database.walFile);
    const manifest = local(database.manifestFile);
    await link(wal, `${links}/000001.log`);
    await link(manifest, `${world.root}/backup`);
    await seal(standby);
    expect((await stat(wal)).nlink).toBe(1);
    expect((await stat(manifest)).nlink).toBe(1);
    await expect(readdir(links)).rejects.toThrow("ENOENT");
    expect(differences(await standby.disk(), await world.files())).toEqual([]);
    expect(await readFile(`${world.root}/backup`)).toEqual(await readFile(manifest));
  });

  test("has OPTIONS that lead nowhere else, and tables that may have many names", async () => {
    await standby.die();
    await primary.restart();
    await primary.lead();
    const name = (await readdir(`${primary.directory}/db`)).find((each) => each.startsWith("OPTIONS"));
    await writeFile(`${primary.directory}/db/${name!}`, "[DBOptions]\n  wal_dir=/the/original\n  max_open_files=7\n");
    await primary.checkpoint();
    await primary.die();
    await standby.follow();
    const path = `${standby.directory}/db/${name!}`;
    expect(await readFile(path, "utf8")).toContain("/the/original");
    await seal(standby);
    expect(await readFile(path, "utf8")).toBe("[DBOptions]\n  wal_dir=\n  max_open_files=7\n");
  });

  const holes: [string, (database: ModelDatabase) => Promise<void>, RegExp][] = [
    ["a WAL is gone", ({ walFile }) => unlink(local(walFile)), /000\d+\.log.* is missing/],
    ["a WAL is short", ({ walFile }) => truncate(local(walFile), 1000), /has 1000 bytes, \d+ in the image/],
    ["a WAL is long", ({ walFile }) => appendFile(local(walFile), "x"), /has \d+ bytes/],
    ["a table is gone", ({ tableFiles }) => unlink(local(tableFiles[0]!)), /\.sst.* is missing/],
    ["a table is short", ({ tableFiles }) => truncate(local(tableFiles[0]!), 3), /has 3 bytes/],
    ["the MANIFEST is gone", ({ manifestFile }) => unlink(local(manifestFile)), /MANIFEST-.* is missing/],
    ["CURRENT is gone", ({ path }) => unlink(`${local(`${path}/`)}CURRENT`), /CURRENT.* is missing/],
    [
      "CURRENT names another",
      ({ path }) => writeFile(`${local(`${path}/`)}CURRENT`, "MANIFEST-000099\n"),
      /names MANIFEST-000099, which is not there/,
    ],
    [
      "a WAL is too many",
      ({ path }) => writeFile(`${local(`${path}/`)}999999.log`, "x"),
      /999999\.log is not part of the image/,
    ],
    [
      "a MANIFEST is too many",
      ({ path }) => writeFile(`${local(`${path}/`)}MANIFEST-999999`, "x"),
      /is not part of the image/,
    ],
    ["a table is too many", ({ path }) => writeFile(`${local(`${path}/`)}999999.sst`, "x"), /is not part of the image/],
  ];
  test.each(holes)("is refused, by the name of the hole, if %s", async (_what, damage, message) => {
    await damage(database);
    const error = await seal(standby);
    expect(error).toMatchObject({ code: "ImageIncomplete", kind: "corrupt" });
    expect(String(error)).toMatch(message);
  });

  test("is refused if the log itself ends in half a record", async () => {
    const writer = await standby.claim(standby.follower!.seen, 2);
    const bytes = database.batch(1, 50);
    const name = database.walFile.slice(database.walFile.lastIndexOf("/") + 1);
    const { size } = await stat(local(database.walFile));
    await writer.append(
      {
        kind: "wal",
        operations: [{ type: "append", file: `db/${name}`, offset: size, bytes: bytes.subarray(0, bytes.length - 3) }],
        sequences: [],
        more: false,
      },
      new AbortController().signal,
    );
    await standby.catchUp();
    const claim = await standby.claim(standby.follower!.seen, 3);
    const error = await standby.follower!.seal(claim.position, 3).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "ImageIncomplete", details: { offset: size } });
    expect(String(error)).toContain("in the middle of a record");
  });

  test("is of no further use to its follower", async () => {
    await seal(standby);
    await expect(standby.follower!.poll(new AbortController().signal)).rejects.toMatchObject({
      code: "FollowerSealed",
    });
    await expect(standby.follower!.save()).rejects.toMatchObject({ code: "FollowerSealed" });
  });
});

describe("a group that is not complete", () => {
  test("takes effect with its last entry, at once, however large; or never, if a claim comes first", async () => {
    const writer = await standby.claim(standby.follower!.seen, 2);
    await standby.catchUp();
    const { size } = await stat(local(database.walFile));
    const name = database.walFile.slice(database.walFile.lastIndexOf("/") + 1);
    const signal = new AbortController().signal;
    // More than is kept in memory.
    const record = database.batch(1, 19 * 1024 * 1024);
    const step = 6 * 1024 * 1024;
    const send = async (from: number, to: number): Promise<void> => {
      const operations = [
        { type: "append" as const, file: `db/${name}`, offset: size + from, bytes: record.subarray(from, to) },
      ];
      await writer.append({ kind: "wal", operations, sequences: [], more: to < record.length }, signal);
    };
    for (let from = 0; from < record.length - step; from += step) {
      await send(from, from + step);
      await writer.append({ kind: "heartbeat", operations: [], sequences: [], more: false }, signal);
      await standby.catchUp();
      expect((await stat(local(database.walFile))).size).toBe(size);
      expect(standby.follower!.seen.slot).toBeGreaterThan(standby.follower!.image.position.slot);
    }
    await standby.follower!.save();
    const late = world.member("late");
    await late.follow();
    await send(Math.floor((record.length - 1) / step) * step, record.length);
    await standby.catchUp();
    expect((await stat(local(database.walFile))).size).toBe(size + record.length);
    expect(differences(await standby.disk(), await world.files())).toEqual([]);
    await late.catchUp();
    expect(differences(await late.disk(), await world.files())).toEqual([]);
    const fresh = world.member("fresh");
    await fresh.follow();
    expect(differences(await fresh.disk(), await world.files())).toEqual([]);

    // The next one never ends.
    const more = database.batch(1, 1000);
    const operations = [
      { type: "append" as const, file: `db/${name}`, offset: size + record.length, bytes: more.subarray(0, 500) },
    ];
    await writer.append({ kind: "wal", operations, sequences: [], more: true }, signal);
    await standby.catchUp();
    expect(await seal(standby)).toMatchObject({ epoch: 3 });
    expect((await stat(local(database.walFile))).size).toBe(size + record.length);
    const after = world.member("after");
    await after.follow();
    expect(differences(await after.disk(), await world.files())).toEqual([]);
  }, 60_000);
});
