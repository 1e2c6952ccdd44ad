import { appendFile, cp, mkdir, readFile, rename, rm, stat, truncate, unlink, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { CLUSTER_KEY, logKey, SNAPSHOT_PREFIX } from "../formats/entry.js";
import { EMPTY_IMAGE } from "../formats/image.js";
import type { ModelDatabase } from "./ship/testing/model-database.js";
import { loseWal } from "./testing/lost-wal.js";
import { deadline, differences, rowCount, World, type Member } from "./testing/world.js";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
  );

/** A primary with 30 rows in the bucket: 10 in a table, 20 in a WAL. */
async function primary(name = "a"): Promise<{ member: Member; database: ModelDatabase }> {
  const member = world.member(name);
  await member.lead();
  const database = await member.create();
  await database.put(10);
  await member.checkpoint();
  await database.flush();
  await member.checkpoint();
  await database.put(20);
  await member.barrier();
  return { member, database };
}

async function equalsLog(member: Member): Promise<void> {
  expect(differences(await member.disk(), await world.files())).toEqual([]);
}

describe("the bucket has no history", () => {
  test("and the disk is empty: wait to be elected", async () => {
    expect(await world.member("a").reconcile()).toEqual({ state: "Empty" });
  });

  test("and the disk has a database: refused, or adopted if the settings say so", async () => {
    const member = world.member("a");
    const database = await member.create();
    await database.put(10);
    expect(await code(member.reconcile())).toBe("AdoptionRefused");
    const adopting = world.member("b", {
      directory: member.directory,
      settings: { bootstrap: "Adopt" },
    });
    expect(await adopting.reconcile()).toEqual({ state: "Adoptable", image: EMPTY_IMAGE });
    await adopting.lead();
    expect(rowCount(await world.files())).toBe(10n);
  });

  test("but this disk was part of one: the bucket was emptied, nothing is touched", async () => {
    const { member } = await primary();
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    const before = await standby.disk();
    const emptied = async (keeps: readonly string[]): Promise<string[]> => {
      for (const [key] of world.bucket.entries()) if (!keeps.includes(key)) await world.bucket.delete(key, {});
      await standby.restart();
      await member.restart();
      return [await code(standby.reconcile()), await code(member.reconcile())];
    };
    expect(await emptied([CLUSTER_KEY])).toEqual(["HistoryMismatch", "HistoryMismatch"]);
    // By a purge, which takes the identity last: nobody is to look for damage.
    expect(await emptied([])).toEqual(["ClusterDeleted", "ClusterDeleted"]);
    expect(differences(await standby.disk(), before)).toEqual([]);
  });
});

describe("a bucket that was not found safe yet", () => {
  test("is not asked about a disk that may hold what nobody else has; what is a copy of the log needs no such thing", async () => {
    const { member } = await primary();
    expect([member.risked, (await world.files()).size > 0]).toEqual([0, true]);
    const standby = world.member("b");
    await standby.follow();
    await standby.restart();
    await standby.follow();
    expect(standby.risked).toBe(0);
    await member.restart();
    expect(await member.reconcile()).toMatchObject({ state: "Ahead" });
    expect(member.risked).toBe(1);
    await standby.die();
    await rm(`${standby.directory}/.metamaster/state.json`);
    expect(await standby.reconcile()).toMatchObject({ how: "Repaired" });
    expect(standby.risked).toBe(1);
  });
});

describe("an empty disk", () => {
  test("is restored from the newest snapshot and the log", async () => {
    await primary();
    const member = world.member("b");
    expect(await member.reconcile()).toMatchObject({ state: "Following", how: "Restored" });
    await equalsLog(member);
    expect(rowCount(await member.disk())).toBe(30n);
  });

  test("is restored from the log alone if there is no snapshot", async () => {
    await primary();
    for (const [key] of world.bucket.entries()) {
      if (key.startsWith(SNAPSHOT_PREFIX)) await world.bucket.delete(key, {});
    }
    const member = world.member("b");
    expect(await member.reconcile()).toMatchObject({ state: "Following", how: "Restored" });
    await equalsLog(member);
  });

  test("with a history that has no files yet is whole as it is", async () => {
    const first = world.member("a");
    await first.lead();
    const member = world.member("b");
    expect(await member.reconcile()).toMatchObject({ state: "Following", how: "Restored" });
    expect((await member.follow()).image.epoch).toBe(1);
  });
});

describe("a follower's disk", () => {
  let member: Member;
  let standby: Member;
  let database: ModelDatabase;
  beforeEach(async () => {
    ({ member, database } = await primary());
    standby = world.member("b");
    await standby.follow();
    await standby.restart();
  });

  test("at a position in the history goes on from there, without a get of a table", async () => {
    await database.put(5);
    await member.barrier();
    expect(await standby.reconcile()).toMatchObject({ state: "Following", how: "Followed" });
    await standby.follow();
    await equalsLog(standby);
  });

  test("that holds more than its state says is set back and follows again", async () => {
    await standby.follow();
    await database.put(5);
    await database.flush();
    await member.checkpoint();
    await standby.catchUp();
    // It dies before it saves.
    await standby.restart();
    expect(await standby.reconcile()).toMatchObject({ state: "Following", how: "Followed" });
    await standby.follow();
    await equalsLog(standby);
  });

  test.each([
    ["a table is gone", async () => unlink(database.tableFiles[0]!.replace("/a/", "/b/"))],
    ["a table was changed", async () => appendFile(database.tableFiles[0]!.replace("/a/", "/b/"), "x")],
    [
      "a table has a flipped bit",
      async () => {
        const path = database.tableFiles[0]!.replace("/a/", "/b/");
        const bytes = await readFile(path);
        bytes[5]! ^= 1;
        await writeFile(path, bytes);
      },
    ],
    ["a WAL is short", async () => truncate(database.walFile.replace("/a/", "/b/"), 3)],
    ["a WAL is gone", async () => unlink(database.walFile.replace("/a/", "/b/"))],
    ["a MANIFEST is gone", async () => unlink(database.manifestFile.replace("/a/", "/b/"))],
    ["the whole database is gone", async () => rm(`${standby.directory}/db`, { recursive: true })],
    [
      "a WAL is another file of the same size",
      async () => {
        const path = database.walFile.replace("/a/", "/b/");
        const bytes = await readFile(path);
        await rename(path, `${path}.away`);
        await writeFile(path, Buffer.alloc(bytes.length, 1));
        await unlink(`${path}.away`);
      },
    ],
  ])("is repaired from the bucket if %s", async (_what, damage) => {
    await damage();
    expect(await standby.reconcile()).toMatchObject({ state: "Following", how: "Repaired" });
    await equalsLog(standby);
  });

  test("whose CURRENT was overwritten gets it back", async () => {
    await writeFile(`${standby.directory}/db/CURRENT`, "MANIFEST-009999\n");
    expect(await standby.reconcile()).toMatchObject({ how: "Followed" });
    await equalsLog(standby);
  });

  test("whose state is damaged is compared and repaired, and nothing is fetched that is there", async () => {
    await writeFile(`${standby.directory}/.metamaster/state.json`, "{");
    expect(await standby.reconcile()).toMatchObject({ state: "Following", how: "Repaired" });
    expect(standby.said.has("error", "can't be believed")).toBe(true);
    expect(standby.said.lines.findLast(({ message }) => message.startsWith("restored to"))?.fields).toMatchObject({
      fetchedBytes: 0,
      logBytes: 0,
    });
    await equalsLog(standby);
  });

  test("of which the log was trimmed goes on from the newest snapshot", async () => {
    await database.put(5);
    await database.flush();
    await database.rollManifest();
    await member.checkpoint();
    const entries = await world.entries();
    const newest = (await world.shelf.list(deadline())).at(-1)!;
    const needed = (await world.shelf.read(newest, deadline()))!;
    const oldest = Math.min(
      ...[...needed.files.values()].flatMap((file) => (file.kind === "append" ? [file.firstSlot] : [])),
    );
    for (const { header } of entries) {
      if (header.kind !== "claim" && header.slot < oldest) await world.bucket.delete(logKey(header.slot), {});
    }
    expect(await standby.reconcile()).toMatchObject({ state: "Following", how: "Restored" });
    expect(rowCount(await standby.disk())).toBe(35n);
  });

  test("of another cluster is refused", async () => {
    const state = await readFile(`${standby.directory}/.metamaster/state.json`, "utf8");
    await writeFile(`${standby.directory}/.metamaster/state.json`, state.replace("c0ffee", "decaf"));
    expect(await code(standby.reconcile())).toBe("ForeignCluster");
  });

  test("of a later release's format is refused", async () => {
    const state = await readFile(`${standby.directory}/.metamaster/state.json`, "utf8");
    await writeFile(`${standby.directory}/.metamaster/state.json`, state.replace('"format":1', '"format":2'));
    expect(await code(standby.reconcile())).toBe("StateTooNew");
  });
});

describe("a primary's disk", () => {
  test("that is ahead while nobody claimed since is shipped: nothing is lost", async () => {
    const { member, database } = await primary();
    await member.die();
    await database.put(7);
    await member.restart();
    expect((await member.reconcile()).state).toBe("Ahead");
    await member.lead();
    expect(rowCount(await world.files())).toBe(37n);
  });

  test.each([
    ["a primary's", true],
    ["a standby's", false],
  ])(
    "%s configuration that leaves a database of the history out is refused: it would be shipped as removed",
    async (_whose, led) => {
      const { member } = await primary();
      const other = led ? member : world.member("b");
      if (!led) await other.reconcile();
      await member.die();
      const renamed = world.member(led ? "a" : "b", { directory: other.directory, databases: ["other"] });
      expect(await code(renamed.reconcile())).toBe("DatabaseNotConfigured");
    },
  );

  test("is still ahead after a claim of its own that came to nothing", async () => {
    const { member, database } = await primary();
    await member.die();
    await database.put(7);
    await member.restart();
    const ahead = await member.reconcile();
    if (ahead.state !== "Ahead") throw new Error(ahead.state);
    // The claim is won, and the process dies before it has sealed.
    await member.claim(ahead.image.position, ahead.image.epoch + 1);
    await member.restart();
    expect((await member.reconcile()).state).toBe("Ahead");
    await member.lead();
    expect(rowCount(await world.files())).toBe(37n);
  });

  test("is ahead though it dropped WALs and tables that the log still has", async () => {
    const { member, database } = await primary();
    await database.put(3);
    await database.flush();
    await member.checkpoint();
    await member.die();
    await database.put(4);
    await database.flush();
    await database.compact();
    await database.rollManifest();
    await member.restart();
    expect((await member.reconcile()).state).toBe("Ahead");
    await member.lead();
    expect(rowCount(await world.files())).toBe(37n);
  });

  test("that lost shipped WAL to a power failure is repaired, and what it holds beyond is kept", async () => {
    const { member, database } = await primary();
    await member.die();
    await database.put(7);
    const bytes = await readFile(database.walFile);
    // Zeros where shipped bytes were, and the unshipped tail behind them.
    bytes.fill(0, 100, 160);
    await writeFile(database.walFile, bytes);
    await member.restart();
    member.bootId = "boot-2";
    await member.restart();
    const result = await member.reconcile();
    expect(result).toMatchObject({ state: "Following", how: "Repaired", quarantine: { epoch: 1 } });
    await equalsLog(member);
    expect(rowCount(await member.disk())).toBe(30n);
  });

  test.each([
    ["a WAL is shorter than what was shipped", (database: ModelDatabase) => truncate(database.walFile, 50)],
    ["a needed WAL is gone", (database: ModelDatabase) => unlink(database.walFile)],
    ["a live table is gone", (database: ModelDatabase) => unlink(database.tableFiles[0]!)],
    ["the MANIFEST is gone", (database: ModelDatabase) => unlink(database.manifestFile)],
    ["the MANIFEST is shorter", (database: ModelDatabase) => truncate(database.manifestFile, 40)],
    ["CURRENT is gone", (database: ModelDatabase) => unlink(`${database.path}/CURRENT`)],
    ["CURRENT is half written", (database: ModelDatabase) => writeFile(`${database.path}/CURRENT`, "MANIF")],
  ])("is repaired in the same boot too if %s", async (_what, damage) => {
    const { member, database } = await primary();
    await member.die();
    await damage(database);
    await member.restart();
    expect(await member.reconcile()).toMatchObject({ state: "Following", how: "Repaired" });
    await equalsLog(member);
    expect(rowCount(await member.disk())).toBe(30n);
  });

  test("that was intact over another boot is still ahead", async () => {
    const { member, database } = await primary();
    await member.die();
    await database.put(7);
    member.bootId = "boot-2";
    await member.restart();
    expect((await member.reconcile()).state).toBe("Ahead");
  });

  test.each([
    ["gone", (path: string) => unlink(path)],
    ["empty", (path: string) => truncate(path, 0)],
  ])(
    "of which a power failure left a companion %s is repaired; in the same boot it is the master's doing",
    async (_, harm) => {
      const member = world.member("a", { companions: ["VERSION"] });
      await member.lead();
      const database = await member.create();
      await writeFile(`${member.directory}/VERSION`, "7");
      await database.put(3);
      await member.checkpoint();
      await member.die();
      await harm(`${member.directory}/VERSION`);
      await member.restart();
      expect((await member.reconcile()).state).toBe("Ahead");
      member.bootId = "boot-2";
      await member.restart();
      expect(await member.reconcile()).toMatchObject({ state: "Following", how: "Repaired" });
      expect(await readFile(`${member.directory}/VERSION`, "utf8")).toBe("7");
    },
  );

  test("that lost bytes which only a base object holds is repaired after another boot", async () => {
    const member = world.member("a", { baseAfterSlots: 1 });
    await member.lead();
    const database = await member.create();
    for (let round = 0; round < 5; round++) {
      await database.put(3);
      await member.barrier();
    }
    await member.checkpoint();
    await member.die();
    const bytes = await readFile(database.walFile);
    const before = Buffer.from(bytes);
    bytes.fill(0, 0, 40);
    await writeFile(database.walFile, bytes);
    member.bootId = "boot-2";
    await member.restart();
    expect(await member.reconcile()).toMatchObject({ state: "Following", how: "Repaired" });
    expect(await readFile(database.walFile)).toEqual(before);
  });

  test("of which a power failure took a WAL between two that were not shipped is repaired, not opened with a hole", async () => {
    const { member, database } = await primary();
    await member.die();
    await database.put(7);
    await loseWal(member, database);
    const result = await member.reconcile();
    expect(result).toMatchObject({ state: "Following", how: "Repaired", quarantine: { epoch: 1 } });
    await equalsLog(member);
    expect(rowCount(await member.disk())).toBe(30n);
  });

  test("whose own claim is another's entry now meets another history", async () => {
    const { member } = await primary();
    await member.die();
    const other = await World.open();
    try {
      const impostor = other.member("z");
      await impostor.lead();
      for (const [key] of world.bucket.entries()) await world.bucket.delete(key, {});
      for (const [key, bytes] of other.bucket.entries()) world.bucket.poke(key, bytes);
    } finally {
      await other.close();
    }
    await member.restart();
    expect(await code(member.reconcile())).toBe("HistoryMismatch");
  });
});

describe("a database of which nothing is known", () => {
  test("is repaired if it is the bucket's, and what it holds beyond is kept", async () => {
    const { member, database } = await primary();
    await member.die();
    await database.put(7);
    await rm(`${member.directory}/.metamaster`, { recursive: true });
    await member.restart();
    const result = await member.reconcile();
    expect(result).toMatchObject({ state: "Following", how: "Repaired", quarantine: { databases: [{ records: 7 }] } });
    await equalsLog(member);
  });

  test("is refused if it is another database", async () => {
    await primary();
    const stranger = world.member("s");
    const database = await stranger.create();
    await database.put(3);
    await writeFile(`${stranger.directory}/db/IDENTITY`, "another");
    expect(await code(stranger.reconcile())).toBe("ForeignDatabase");
    expect(rowCount(await stranger.disk())).toBe(3n);
  });
});

describe("a directory that is no database's", () => {
  test.each([false, true])("but holds other files is refused; history in the bucket: %s", async (history) => {
    if (history) await primary();
    const member = world.member("x");
    await mkdir(`${member.directory}/db`, { recursive: true });
    await writeFile(`${member.directory}/db/important.doc`, "mine");
    expect(await code(member.reconcile())).toBe("NotRocksDb");
    expect(await readFile(`${member.directory}/db/important.doc`, "utf8")).toBe("mine");
  });

  test("but a file is refused", async () => {
    const member = world.member("x");
    await mkdir(member.directory, { recursive: true });
    await writeFile(`${member.directory}/db`, "mine");
    expect(await code(member.reconcile())).toBe("PathBlocked");
  });

  test("that the file system or RocksDB made is as good as empty", async () => {
    const member = world.member("x");
    await mkdir(`${member.directory}/db/lost+found`, { recursive: true });
    await writeFile(`${member.directory}/db/LOCK`, "");
    expect(await member.reconcile()).toEqual({ state: "Empty" });
  });

  test("on another file system than its links is refused", async () => {
    const shm = await stat("/dev/shm").catch(() => undefined);
    if (shm === undefined || shm.dev === (await stat(world.root)).dev) return;
    const path = `/dev/shm/metamaster-test-${process.pid}`;
    await mkdir(path);
    try {
      const member = world.member("x");
      Object.assign(member.layout, { databases: [{ name: "db", path }] });
      await member.restart();
      expect(await code(member.reconcile())).toBe("CrossDevice");
    } finally {
      await rm(path, { recursive: true });
    }
  });
});

test("a copied directory is not believed: its files are others", async () => {
  await primary();
  const standby = world.member("b");
  await standby.follow();
  await cp(standby.directory, `${world.root}/copy`, { recursive: true });
  const copy = world.member("c", { directory: `${world.root}/copy` });
  expect(await copy.reconcile()).toMatchObject({ state: "Following", how: "Repaired" });
  await equalsLog(copy);
});
