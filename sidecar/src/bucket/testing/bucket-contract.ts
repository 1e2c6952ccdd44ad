import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { hasCode } from "../../base/errors.js";
import type { Bucket, ByteSource, ListOptions } from "../bucket.js";
import { bytesSource } from "../byte-source.js";

export interface ContractSubject {
  readonly bucket: Bucket;
  /** The same store seen through another client, another process's as far as possible. */
  readonly other: Bucket;
  dispose(): Promise<void>;
}

export interface ContractOptions {
  /** Size of the object that is put in parts. */
  readonly largeBytes: number;
  /** Objects of the long listing; more than one page. */
  readonly manyObjects: number;
}

const call = {};
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "none",
    (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : `not ours: ${String(error)}`),
  );
}

async function allKeys(bucket: Bucket, prefix: string, options: ListOptions): Promise<string[]> {
  const keys: string[] = [];
  for (let startAfter = options.startAfter; ;) {
    const page = await bucket.list(prefix, { ...options, startAfter });
    keys.push(...page.objects.map(({ key }) => key));
    if (!page.more) return keys;
    startAfter = keys.at(-1);
  }
}

/** What every implementation of Bucket does, whatever is behind it. */
export function bucketContract(name: string, make: () => Promise<ContractSubject>, options: ContractOptions): void {
  describe(`${name} keeps the contract of a bucket`, () => {
    let subject: ContractSubject;
    let bucket: Bucket;
    beforeAll(async () => {
      subject = await make();
      ({ bucket } = subject);
    }, 60_000);
    afterAll(() => subject?.dispose(), 60_000);

    const body = async (key: string, from = bucket): Promise<Buffer> =>
      Buffer.from((await from.get(key, { maxBytes: 1 << 20 })) ?? text("(absent)"));

    test("creates once: the first body stays, whoever comes later and with whatever", async () => {
      expect(await bucket.putIfAbsent("log/1", text("first"), call)).toBe("created");
      expect(await bucket.putIfAbsent("log/1", text("second"), call)).toBe("exists");
      expect(await subject.other.putIfAbsent("log/1", text("first"), call)).toBe("exists");
      expect(await subject.other.putIfAbsent("log/1", new Uint8Array(), call)).toBe("exists");
      expect((await body("log/1", subject.other)).toString()).toBe("first");
    });

    test("of 32 racers on one key exactly one wins, its body is there, and everybody else knows that it lost", async () => {
      for (let round = 0; round < 6; round++) {
        const size = round % 2 === 0 ? 100 : 100_000;
        const bodies = Array.from({ length: 32 }, () => randomBytes(size));
        const answers = await Promise.all(
          bodies.map((bytes, i) => (i % 2 === 0 ? bucket : subject.other).putIfAbsent(`race/${round}`, bytes, call)),
        );
        const winners = bodies.filter((_, i) => answers[i] === "created");
        expect(winners.length).toBe(1);
        expect((await body(`race/${round}`)).equals(winners[0] ?? Buffer.alloc(0))).toBe(true);
      }
    });

    test("an absent key is undefined to get and head, and no error to delete", async () => {
      expect(await bucket.get("nothing/here", { maxBytes: 10 })).toBeUndefined();
      expect(await bucket.get("nothing/here", { maxBytes: 10, range: { offset: 3, length: 5 } })).toBeUndefined();
      expect(await bucket.head("nothing/here", call)).toBeUndefined();
      await bucket.delete("nothing/here", call);
    });

    test("what was written is read at once, through any client, and gone at once when deleted", async () => {
      for (let i = 0; i < 10; i++) {
        const bytes = randomBytes(1000 * i);
        await bucket.put(`now/${i}`, bytesSource(bytes), call);
        expect((await body(`now/${i}`, subject.other)).equals(bytes)).toBe(true);
        expect(await subject.other.head(`now/${i}`, call)).toBe(bytes.length);
        expect(await allKeys(subject.other, `now/${i}`, {})).toEqual([`now/${i}`]);
        await subject.other.delete(`now/${i}`, call);
        expect(await bucket.get(`now/${i}`, { maxBytes: 1 << 20 })).toBeUndefined();
        expect(await bucket.head(`now/${i}`, call)).toBeUndefined();
        expect(await allKeys(bucket, "now/", {})).toEqual([]);
        expect(await bucket.putIfAbsent(`now/${i}`, text("again"), call)).toBe("created");
        await bucket.delete(`now/${i}`, call);
      }
    });

    test("put replaces", async () => {
      await bucket.put("replaced/a", bytesSource(text("a longer first body")), call);
      await bucket.put("replaced/a", bytesSource(text("short")), call);
      expect((await body("replaced/a")).toString()).toBe("short");
      await bucket.put("replaced/a", bytesSource(new Uint8Array()), call);
      expect(await bucket.head("replaced/a", call)).toBe(0);
      expect(await body("replaced/a")).toHaveLength(0);
    });

    test("a range is cut at the end of the object", async () => {
      const bytes = randomBytes(10_000);
      await bucket.put("ranges/a", bytesSource(bytes), call);
      for (const [offset, length] of [
        [0, 1],
        [0, 10_000],
        [9_999, 1],
        [123, 4_567],
        [9_000, 5_000],
        [10_000, 5],
        [50_000, 5],
      ] as const) {
        const got = await bucket.get("ranges/a", { maxBytes: 10_000, range: { offset, length } });
        expect(Buffer.from(got ?? []).equals(bytes.subarray(offset, offset + length))).toBe(true);
      }
      await bucket.put("ranges/empty", bytesSource(new Uint8Array()), call);
      expect(await bucket.get("ranges/empty", { maxBytes: 1, range: { offset: 0, length: 1 } })).toHaveLength(0);
    });

    test("an object larger than allowed is refused, not loaded", async () => {
      await bucket.put("large/a", bytesSource(randomBytes(5_000)), call);
      expect(await codeOf(bucket.get("large/a", { maxBytes: 4_999 }))).toBe("ObjectTooLarge");
      expect(await bucket.get("large/a", { maxBytes: 5_000 })).toHaveLength(5_000);
      expect(await bucket.get("large/a", { maxBytes: 10, range: { offset: 7, length: 10 } })).toHaveLength(10);
      expect(await codeOf(bucket.get("large/a", { maxBytes: 9, range: { offset: 7, length: 10 } }))).toBe(
        "ObjectTooLarge",
      );
    });

    test("refused and unread bodies hold nothing: sixty of them, then the next call answers", async () => {
      await bucket.put("unread/a", bytesSource(randomBytes(3_000_000)), call);
      const codes = await Promise.all(
        Array.from({ length: 60 }, () => codeOf(bucket.get("unread/a", { maxBytes: 1000 }))),
      );
      expect(new Set(codes)).toEqual(new Set(["ObjectTooLarge"]));
      const aborts = Array.from({ length: 60 }, async () => {
        const abort = new AbortController();
        const got = codeOf(bucket.get("unread/a", { maxBytes: 1 << 22, signal: abort.signal }));
        await new Promise((resolve) => setImmediate(resolve));
        abort.abort(Object.assign(new Error("enough"), { code: "Enough" }));
        return got;
      });
      for (const code of await Promise.all(aborts)) expect(["Enough", "none"]).toContain(code);
      expect(await bucket.get("unread/a", { maxBytes: 1 << 22, deadlineMs: 20_000 })).toHaveLength(3_000_000);
    }, 60_000);

    test("lists by prefix in byte order, exclusive of startAfter, in pages", async () => {
      const keys = [
        "l/A",
        "l/Z",
        "l/_",
        "l/a",
        "l/a-b",
        "l/a.b",
        "l/b/1",
        "l/b/2/x",
        "l/b-",
        "l/b0",
        "l/c",
        "m/1",
        "l0/1",
      ];
      for (const key of keys) await bucket.put(key, bytesSource(text(key)), call);
      const sorted = keys.filter((key) => key.startsWith("l/")).toSorted();
      expect(sorted[0]).toBe("l/A");
      expect(await allKeys(bucket, "l/", {})).toEqual(sorted);
      expect(await allKeys(subject.other, "l/", { limit: 1 })).toEqual(sorted);
      expect(await allKeys(bucket, "l/", { limit: 4 })).toEqual(sorted);
      expect(await allKeys(bucket, "l/a", {})).toEqual(["l/a", "l/a-b", "l/a.b"]);
      expect(await allKeys(bucket, "l/b/", {})).toEqual(["l/b/1", "l/b/2/x"]);
      expect(await allKeys(bucket, "l/b/2", {})).toEqual(["l/b/2/x"]);
      expect(await allKeys(bucket, "nothing/", {})).toEqual([]);
      for (const startAfter of [...sorted, "a", "l", "l/", "l/aa", "l/b", "l/b/", "l/b/2", "l/zz", "m"]) {
        const expected = sorted.filter((key) => key > startAfter);
        expect([startAfter, await allKeys(bucket, "l/", { startAfter })]).toEqual([startAfter, expected]);
      }
      const page = await bucket.list("l/b/", call);
      expect(page).toEqual({
        more: false,
        objects: [
          { key: "l/b/1", size: 5 },
          { key: "l/b/2/x", size: 7 },
        ],
      });
    });

    test("a listing of many objects is complete, page by page", async () => {
      const keys = Array.from({ length: options.manyObjects }, (_, i) => `many/${String(i * 7).padStart(20, "0")}`);
      for (let i = 0; i < keys.length; i += 25) {
        await Promise.all(keys.slice(i, i + 25).map((key) => bucket.putIfAbsent(key, text("x"), call)));
      }
      const first = await bucket.list("many/", call);
      expect([first.objects.length, first.more]).toEqual([Math.min(1000, keys.length), keys.length > 1000]);
      expect(await allKeys(bucket, "many/", {})).toEqual(keys);
      expect(await allKeys(bucket, "many/", { limit: 333, startAfter: keys[499] })).toEqual(keys.slice(500));
    }, 120_000);

    test("a large object travels whole, and can be read in ranges", async () => {
      const bytes = randomBytes(options.largeBytes);
      await bucket.put("tables/1/db/000012.sst-ab", bytesSource(bytes), call);
      expect(await bucket.head("tables/1/db/000012.sst-ab", call)).toBe(bytes.length);
      const whole = await subject.other.get("tables/1/db/000012.sst-ab", { maxBytes: bytes.length });
      expect(Buffer.from(whole ?? []).equals(bytes)).toBe(true);
      const range = { offset: (bytes.length >>> 1) - 77, length: 1_000_000 };
      const middle = await bucket.get("tables/1/db/000012.sst-ab", { maxBytes: range.length, range });
      expect(Buffer.from(middle ?? []).equals(bytes.subarray(range.offset, range.offset + range.length))).toBe(true);
    }, 60_000);

    test("a source that shrinks or fails while it is put leaves no object", async () => {
      const shrunk: ByteSource = {
        size: options.largeBytes,
        read: async (offset, length) => new Uint8Array(offset + length < options.largeBytes ? length : length - 1),
      };
      expect(await codeOf(bucket.put("shrunk/a", shrunk, call))).toBe("SourceChanged");
      expect(await bucket.head("shrunk/a", call)).toBeUndefined();
      expect(await allKeys(bucket, "shrunk/", {})).toEqual([]);
    });

    test("every kind of key that we use goes through", async () => {
      const keys = [
        "cluster.json",
        `log2/${"0".repeat(20)}`,
        "snapshots/00000000000000000123.json",
        `t/7/state/MANIFEST-000004-${"ab".repeat(32)}`,
        `t/7/state/a+b=c@d!e_f*(g),h'i`,
        `s/${"x".repeat(220)}`,
        `deep/${"y".repeat(200)}/${"z".repeat(200)}/1`,
      ];
      for (const key of keys) {
        expect(await bucket.putIfAbsent(key, text(key), call)).toBe("created");
        expect(await bucket.putIfAbsent(key, text("other"), call)).toBe("exists");
        expect((await body(key, subject.other)).toString()).toBe(key);
        expect(await allKeys(bucket, key, {})).toEqual([key]);
        await bucket.delete(key, call);
        expect(await bucket.head(key, call)).toBeUndefined();
      }
    });

    test("keys that some store can't hold are refused by all", async () => {
      const bad = [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/.b",
        "-a",
        "a b",
        "a\\b",
        "ä",
        "a\nb",
        "a%2fb",
        "a?b",
        "~tmp/x",
        "x".repeat(221),
      ];
      for (const key of [...bad, `${"y".repeat(200)}/`.repeat(6).slice(0, -1)]) {
        expect([key, await codeOf(bucket.putIfAbsent(key, text("x"), call))]).toEqual([key, "BucketKeyInvalid"]);
        expect([key, await codeOf(bucket.put(key, bytesSource(text("x")), call))]).toEqual([key, "BucketKeyInvalid"]);
        expect([key, await codeOf(bucket.get(key, { maxBytes: 9 }))]).toEqual([key, "BucketKeyInvalid"]);
        expect([key, await codeOf(bucket.delete(key, call))]).toEqual([key, "BucketKeyInvalid"]);
      }
      expect(await codeOf(bucket.list("a//", call))).toBe("BucketKeyInvalid");
      for (const limit of [0, 1001, 1.5]) expect(await codeOf(bucket.list("", { limit }))).toBe("BucketCallInvalid");
    });

    test("an aborted call throws the caller's reason, before and while it runs", async () => {
      const reason = Object.assign(new Error("stop"), { code: "Stop" });
      const signal = AbortSignal.abort(reason);
      await expect(bucket.putIfAbsent("aborted/a", text("x"), { signal })).rejects.toBe(reason);
      await expect(bucket.put("aborted/a", bytesSource(text("x")), { signal })).rejects.toBe(reason);
      await expect(bucket.get("aborted/a", { signal, maxBytes: 1 })).rejects.toBe(reason);
      await expect(bucket.head("aborted/a", { signal })).rejects.toBe(reason);
      await expect(bucket.list("aborted/", { signal })).rejects.toBe(reason);
      await expect(bucket.delete("aborted/a", { signal })).rejects.toBe(reason);
      expect(await allKeys(bucket, "aborted/", {})).toEqual([]);
      const abort = new AbortController();
      const source: ByteSource = {
        size: options.largeBytes,
        read: async (_, length) => {
          abort.abort(reason);
          return new Uint8Array(length);
        },
      };
      await expect(bucket.put("aborted/b", source, { signal: abort.signal })).rejects.toBe(reason);
    });

    test("its url is for people, and errors name the key", async () => {
      expect(bucket.url).toMatch(/^[a-z0-9]+:\/\//);
      const error: unknown = await bucket.get("a b", { maxBytes: 1 }).catch((thrown: unknown) => thrown);
      expect(hasCode(error, "BucketKeyInvalid") && error.message).toContain('"a b"');
    });

    test("a closed bucket refuses", async () => {
      const mine = await make();
      const closing = mine.bucket;
      await closing.close();
      await closing.close();
      expect(await codeOf(closing.get("a", { maxBytes: 1 }))).toBe("BucketClosed");
      expect(await codeOf(closing.putIfAbsent("a", text("x"), call))).toBe("BucketClosed");
      await mine.dispose();
    }, 60_000);
  });
}
