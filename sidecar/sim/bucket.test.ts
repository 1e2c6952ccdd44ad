import { describe, expect, test } from "@jest/globals";
import { SimulatedBucket } from "./bucket.js";
import { noFaults, type NetworkFaults, type Route } from "./network.js";
import { MachineClock } from "./clock.js";
import { Incarnation } from "./incarnation.js";
import { ObjectStore, type StoreChange } from "./object-store.js";
import { SeededRandom } from "./random.js";
import { Scheduler } from "./scheduler.js";

interface Bench {
  readonly scheduler: Scheduler;
  readonly incarnation: Incarnation;
  readonly route: Route;
  readonly bucket: SimulatedBucket;
  readonly store: ObjectStore;
  readonly changes: StoreChange[];
  settle(): Promise<void>;
}

function bench(faults: Partial<NetworkFaults> = {}): Bench {
  const scheduler = new Scheduler();
  const machine = new MachineClock(scheduler, { bootMs: 0, drift: 0, wallOffsetMs: 0 });
  const changes: StoreChange[] = [];
  const store = new ObjectStore((change) => changes.push(change));
  const incarnation = new Incarnation(scheduler, "x");
  const route: Route = { faults: { ...noFaults, ...faults }, state: "open" };
  const random = new SeededRandom(1, "bucket");
  const bucket = new SimulatedBucket({ store, scheduler, machine, incarnation, random, route });
  const settle = async (): Promise<void> => {
    await scheduler.run(() => false, { untilMs: Infinity, steps: 10_000 });
  };
  return { scheduler, incarnation, route, bucket, store, changes, settle };
}

/** The outcome of a call once nothing moves any more. */
async function outcome<T>(at: Bench, call: Promise<T>): Promise<unknown> {
  let result: unknown = "no answer";
  call.then(
    (value) => (result = value),
    (error: unknown) => (result = (error as { code?: string }).code ?? error),
  );
  await at.settle();
  return result;
}

const body = new Uint8Array([1, 2, 3]);

describe("the simulated bucket", () => {
  test("without faults it is a store", async () => {
    const at = bench();
    expect(await outcome(at, at.bucket.putIfAbsent("a/1", body, {}))).toBe("created");
    expect(await outcome(at, at.bucket.putIfAbsent("a/1", body, {}))).toBe("exists");
    expect(await outcome(at, at.bucket.get("a/1", { maxBytes: 3 }))).toEqual(body);
    expect(await outcome(at, at.bucket.list("a/", {}))).toEqual({ objects: [{ key: "a/1", size: 3 }], more: false });
    expect(await outcome(at, at.bucket.delete("a/1", {}))).toBeUndefined();
    expect(await outcome(at, at.bucket.head("a/1", {}))).toBeUndefined();
    expect(at.changes.map(({ what, key }) => `${what} ${key}`)).toEqual(["created a/1", "deleted a/1"]);
  });

  test("an error before the effect, a lost answer after it", async () => {
    const failing = bench({ failedShare: 1 });
    expect(await outcome(failing, failing.bucket.putIfAbsent("a", body, {}))).toBe("BucketUnavailable");
    expect(failing.changes).toEqual([]);
    const losing = bench({ lostAnswerShare: 1 });
    expect(await outcome(losing, losing.bucket.putIfAbsent("a", body, {}))).toBe("BucketTimeout");
    expect(losing.changes).toHaveLength(1);
  });

  test("a late effect lands after the caller gave up", async () => {
    const at = bench({ lateShare: 1, lateMsMax: 60_000, deadlineMs: 10 });
    let gaveUpMs: number | undefined;
    at.bucket.putIfAbsent("a", body, {}).catch(() => (gaveUpMs = at.scheduler.nowMs));
    await at.scheduler.run(() => at.changes.length > 0, { untilMs: Infinity, steps: 1000 });
    expect(gaveUpMs).toBe(10);
    expect(at.scheduler.nowMs).toBeGreaterThan(10);
  });

  test("a duplicated creation finds itself", async () => {
    const at = bench({ duplicatedShare: 1 });
    expect(await outcome(at, at.bucket.putIfAbsent("a", body, {}))).toBe("exists");
    expect(at.changes).toHaveLength(1);
  });

  test("a bit is flipped in transit, never twice running", async () => {
    const at = bench({ flippedShare: 1 });
    await outcome(at, at.bucket.putIfAbsent("a", body, {}));
    expect(await outcome(at, at.bucket.get("a", { maxBytes: 3 }))).not.toEqual(body);
    expect(await outcome(at, at.bucket.get("a", { maxBytes: 3 }))).toEqual(body);
    expect(at.store.entries()).toEqual([["a", body]]);
  });

  test("cut: nothing arrives; mute: it arrives unanswered; refused: told at once", async () => {
    const at = bench();
    at.route.state = "cut";
    expect(await outcome(at, at.bucket.putIfAbsent("cut", body, {}))).toBe("BucketTimeout");
    at.route.state = "refused";
    expect(await outcome(at, at.bucket.putIfAbsent("refused", body, {}))).toBe("BucketUnavailable");
    at.route.state = "mute";
    expect(await outcome(at, at.bucket.putIfAbsent("mute", body, {}))).toBe("BucketTimeout");
    expect(at.changes.map(({ key }) => key)).toEqual(["mute"]);
  });

  test("an abort rejects at once with its reason, the effect may still come", async () => {
    const at = bench();
    const controller = new AbortController();
    const reason = new Error("enough");
    const call = expect(at.bucket.putIfAbsent("a", body, { signal: controller.signal })).rejects.toBe(reason);
    controller.abort(reason);
    await call;
    await at.settle();
    expect(at.changes).toHaveLength(1);
    await expect(at.bucket.head("a", { signal: controller.signal })).rejects.toBe(reason);
  });

  test("a dead caller is told nothing; its request arrives all the same", async () => {
    const at = bench();
    const call = at.bucket.putIfAbsent("a", body, {});
    at.incarnation.crash();
    expect(await outcome(at, call)).toBe("no answer");
    expect(at.changes).toHaveLength(1);
    expect(await outcome(at, at.bucket.putIfAbsent("b", body, {}))).toBe("no answer");
    expect(at.changes).toHaveLength(1);
  });
});
