import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { SystemClock } from "../base/system-clock.js";
import { SystemRandom } from "../base/system-random.js";
import type { Bucket } from "../bucket/bucket.js";
import { openBucket } from "../bucket/open.js";
import { STANDBY_PREFIX } from "../formats/entry.js";
import { BucketRollCall } from "./roll-call.js";

const never = new AbortController().signal;
let folder: string;
let bucket: Bucket;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "metamaster-roll-call-"));
  const parts = { clock: new SystemClock(), random: new SystemRandom(), onRetry: () => undefined };
  bucket = await openBucket({ url: `file://${folder}` }, parts);
});

afterEach(async () => {
  await bucket.close();
  rmSync(folder, { recursive: true, force: true });
});

test("answers are to one entry, by name, however often they are given", async () => {
  const calls = new BucketRollCall(bucket);
  expect(await calls.present(7, never)).toEqual([]);
  for (const name of ["gamma", "beta-1.x", "gamma"]) await calls.answer(7, name, never);
  await calls.answer(70, "other", never);
  expect(await calls.present(7, never)).toEqual(["beta-1.x", "gamma"]);
  expect(await calls.present(70, never)).toEqual(["other"]);
});

test("what was answered before goes, what is answered now stays", async () => {
  const calls = new BucketRollCall(bucket);
  for (const slot of [7, 9, 100]) await calls.answer(slot, "beta", never);
  await calls.clearBefore(100, never);
  const { objects } = await bucket.list(STANDBY_PREFIX, {});
  expect(objects.map(({ key }) => key)).toEqual([`${STANDBY_PREFIX}${"100".padStart(20, "0")}/beta`]);
});
