import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { logKey, SNAPSHOT_PREFIX } from "../formats/entry.js";
import type { ModelDatabase } from "./ship/testing/model-database.js";
import { deadline, differences, rowCount, World, type Member } from "./testing/world.js";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

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

describe("a primary's disk", () => {
  test("that diverged: the tail goes to quarantine, the disk is rewound by fetching only what differs", async () => {
    const { member, database } = await primary();
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    // Rows 31 to 37 are lost with the old primary; 38 to 40 are in a table and a WAL that never were shipped.
    await database.put(7);
    await database.flush();
    await database.put(3);
    await standby.lead();
    const other = database.clone();
    await other.forget(10);
    await member.restart();
    const result = await member.reconcile();
    expect(result).toMatchObject({ state: "Following", how: "Rewound" });
    if (result.state !== "Following" || result.quarantine === undefined) throw new Error("no quarantine");
    const { directory, epoch, databases, forkedAt } = result.quarantine;
    expect(epoch).toBe(1);
    expect(databases).toEqual([
      { database: "db", walBytes: expect.any(Number), records: 3, firstSequence: "38", lastSequence: "40" },
    ]);
    await equalsLog(member);
    expect(rowCount(await member.disk())).toBe(30n);
    expect(JSON.parse(await readFile(`${directory}/report.json`, "utf8"))).toMatchObject({ epoch: 1, forkedAt });
    // Laid over the history at the fork it is the diverged database.
    const files = await world.files(forkedAt.slot);
    for (const name of await readdir(`${directory}/files/db`)) {
      files.set(`db/${name}`, await readFile(`${directory}/files/db/${name}`));
    }
    expect(rowCount(files)).toBe(40n);
    expect(member.said.lines.findLast(({ message }) => message.startsWith("restored to"))?.fields).toMatchObject({
      fetchedBytes: 0,
    });
  });

  test("that holds nothing beyond the log but what RocksDB had not removed yet: there is no quarantine", async () => {
    const { member, database } = await primary();
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    const history = await world.files();
    // The OPTIONS before the newest, a flushed WAL and its copy in the archive, a compacted table, the MANIFEST before.
    const directory = `${member.directory}/db`;
    const wal = await readFile(database.walFile);
    await mkdir(`${directory}/archive`);
    for (const name of ["000001.log", "archive/000001.log", "000001.sst", "OPTIONS-000001", "MANIFEST-000001"]) {
      expect(history.has(`db/${name}`)).toBe(false);
      await writeFile(`${directory}/${name}`, wal);
    }
    await standby.lead();
    await member.restart();
    const result = await member.reconcile();
    expect(result).toMatchObject({ state: "Following", how: "Rewound" });
    expect(result).not.toHaveProperty("quarantine");
    await equalsLog(member);
    expect(rowCount(await member.disk())).toBe(30n);
  });

  test("that diverged and flushed its WAL since, which RocksDB had not removed yet: the operations are counted", async () => {
    const { member, database } = await primary();
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    await database.flush();
    await database.put(7);
    const wal = database.walFile;
    const bytes = await readFile(wal);
    await database.flush();
    await writeFile(wal, bytes);
    await standby.lead();
    await member.restart();
    const result = await member.reconcile();
    expect(result).toMatchObject({
      quarantine: { databases: [{ records: 7, firstSequence: "31", lastSequence: "37" }] },
    });
  });

  test("that diverged and dies in the middle of it ends the same", async () => {
    const { member, database } = await primary();
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    await database.put(7);
    await standby.lead();
    await member.restart();
    const first = await member.reconcile();
    await member.restart();
    expect(await member.reconcile()).toMatchObject({ how: "Followed" });
    expect(await readdir(`${member.directory}/.metamaster/quarantine`)).toHaveLength(1);
    expect(first).toMatchObject({ how: "Rewound" });
  });

  test("that diverged long ago, and the log does not go back so far: rather too much is kept", async () => {
    const { member, database } = await primary();
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    await database.put(7);
    await standby.lead();
    const fork = (await world.entries()).at(-1)!.position.slot;
    await world.shelf.list(deadline());
    await standby.checkpoint();
    for (const { header } of await world.entries()) {
      if (header.kind !== "claim" && header.slot < fork) await world.bucket.delete(logKey(header.slot), {});
    }
    for (const slot of await world.shelf.list(deadline())) {
      if (slot < fork) await world.bucket.delete(`${SNAPSHOT_PREFIX}${String(slot).padStart(20, "0")}.json`, {});
    }
    await member.restart();
    expect(await member.reconcile()).toMatchObject({ how: "Rewound" });
    const [name] = await readdir(`${member.directory}/.metamaster/quarantine`);
    const report: unknown = JSON.parse(
      await readFile(`${member.directory}/.metamaster/quarantine/${name!}/report.json`, "utf8"),
    );
    expect(report).toMatchObject({ epoch: 1, forkedAt: { slot: fork - 1 } });
    const files = await readdir(`${member.directory}/.metamaster/quarantine/${name!}/files/db`);
    expect(files).toContain(database.walFile.slice(database.walFile.lastIndexOf("/") + 1));
  });

  test("that diverges again and again: each quarantine is kept, and too many are said loudly", async () => {
    const { member, database } = await primary();
    const settings = { quarantine: { maxCount: 1, maxBytes: 1e9, removeOldest: false } };
    const again = world.member("again", { directory: member.directory, settings });
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    await database.put(7);
    await standby.lead();
    await standby.die();
    await again.reconcile();
    expect(again.said.has("error", "quarantines")).toBe(false);
    await again.lead();
    await again.die();
    await database.reopen(7);
    await database.put(3);
    await standby.restart();
    await standby.lead();
    await standby.die();
    await again.restart();
    await again.reconcile();
    expect(again.said.has("error", "2 quarantines")).toBe(true);
    expect(await readdir(`${member.directory}/.metamaster/quarantine`)).toHaveLength(2);
  });

  test.each([
    ["an earlier OPTIONS", "OPTIONS-000002", "[Version]", false],
    ["a table that no MANIFEST names", "000099.sst", "half a table", false],
    ["an empty WAL", "000098.log", "", false],
    ["another MANIFEST", "MANIFEST-000097", "x", true],
    ["a WAL with bytes", "000098.log", "x", true],
  ])("with %s beyond the history: quarantine only if that may hold data", async (_what, name, text, isKept) => {
    const { member } = await primary();
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    await writeFile(`${member.directory}/db/${name}`, text);
    await standby.lead();
    await member.restart();
    const result = await member.reconcile();
    expect(result).toMatchObject({ how: "Rewound" });
    expect("quarantine" in result).toBe(isKept);
    expect(existsSync(`${member.directory}/.metamaster/quarantine`)).toBe(isKept);
    await equalsLog(member);
  });

  test("of which somebody took over, and which holds nothing more, is rewound without a quarantine", async () => {
    const { member } = await primary();
    const standby = world.member("b");
    await standby.follow();
    await member.die();
    await standby.lead();
    await member.restart();
    const result = await member.reconcile();
    expect(result).toMatchObject({ state: "Following", how: "Rewound" });
    expect(result).not.toHaveProperty("quarantine");
    await equalsLog(member);
  });
});
