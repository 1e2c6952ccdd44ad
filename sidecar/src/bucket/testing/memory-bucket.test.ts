import { describe, expect, test } from "@jest/globals";
import { bucketContract } from "./bucket-contract.js";
import { MemoryBucket } from "./memory-bucket.js";

bucketContract(
  "memory",
  async () => {
    const bucket = new MemoryBucket();
    return { bucket, other: bucket, dispose: () => bucket.close() };
  },
  { largeBytes: 3_000_000, manyObjects: 2_500 },
);

describe("memory bucket", () => {
  test("keeps its bytes apart from the caller's", async () => {
    const bucket = new MemoryBucket();
    const body = Buffer.from("abc");
    await bucket.putIfAbsent("k", body, {});
    body[0] = 0;
    const got = await bucket.get("k", { maxBytes: 3 });
    expect(Buffer.from(got ?? []).toString()).toBe("abc");
    got?.fill(0);
    expect(bucket.entries()).toEqual([["k", new Uint8Array(Buffer.from("abc"))]]);
  });

  test("refuses keys that nest", async () => {
    const bucket = new MemoryBucket();
    await bucket.putIfAbsent("a/b", new Uint8Array(1), {});
    await expect(bucket.putIfAbsent("a", new Uint8Array(1), {})).rejects.toThrow(/folder/);
    await expect(bucket.putIfAbsent("a/b/c", new Uint8Array(1), {})).rejects.toThrow(/folder/);
    expect(await bucket.putIfAbsent("a-", new Uint8Array(1), {})).toBe("created");
  });
});
