import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { MetaMasterError } from "../base/errors.js";
import type { Bucket } from "./bucket.js";
import { CaFile, withCaOf } from "./ca-file.js";
import { ManualClock } from "./testing/test-clock.js";

let folder: string;
let path: string;
let clock: ManualClock;

const pem = (name: string): string => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mm-ca-"));
  path = join(folder, "ca.crt");
  writeFileSync(path, pem("one"));
  clock = new ManualClock();
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A store that trusts itself to those only who have the CA `needed`. */
function store(heard: { pem: string }, needed: string): { bucket: Bucket; calls: () => number } {
  let calls = 0;
  const remove = async (): Promise<void> => {
    calls += 1;
    if (heard.pem !== needed)
      throw new MetaMasterError("BucketTlsInvalid", "invalid", "untrusted", { hint: "A hint." });
  };
  // Only `delete` is called.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { bucket: { url: "s3://b/", delete: remove } as unknown as Bucket, calls: () => calls };
}

async function attached(ca: CaFile): Promise<{ pem: string }> {
  const heard = { pem: "" };
  ca.attach((text) => (heard.pem = text));
  expect(heard.pem).toBe(ca.pem);
  return heard;
}

test("a refused certificate: the file is looked at at once, and the call made once more", async () => {
  const ca = await CaFile.open(path, clock);
  const heard = await attached(ca);
  const { bucket, calls } = store(heard, pem("two"));
  writeFileSync(path, pem("two"));
  await withCaOf(ca, bucket).delete("key", {});
  expect([heard.pem, calls()]).toEqual([pem("two"), 2]);
});

test("still refused: said with the file's name, and not asked again and again", async () => {
  const ca = await CaFile.open(path, clock);
  const heard = await attached(ca);
  const { bucket, calls } = store(heard, pem("two"));
  await expect(withCaOf(ca, bucket).delete("key", {})).rejects.toMatchObject({
    code: "BucketTlsInvalid",
    hint: expect.stringContaining(path),
  });
  expect(calls()).toBe(1);
});

test("a CA that is to be trusted no more is dropped within ten seconds of calls", async () => {
  const ca = await CaFile.open(path, clock);
  const heard = await attached(ca);
  const { bucket } = store(heard, pem("one"));
  const trusting = withCaOf(ca, bucket);
  writeFileSync(path, pem("two"));
  clock.advance(9_999);
  await trusting.delete("key", {});
  clock.advance(1);
  await expect(trusting.delete("key", {})).rejects.toMatchObject({ code: "BucketTlsInvalid" });
  expect(heard.pem).toBe(pem("two"));
});

test("half a file, none, or a huge one: what was read before counts, and why is said", async () => {
  const ca = await CaFile.open(path, clock);
  const heard = await attached(ca);
  for (const text of ["", "-----BEGIN CERTIFICATE-----\nhalf", `${pem("x")}${"x".repeat(1024 * 1024)}`]) {
    writeFileSync(path, text);
    expect(await ca.changedSince(pem("one"))).toBe(false);
    expect(ca.trouble).toContain(path);
  }
  rmSync(path);
  expect(await ca.changedSince(pem("one"))).toBe(false);
  expect([heard.pem, ca.trouble]).toEqual([pem("one"), expect.stringContaining("ENOENT")]);
  const { bucket } = store(heard, pem("two"));
  await expect(withCaOf(ca, bucket).delete("key", {})).rejects.toMatchObject({
    hint: expect.stringContaining("ENOENT"),
  });
});
