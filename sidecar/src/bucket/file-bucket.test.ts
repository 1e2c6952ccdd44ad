import {
  chmod,
  cp,
  link,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { hasCode } from "../base/errors.js";
import { SystemClock } from "../base/system-clock.js";
import { SystemRandom } from "../base/system-random.js";
import { bytesSource } from "./byte-source.js";
import { FileBucket, type FileBucketSettings } from "./file-bucket.js";
import { bucketContract } from "./testing/bucket-contract.js";
import { ManualClock } from "./testing/test-clock.js";
import { transferDefaults } from "./transfer.js";

const components = { clock: new SystemClock(), random: new SystemRandom() };
const settings = (root: string): FileBucketSettings => ({
  ...transferDefaults,
  root,
  prefix: "",
  temporaryMaxAgeMs: 3_600_000,
});
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "none",
    (error: unknown) => error,
  );
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

bucketContract(
  "file",
  async () => {
    const root = await mkdtemp(join(tmpdir(), "mm-file-bucket-"));
    return {
      bucket: await FileBucket.open(settings(root), components),
      other: await FileBucket.open(settings(root), components),
      dispose: () => rm(root, { recursive: true }),
    };
  },
  { largeBytes: 9_000_001, manyObjects: 1_100 },
);

describe("file bucket", () => {
  let base: string;
  let root: string;
  let bucket: FileBucket;
  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), "mm-file-bucket-"));
  });
  afterAll(() => rm(base, { recursive: true }));
  beforeEach(async () => {
    root = await mkdtemp(join(base, "bucket-"));
    bucket = await FileBucket.open(settings(root), components);
  });
  const temporaries = (): Promise<string[]> => readdir(join(root, "~tmp"));

  test("a missing folder, or a file in its place, is BucketNotFound and says what to do", async () => {
    const missing = await failure(FileBucket.open(settings(join(base, "nothing")), components));
    expect(hasCode(missing, "BucketNotFound") && missing.hint).toContain("mkdir -p");
    await writeFile(join(base, "file"), "x");
    expect(hasCode(await failure(FileBucket.open(settings(join(base, "file")), components)), "BucketNotFound")).toBe(
      true,
    );
  });

  test("leaves no temporary file behind, whether a put wins, loses or fails", async () => {
    await bucket.putIfAbsent("a", text("1"), {});
    await bucket.putIfAbsent("a", text("2"), {});
    await bucket.put("b", bytesSource(text("3")), {});
    await failure(bucket.put("c", { size: 10, read: () => Promise.reject(new Error("disk gone")) }, {}));
    expect(await temporaries()).toEqual([]);
    expect((await stat(join(root, "a"))).nlink).toBe(1);
  });

  test("what a killed process left is in no listing, and removed when it is old, not before", async () => {
    await mkdir(join(root, "~tmp"));
    await writeFile(join(root, "~tmp", "old"), "x");
    await writeFile(join(root, "~tmp", "young"), "x");
    const hourAgo = new Date(Date.now() - 3_700_000);
    await utimes(join(root, "~tmp", "old"), hourAgo, hourAgo);
    await mkdir(join(root, "log"));
    await writeFile(join(root, "log", ".nfs0001"), "x");
    await writeFile(join(root, "log", "a~"), "x");
    await symlink("/etc/passwd", join(root, "log", "passwd"));
    await bucket.putIfAbsent("log/1", text("x"), {});
    expect((await bucket.list("", {})).objects.map(({ key }) => key)).toEqual(["log/1"]);
    expect(await temporaries()).toEqual(["young"]);
  });

  test("keys that nest are refused with a reason, both ways and for both puts", async () => {
    await bucket.putIfAbsent("a/b", text("x"), {});
    for (const key of ["a", "a/b/c"]) {
      const created = await failure(bucket.putIfAbsent(key, text("x"), {}));
      const written = await failure(bucket.put(key, bytesSource(text("x")), {}));
      expect([key, hasCode(created, "BucketKeyInvalid"), hasCode(written, "BucketKeyInvalid")]).toEqual([
        key,
        true,
        true,
      ]);
      expect(await bucket.get(key, { maxBytes: 9 })).toBeUndefined();
      expect(await bucket.head(key, {})).toBeUndefined();
      await bucket.delete("a/b/c", {});
    }
    expect(await temporaries()).toEqual([]);
  });

  test("an unmounted bucket is an error, never an empty bucket", async () => {
    await bucket.putIfAbsent("log/1", text("x"), {});
    await rename(root, `${root}-away`);
    const gone = await Promise.all([
      failure(bucket.get("log/2", { maxBytes: 1 })),
      failure(bucket.list("log/", {})),
      failure(bucket.putIfAbsent("log/2", text("x"), {})),
    ]);
    expect(gone.map((error) => hasCode(error, "BucketNotFound"))).toEqual([true, true, true]);
    // The empty mount point.
    await mkdir(root);
    const empty = await Promise.all([
      failure(bucket.get("log/1", { maxBytes: 1 })),
      failure(bucket.head("log/1", {})),
      failure(bucket.list("log/", {})),
      failure(bucket.delete("log/1", {})),
      failure(bucket.putIfAbsent("log/2", text("x"), {})),
    ]);
    expect(empty.map((error) => hasCode(error, "BucketUnavailable"))).toEqual([true, true, true, true, true]);
    expect(await readdir(root)).toEqual([]);
    await rm(root, { recursive: true });
    await rename(`${root}-away`, root);
    expect(await bucket.get("log/1", { maxBytes: 1 })).toHaveLength(1);
  });

  test("an older copy that was put back in the bucket's place takes no put, and is not read", async () => {
    await bucket.putIfAbsent("log/1", text("one"), {});
    await cp(root, `${root}.older`, { recursive: true });
    await bucket.putIfAbsent("log/2", text("two"), {});
    await rename(root, `${root}.newer`);
    await rename(`${root}.older`, root);
    const replaced = {
      code: "BucketUnavailable",
      message: expect.stringContaining("not the folder it was") as unknown,
    };
    await expect(bucket.putIfAbsent("log/3", text("three"), {})).rejects.toMatchObject(replaced);
    await expect(bucket.put("tables/3", bytesSource(text("three")), {})).rejects.toMatchObject(replaced);
    await expect(bucket.get("log/2", { maxBytes: 9 })).rejects.toMatchObject(replaced);
    expect((await readdir(join(root, "log"))).toSorted()).toEqual(["1"]);
  });

  test("folders that were removed under a running process are made again", async () => {
    await bucket.putIfAbsent("log/deep/1", text("x"), {});
    await rm(join(root, "log"), { recursive: true });
    await rm(join(root, "~tmp"), { recursive: true });
    expect(await bucket.putIfAbsent("log/deep/1", text("x"), {})).toBe("created");
  });

  test("a file with two names (linked, perhaps not yet synced) is an object all the same", async () => {
    await mkdir(join(root, "log"));
    await mkdir(join(root, "~tmp"));
    await writeFile(join(root, "~tmp", "t"), "xyz");
    await link(join(root, "~tmp", "t"), join(root, "log", "1"));
    expect(await bucket.get("log/1", { maxBytes: 3 })).toHaveLength(3);
    expect(await bucket.head("log/1", {})).toBe(3);
    expect(await bucket.putIfAbsent("log/1", text("q"), {})).toBe("exists");
  });

  test("a folder that may not be written is BucketAccessDenied", async () => {
    // Root may write anywhere.
    if (process.getuid?.() === 0) return;
    await chmod(root, 0o500);
    const error = await failure(bucket.putIfAbsent("a", text("x"), {}));
    await chmod(root, 0o700);
    expect(hasCode(error, "BucketAccessDenied")).toBe(true);
  });

  test("a file system that hangs is a time-out, and leaves no object when it wakes", async () => {
    const clock = new ManualClock();
    const slow = await FileBucket.open(settings(root), { clock, random: components.random });
    const hang = Promise.withResolvers<Uint8Array>();
    const reading = Promise.withResolvers<void>();
    const read = (): Promise<Uint8Array> => {
      reading.resolve();
      return hang.promise;
    };
    const put = failure(slow.put("a", { size: 3, read }, { deadlineMs: 5_000 }));
    await reading.promise;
    expect(await readdir(join(root, "~tmp"))).toHaveLength(1);
    clock.advance(5_000);
    const error = await put;
    expect(hasCode(error, "BucketTimeout") && error.message).toContain("5000 ms");
    hang.resolve(text("abc"));
    while ((await readdir(join(root, "~tmp"))).length > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(await bucket.head("a", {})).toBeUndefined();
  });
});
