import { sha256Hex } from "../base/sha256.js";
import { appendFile, mkdtemp, readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../base/errors.js";
import { NodeFileSystem } from "../base/node-file-system.js";
import type { Bucket, GetOptions } from "../bucket/bucket.js";
import { MemoryBucket } from "../bucket/testing/memory-bucket.js";
import { LocalFolders } from "./local-folders.js";
import { TableFetcher, type FetchSettings, type FetchWanted } from "./table-fetch.js";
import { deadline, Said } from "./testing/world.js";

const RANGE = 1000;
const settings: FetchSettings = { rangeBytes: RANGE, parallelRanges: 4, parallelFiles: 3 };
let root: string;
let bucket: MemoryBucket;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "metamaster-fetch-"));
  bucket = new MemoryBucket();
});
afterEach(() => rm(root, { recursive: true, force: true }));

function content(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  for (let index = 0; index < size; index++) bytes[index] = (index * 31 + seed * 7 + (index >> 8)) & 0xff;
  return bytes;
}

function object(size: number, seed = 1): { wanted: FetchWanted; bytes: Buffer } {
  const bytes = content(size, seed);
  const key = `tables/1/db/${seed}`;
  bucket.poke(key, bytes);
  const sha256 = sha256Hex(bytes);
  return { bytes, wanted: { key, size, sha256, permissions: 0o640 } };
}

/** The bucket, with gets counted and changed. */
function through(
  onGet: (key: string, call: GetOptions, bytes: Uint8Array | undefined) => Uint8Array | undefined,
): Bucket {
  return new Proxy(bucket, {
    get: (target, name) => {
      if (name !== "get") return Reflect.get(target, name) as unknown;
      return async (key: string, call: GetOptions) => onGet(key, call, await bucket.get(key, call));
    },
  });
}

const fetcher = (from: Bucket = bucket, said = new Said()): TableFetcher =>
  new TableFetcher({ fs: new NodeFileSystem(), bucket: from, folders: new LocalFolders(root), logger: said }, settings);
const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
  );

describe("a table that is fetched", () => {
  test.each([0, 1, RANGE - 1, RANGE, RANGE + 1, 10 * RANGE, 10 * RANGE + 17])("has its bytes (%i)", async (size) => {
    const { wanted, bytes } = object(size);
    let counted = 0;
    const path = await fetcher().fetch(wanted, deadline(), (more) => (counted += more));
    expect(Buffer.compare(await readFile(path), bytes)).toBe(0);
    expect((await stat(path)).mode & 0o777).toBe(0o640);
    expect(counted).toBe(size);
  });

  test("is not fetched again while it is there, nor twice at once", async () => {
    const { wanted } = object(5 * RANGE);
    let gets = 0;
    const counting = through((_key, _call, bytes) => {
      gets++;
      return bytes;
    });
    const tables = fetcher(counting);
    await Promise.all([tables.fetch(wanted, deadline()), tables.fetch(wanted, deadline())]);
    expect(gets).toBe(5);
    await fetcher(counting).fetch(wanted, deadline());
    expect(gets).toBe(5);
  });

  test("never holds more ranges than allowed, of all files together", async () => {
    const wanted = [1, 2, 3, 4, 5].map((seed) => object(7 * RANGE, seed).wanted);
    let open = 0;
    let most = 0;
    const slow = new Proxy(bucket, {
      get: (target, name) => {
        if (name !== "get") return Reflect.get(target, name) as unknown;
        return async (key: string, call: GetOptions) => {
          most = Math.max(most, ++open);
          await new Promise((resolve) => setTimeout(resolve, 1));
          open--;
          return await bucket.get(key, call);
        };
      },
    });
    await fetcher(slow).fetchAll(wanted, deadline());
    expect(most).toBeLessThanOrEqual(settings.parallelRanges);
    expect(most).toBeGreaterThan(1);
    expect(await readdir(`${root}/.metamaster/incoming`)).toHaveLength(5);
  });

  test("goes on where a killed run ended", async () => {
    const { wanted, bytes } = object(10 * RANGE);
    let allowed = 4;
    const dying = through((_key, _call, got) => {
      if (allowed-- <= 0) throw new MetaMasterError("BucketUnavailable", "transient", "away");
      return got;
    });
    expect(await code(fetcher(dying).fetch(wanted, deadline()))).toBe("BucketUnavailable");
    const part = `${root}/.metamaster/incoming/${wanted.sha256}.part`;
    const kept = (await stat(part)).size;
    expect(kept).toBeGreaterThan(0);
    const asked: number[] = [];
    const watching = through((_key, { range }, got) => {
      asked.push(range?.offset ?? -1);
      return got;
    });
    const path = await fetcher(watching).fetch(wanted, deadline());
    expect(Math.min(...asked)).toBe(kept);
    expect(Buffer.compare(await readFile(path), bytes)).toBe(0);
  });

  test.each([
    ["was damaged", (part: string) => writeFile(part, "rubbish")],
    ["is too long", (part: string) => appendFile(part, Buffer.alloc(20_000))],
    ["is full of zeros", (part: string) => truncate(part, 9 * RANGE)],
  ])("starts from the beginning if the kept part %s", async (_what, damage) => {
    const { wanted, bytes } = object(10 * RANGE);
    let allowed = 4;
    const dying = through((_key, _call, got) => {
      if (allowed-- <= 0) throw new MetaMasterError("BucketUnavailable", "transient", "away");
      return got;
    });
    await code(fetcher(dying).fetch(wanted, deadline()));
    await damage(`${root}/.metamaster/incoming/${wanted.sha256}.part`);
    expect(Buffer.compare(await readFile(await fetcher().fetch(wanted, deadline())), bytes)).toBe(0);
  });

  test.each([
    ["one bit is another", (bytes: Buffer) => (bytes[5000]! ^= 1)],
    ["the last byte is another", (bytes: Buffer) => (bytes[bytes.length - 1]! ^= 1)],
  ])("that is damaged on the way is fetched once more (%s)", async (_what, damage) => {
    const { wanted, bytes } = object(10 * RANGE);
    const broken = Buffer.from(bytes);
    damage(broken);
    bucket.poke(wanted.key, broken);
    const said = new Said();
    let gets = 0;
    const mending = through((_key, _call, got) => {
      if (++gets === 10) bucket.poke(wanted.key, bytes);
      return got;
    });
    const path = await fetcher(mending, said).fetch(wanted, deadline());
    expect(Buffer.compare(await readFile(path), bytes)).toBe(0);
    expect(said.has("warn", wanted.key)).toBe(true);
  });

  test.each([
    [
      "one bit is another",
      (bytes: Buffer): Buffer => Buffer.from(bytes.map((byte, index) => (index === 5000 ? byte ^ 1 : byte))),
    ],
    ["it is cut", (bytes: Buffer): Buffer => bytes.subarray(0, 9500)],
    ["it is empty", (): Buffer => Buffer.alloc(0)],
    ["it is longer", (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.from("x")])],
  ])("that stays damaged is refused by its key, and nothing of it is left (%s)", async (_what, damage) => {
    const { wanted, bytes } = object(10 * RANGE);
    bucket.poke(wanted.key, damage(bytes));
    const error: unknown = await fetcher()
      .fetch(wanted, deadline())
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "TableCorrupt", kind: "corrupt", details: { key: wanted.key } });
    expect(await readdir(`${root}/.metamaster/incoming`)).toEqual([]);
  });

  test("that is not there is refused by its key", async () => {
    const { wanted } = object(10 * RANGE);
    await bucket.delete(wanted.key, {});
    const error: unknown = await fetcher()
      .fetch(wanted, deadline())
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "TableMissing", kind: "corrupt", details: { key: wanted.key } });
  });

  test("stops when it is told to, with the reason", async () => {
    const { wanted } = object(10 * RANGE);
    const stop = new AbortController();
    const reason = new Error("stop");
    let gets = 0;
    const stopping = through((_key, _call, got) => {
      if (++gets === 5) stop.abort(reason);
      return got;
    });
    await expect(fetcher(stopping).fetch(wanted, stop.signal)).rejects.toBe(reason);
    await expect(fetcher().fetch(wanted, stop.signal)).rejects.toBe(reason);
  });

  test("is one of many of which one fails: the failure is told, the others can be fetched", async () => {
    const objects = [1, 2, 3, 4].map((seed) => object(7 * RANGE, seed));
    await bucket.delete(objects[2]!.wanted.key, {});
    const tables = fetcher();
    expect(
      await code(
        tables.fetchAll(
          objects.map(({ wanted }) => wanted),
          deadline(),
        ),
      ),
    ).toBe("TableMissing");
    bucket.poke(objects[2]!.wanted.key, objects[2]!.bytes);
    await tables.fetchAll(
      objects.map(({ wanted }) => wanted),
      deadline(),
    );
  });
});
