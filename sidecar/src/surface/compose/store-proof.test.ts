import { setImmediate } from "node:timers/promises";
import { beforeEach, expect, test } from "@jest/globals";
import { MetaMasterError } from "../../base/errors.js";
import { SystemRandom } from "../../base/system-random.js";
import { BucketUnsafe } from "../../bucket/probe.js";
import type { CallOptions } from "../../bucket/bucket.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import { ManualClock } from "../../bucket/testing/test-clock.js";
import { silent } from "../../member/testing/contender.js";
import { StoreProof, type StoreProofParts } from "./store-proof.js";

class Store extends MemoryBucket {
  puts = 0;
  failure: MetaMasterError | undefined;
  ignores = false;

  override async putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
    this.puts += 1;
    if (this.failure !== undefined) throw this.failure;
    if (!this.ignores) return await super.putIfAbsent(key, body, call);
    await super.delete(key, call);
    return await super.putIfAbsent(key, body, call);
  }
}

let clock: ManualClock;
let store: Store;
const never = new AbortController().signal;

beforeEach(() => {
  clock = new ManualClock();
  store = new Store();
});

function proofOf(bucket: StoreProofParts["config"]["bucket"] = {}): StoreProof {
  const parts = { single: store, onRetry: () => undefined };
  return new StoreProof({ store: parts, config: { bucket }, clock, random: new SystemRandom(), logger: silent });
}

/** Time goes by until then. */
async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns > 1000) throw new Error("it did not come to that");
    await setImmediate();
    if (turns % 10 === 9) clock.advance(500);
  }
}

test("begins when it is asked for, at once; whoever asked learns of it", async () => {
  const proof = proofOf();
  const running = proof.run(never);
  await setImmediate();
  expect(store.puts).toBe(0);
  expect(await proof.within(60_000, never)).toBe(true);
  await running;
  const { puts } = store;
  expect(puts).toBeGreaterThan(50);
  await proof.attempt(never);
  expect(await proof.within(60_000, never)).toBe(true);
  expect(store.puts).toBe(puts);
});

test("begins also when nobody asks, after a while", async () => {
  const proof = proofOf();
  expect(await ended(proof.run(never))).toBeUndefined();
  expect(clock.monotonicMs()).toBeGreaterThan(1000);
  expect(await proof.within(1, never)).toBe(true);
});

test("a bucket that does not keep its promises: said to whoever runs it, and nobody is told that it has passed", async () => {
  store.ignores = true;
  const proof = proofOf();
  const failed = proof.run(never).catch((error: unknown) => error);
  const stop = new AbortController();
  const told = proof.within(60_000, stop.signal).catch((error: unknown) => error);
  expect(await failed).toBeInstanceOf(BucketUnsafe);
  const reason = new Error("stop");
  stop.abort(reason);
  expect(await told).toBe(reason);
});

/** How `run` ends, without anybody having asked. */
async function ended(running: Promise<void>): Promise<unknown> {
  let end: { readonly error: unknown } | undefined;
  void running.then(
    () => (end = { error: undefined }),
    (error: unknown) => (end = { error }),
  );
  await until(() => end !== undefined);
  return end?.error;
}

test("what waiting may cure is waited for, with its trouble to be seen; wrong credentials only where they are read again", async () => {
  store.failure = new MetaMasterError("BucketAccessDenied", "invalid", "no", { hint: "ask" });
  expect(await ended(proofOf().run(never))).toBe(store.failure);
  const proof = proofOf({ credentialsDirectory: "/c" });
  const running = proof.run(never);
  await until(() => proof.trouble !== undefined);
  expect(proof.trouble).toContain("no");
  const asked = proof.within(1, never);
  clock.advance(1);
  expect(await asked).toBe(false);
  store.failure = undefined;
  expect(await ended(running)).toBeUndefined();
  expect(await proof.within(1, never)).toBe(true);
  expect(proof.trouble).toBeUndefined();
});

test("a bucket that was there when the history was read, and is not now, is away: waited for, with its trouble to be seen", async () => {
  store.failure = new MetaMasterError("BucketNotFound", "invalid", "not there", { hint: "mount it" });
  const proof = proofOf();
  const running = proof.run(never);
  await until(() => proof.trouble !== undefined);
  expect(proof.trouble).toContain("mount it");
  store.failure = undefined;
  expect(await ended(running)).toBeUndefined();
  // Before a history was read it may be a misspelt one.
  const misspelt = new MetaMasterError("BucketNotFound", "invalid", "not there", { hint: "create it" });
  store.failure = misspelt;
  await expect(proofOf().attempt(never)).rejects.toBe(misspelt);
});
