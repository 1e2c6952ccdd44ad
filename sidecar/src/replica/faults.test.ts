import { link, mkdir, readFile, readdir, stat } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../base/errors.js";
import type { FileHandle, FileSystem } from "../base/file-system.js";
import { NodeFileSystem } from "../base/node-file-system.js";
import type { Bucket, GetOptions } from "../bucket/bucket.js";
import { LOG_PREFIX, logKey, TABLE_PREFIX } from "../formats/entry.js";
import type { ModelDatabase } from "./ship/testing/model-database.js";
import { deadline, differences, rowCount, World, type Member } from "./testing/world.js";

let world: World;
let primary: Member;
let database: ModelDatabase;
beforeEach(async () => {
  world = await World.open();
  primary = world.member("a");
  await primary.lead();
  database = await primary.create();
  await database.put(10);
  await primary.checkpoint();
});
afterEach(() => world.close());

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "none",
    (error: unknown) => error,
  );
const keys = (prefix: string): string[] =>
  world.bucket.entries().flatMap(([key]) => (key.startsWith(prefix) ? [key] : []));
const bytesOf = (key: string): Buffer => Buffer.from(world.bucket.entries().find(([each]) => each === key)![1]);

function bound(target: object, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name);
  return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
}

/** The bucket, with what a get brings changed for a while. */
function lying(change: (key: string, bytes: Buffer, nth: number) => Uint8Array | undefined): Bucket {
  const seen = new Map<string, number>();
  return new Proxy(world.bucket, {
    get: (target, name) => {
      if (name !== "get") return bound(target, name);
      return async (key: string, call: GetOptions) => {
        const bytes = await world.bucket.get(key, call);
        const nth = (seen.get(key) ?? 0) + 1;
        seen.set(key, nth);
        return bytes === undefined ? undefined : change(key, Buffer.from(bytes), nth);
      };
    },
  });
}

const flipped = (bytes: Buffer): Buffer => {
  bytes[bytes.length >> 1]! ^= 1;
  return bytes;
};

/** A new entry and a new table that the standby has not seen. */
async function more(): Promise<{ readonly entry: string; readonly table: string }> {
  const tables = new Set(keys(TABLE_PREFIX));
  await database.put(10);
  await primary.barrier();
  const entry = logKey(primary.writer!.position.slot);
  await database.flush();
  await database.rollManifest();
  await primary.checkpoint();
  return { entry, table: keys(TABLE_PREFIX).find((key) => !tables.has(key))! };
}

describe("an object that is damaged on the way", () => {
  test.each(["entry", "table"] as const)("is fetched again once, and then applied (%s)", async (kind) => {
    const standby = world.member("b");
    await standby.follow();
    const objects = await more();
    standby.bucket = lying((key, bytes, nth) => (key === objects[kind] && nth === 1 ? flipped(bytes) : bytes));
    await standby.restart();
    await standby.follow();
    expect(differences(await standby.disk(), await world.files())).toEqual([]);
  });
});

describe("an object that stays damaged", () => {
  const kinds = [
    ["entry", "EntryCorrupt", "flipped", flipped],
    ["entry", "EntryCorrupt", "truncated", (bytes: Buffer) => bytes.subarray(0, bytes.length - 5)],
    ["entry", "EntryCorrupt", "empty", () => Buffer.alloc(0)],
    ["table", "TableCorrupt", "flipped", flipped],
    ["table", "TableCorrupt", "truncated", (bytes: Buffer) => bytes.subarray(0, bytes.length - 5)],
    ["table", "TableCorrupt", "empty", () => Buffer.alloc(0)],
  ] as const;

  test.each(kinds)(
    "is named and never applied by a follower; it goes on once it is back (%s: %s, %s)",
    async (kind, code, _how, damage) => {
      const standby = world.member("b");
      await standby.follow();
      const objects = await more();
      const key = objects[kind];
      const right = bytesOf(key);
      world.bucket.poke(key, damage(Buffer.from(right)));
      const before = standby.follower!.image.position;
      const error = await failure(standby.catchUp());
      expect(error).toMatchObject({ code, kind: "corrupt", details: { key } });
      await standby.follower!.save();
      const { slot } = standby.follower!.image.position;
      expect(slot).toBeGreaterThanOrEqual(before.slot);
      // What is on the disk is a whole earlier image.
      await standby.restart();
      await standby.reconcile();
      expect(differences(await standby.disk(), await world.files(slot).catch(() => standby.disk()))).toEqual([]);
      world.bucket.poke(key, right);
      await standby.follow();
      expect(differences(await standby.disk(), await world.files())).toEqual([]);
    },
  );

  test.each(kinds)(
    "is named and never used by a restore, which goes on once it is back (%s: %s, %s)",
    async (kind, code, _how, damage) => {
      const objects = await more();
      const key = objects[kind];
      const right = bytesOf(key);
      world.bucket.poke(key, damage(Buffer.from(right)));
      const member = world.member("r");
      // An entry that a newer snapshot makes unnecessary is not missed.
      const error = await failure(member.reconcile());
      if (error !== "none") expect(error).toMatchObject({ code, kind: "corrupt", details: { key } });
      else expect(kind).toBe("entry");
      world.bucket.poke(key, right);
      await member.restart();
      await member.follow();
      expect(differences(await member.disk(), await world.files())).toEqual([]);
    },
  );

  test("or is gone is named: a table", async () => {
    const standby = world.member("b");
    await standby.follow();
    const { table } = await more();
    await world.bucket.delete(table, {});
    expect(await failure(standby.catchUp())).toMatchObject({ code: "TableMissing", details: { key: table } });
  });

  test("or is gone is named: a slot in the middle", async () => {
    const standby = world.member("b");
    await standby.follow();
    await database.put(1);
    await primary.barrier();
    const gone = primary.writer!.position.slot;
    await database.put(1);
    await primary.barrier();
    await world.bucket.delete(logKey(gone), {});
    await standby.restart();
    expect(await failure(standby.follow())).toMatchObject({ code: "LogGap", kind: "corrupt", details: { slot: gone } });
  });

  test("because the bucket was cleaned up under a restore is no damage: it begins again as long as newer snapshots come", async () => {
    await more();
    let cleaned = 0;
    const slow = world.member("r", {
      bucket: new Proxy(world.bucket, {
        get: (target, name) => {
          if (name !== "get") return bound(target, name);
          return async (key: string, call: GetOptions) => {
            if (key.startsWith(TABLE_PREFIX) && cleaned < 4) {
              cleaned++;
              await more();
              await database.compact();
              await primary.checkpoint();
              await world.bucket.delete(key, {});
            }
            return await world.bucket.get(key, call);
          };
        },
      }),
    });
    expect(await slow.reconcile()).toMatchObject({ how: "Restored" });
    expect(cleaned).toBe(4);
    expect(rowCount(await slow.disk())).toBe(database.last);
  });

  test("of another cluster is refused", async () => {
    const other = await World.open();
    try {
      Object.assign(other.cluster, { uid: "decaf" });
      const stranger = other.member("x");
      await stranger.lead();
      for (const [key, bytes] of other.bucket.entries()) if (key.startsWith(LOG_PREFIX)) world.bucket.poke(key, bytes);
    } finally {
      await other.close();
    }
    const standby = world.member("b");
    for (const key of keys("snapshots/")) await world.bucket.delete(key, {});
    expect(await failure(standby.reconcile())).toMatchObject({ code: "ForeignCluster" });
  });
});

/** A disk that is full while `full` says so. */
function filling(full: (path: string) => boolean): FileSystem {
  const real = new NodeFileSystem();
  const refuse = (path: string): void => {
    if (full(path))
      throw new MetaMasterError("DiskFull", "transient", `${path}: no space is left`, { details: { path } });
  };
  const guarded = (file: FileHandle, path: string): FileHandle =>
    new Proxy(file, {
      get: (target, name) => {
        if (name !== "write") {
          return bound(target, name);
        }
        return async (bytes: Uint8Array, position: number) => {
          if (!full(path)) return await target.write(bytes, position);
          // Half of it still fits.
          await target.write(bytes.subarray(0, bytes.length >> 1), position);
          refuse(path);
        };
      },
    });
  return new Proxy(real, {
    get: (target, name) => {
      if (name === "open") {
        return async (path: string, mode: "read" | "readWrite" | "createExclusive", permissions?: number) =>
          guarded(await target.open(path, mode, permissions), path);
      }
      if (name === "writeFileAtomic") {
        return async (path: string, bytes: Uint8Array, permissions?: number) => {
          refuse(path);
          await target.writeFileAtomic(path, bytes, permissions);
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
    },
  });
}

describe("a full disk", () => {
  test.each([
    ["everywhere", /./],
    ["for tables", /incoming/],
    ["for small files", /staging/],
    ["for WALs", /\.log$/],
    ["for MANIFESTs", /MANIFEST/],
    ["for the state", /state\.json$/],
  ])(
    "holds a follower up (%s); what it has read is told; with room again it goes on by itself",
    async (_where, pattern) => {
      let full = false;
      const standby = world.member("b", { fs: filling((path) => full && pattern.test(path) && path.includes("/b/")) });
      await standby.follow();
      await more();
      await database.put(5);
      await primary.barrier();
      full = true;
      const told: number[] = [];
      const poll = async (): Promise<string> => {
        try {
          for (;;) {
            const entries = await standby.follower!.poll(deadline());
            told.push(...entries.map(({ header }) => header.slot));
            if (entries.length === 0) break;
          }
          await standby.follower!.save();
          return "none";
        } catch (error) {
          return error instanceof MetaMasterError ? error.code : String(error);
        }
      };
      expect(await poll()).toBe("DiskFull");
      expect(await poll()).toBe("DiskFull");
      full = false;
      expect(await poll()).toBe("none");
      expect(told).toEqual([...told].toSorted((left, right) => left - right));
      expect(new Set(told).size).toBe(told.length);
      expect(differences(await standby.disk(), await world.files())).toEqual([]);
      await standby.restart();
      expect(await standby.reconcile()).toMatchObject({ how: "Followed" });
      expect(differences(await standby.disk(), await world.files())).toEqual([]);
    },
  );

  test("holds a restore up, which goes on with what it has", async () => {
    await more();
    let full = true;
    const member = world.member("r", { fs: filling((path) => full && /\.log$|MANIFEST|staging/.test(path)) });
    expect(await failure(member.reconcile())).toMatchObject({ code: "DiskFull", kind: "transient" });
    full = false;
    await member.restart();
    expect(await member.reconcile()).toMatchObject({ how: "Restored" });
    expect(differences(await member.disk(), await world.files())).toEqual([]);
  });

  test("that can't hold what is to be fetched is said before anything is fetched", async () => {
    await more();
    const real = new NodeFileSystem();
    const fs = new Proxy(real, {
      get: (target, name) => {
        if (name === "freeBytes") return async () => 10;
        return bound(target, name);
      },
    });
    const member = world.member("r", { fs });
    const error = await failure(member.reconcile());
    expect(error).toMatchObject({ code: "DiskFull", details: { free: 10 } });
  });
});

test("an fsync that fails: nothing since the last saved state is believed", async () => {
  let broken = false;
  const real = new NodeFileSystem();
  const fs = new Proxy(real, {
    get: (target, name) => {
      if (name === "open") {
        return async (path: string, mode: "read" | "readWrite" | "createExclusive", permissions?: number) => {
          const file = await target.open(path, mode, permissions);
          const sync = file.sync.bind(file);
          file.sync = async () => {
            if (broken && path.endsWith(".log")) throw new MetaMasterError("FileSystemFailure", "transient", "EIO");
            await sync();
          };
          return file;
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
    },
  });
  const standby = world.member("b", { fs });
  await standby.follow();
  await database.put(5);
  await primary.barrier();
  await standby.catchUp();
  broken = true;
  expect(await failure(standby.follower!.save())).toMatchObject({ code: "SyncFailed", kind: "conflict" });
  broken = false;
  expect(await failure(standby.follower!.save())).toMatchObject({ code: "SyncFailed" });
  expect(await failure(standby.follower!.poll(deadline()))).toMatchObject({ code: "SyncFailed" });
  expect(await standby.reconcile()).toMatchObject({ how: "Followed" });
  await standby.follow();
  expect(differences(await standby.disk(), await world.files())).toEqual([]);
});

describe("hard links", () => {
  test("a WAL or MANIFEST with a second name is copied before it is changed", async () => {
    const standby = world.member("b");
    await standby.follow();
    const other = `${world.root}/backup`;
    const otherManifest = `${world.root}/backup-manifest`;
    await link(database.walFile.replace("/a/", "/b/"), other);
    await link(database.manifestFile.replace("/a/", "/b/"), otherManifest);
    const before = [await readFile(other), await readFile(otherManifest)];
    await standby.restart();
    await more();
    await standby.follow();
    expect(differences(await standby.disk(), await world.files())).toEqual([]);
    expect([await readFile(other), await readFile(otherManifest)]).toEqual(before);
  });

  test("a table that a companion links is linked here too, and fetched once", async () => {
    const other = await World.open();
    try {
      const companions = ["ck/**"];
      const one = other.member("c", { companions });
      await one.lead();
      const model = await one.create();
      // Large enough not to travel as a small file.
      await model.put(60_000, 1);
      await model.flush();
      await one.checkpoint();
      const gets: string[] = [];
      const bucket = new Proxy(other.bucket, {
        get: (target, name) => {
          if (name !== "get") return bound(target, name);
          return async (key: string, call: GetOptions) => {
            if (key.startsWith(TABLE_PREFIX)) gets.push(key);
            return await target.get(key, call);
          };
        },
      });
      const standby = other.member("d", { companions, bucket });
      const fresh = other.member("e", { companions, bucket });
      await standby.follow();
      expect(gets).toHaveLength(1);
      await mkdir(`${one.directory}/ck/1`, { recursive: true });
      await link(model.tableFiles[0]!, `${one.directory}/ck/1/000001.sst`);
      await one.checkpoint();
      await standby.catchUp();
      expect(gets).toHaveLength(1);
      await fresh.follow();
      expect(gets).toHaveLength(2);
      for (const member of [standby, fresh]) {
        const table = model.tableFiles[0]!.replace(one.directory, member.directory);
        expect((await stat(`${member.directory}/ck/1/000001.sst`)).ino).toBe((await stat(table)).ino);
      }
    } finally {
      await other.close();
    }
  });
});

test("a follower at its end leaves nothing in its folders but the state", async () => {
  const standby = world.member("b");
  await standby.follow();
  await more();
  await standby.catchUp();
  await standby.follower!.save();
  await standby.catchUp();
  const folder = `${standby.directory}/.metamaster`;
  const left = await readdir(folder);
  for (const name of left) {
    if (name !== "state.json") expect(await readdir(`${folder}/${name}`)).toEqual([]);
  }
  expect((await stat(`${folder}/state.json`)).size).toBeGreaterThan(0);
  expect(rowCount(await standby.disk())).toBe(20n);
});
