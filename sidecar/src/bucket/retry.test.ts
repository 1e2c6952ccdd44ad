import { describe, expect, test } from "@jest/globals";
import { MetaMasterError, hasCode } from "../base/errors.js";
import type { Bucket, CallOptions } from "./bucket.js";
import { bytesSource } from "./byte-source.js";
import { observed, type ObservedCall } from "./observed.js";
import { retrying, type Retry, type RetryPolicy } from "./retry.js";
import { MemoryBucket } from "./testing/memory-bucket.js";
import { JumpingClock } from "./testing/test-clock.js";
import { WrappedBucket } from "./wrapped-bucket.js";

const policy: RetryPolicy = {
  attempt: { callMs: 1_000, minBytesPerSecond: 1_000 },
  totalMs: 10_000,
  firstPauseMs: 100,
  maxPauseMs: 800,
};
const unavailable = (): MetaMasterError =>
  new MetaMasterError("BucketUnavailable", "transient", "Could not: 503.", { hint: "Wait.", details: { status: 503 } });

class Failing {
  readonly clock = new JumpingClock();
  readonly calls: CallOptions[] = [];
  readonly retries: Retry[] = [];
  readonly memory = new MemoryBucket();
  readonly bucket: Bucket;

  /** `fail` says what a call throws, before or after its effect. */
  constructor(fail: (attempt: number) => Error | undefined, when: "before" | "after" = "before", tookMs = 0) {
    const faulty = new WrappedBucket(this.memory, async (_info, call, work) => {
      this.calls.push(call);
      this.clock.spend(tookMs);
      const error = fail(this.calls.length);
      if (error !== undefined && when === "before") throw error;
      const answer = await work(call);
      if (error !== undefined) throw error;
      return answer;
    });
    this.bucket = retrying(faulty, {
      clock: this.clock,
      random: { float: () => 0.5, bytes: (count) => new Uint8Array(count) },
      policy,
      onRetry: (retry) => this.retries.push(retry),
    });
  }
}

describe("retrying", () => {
  test("repeats after transient errors with growing pauses, and tells of each", async () => {
    const { bucket, clock, retries } = new Failing((attempt) => (attempt <= 6 ? unavailable() : undefined));
    expect(await bucket.putIfAbsent("k", new Uint8Array(3), {})).toBe("created");
    expect(clock.slept).toEqual([50, 100, 200, 400, 400, 400]);
    expect(retries.map(({ attempt, pauseMs }) => [attempt, pauseMs])).toEqual(clock.slept.map((ms, i) => [i + 1, ms]));
    expect(retries[0]).toMatchObject({ operation: "putIfAbsent", key: "k", bytes: 3, url: "memory://test" });
  });

  test("a create whose answer was lost comes back as exists, with the same bytes there", async () => {
    const { bucket, memory } = new Failing((attempt) => (attempt === 1 ? unavailable() : undefined), "after");
    expect(await bucket.putIfAbsent("k", new Uint8Array([1, 2]), {})).toBe("exists");
    expect(memory.entries()).toEqual([["k", new Uint8Array([1, 2])]]);
  });

  test("every operation is repeated", async () => {
    const { bucket, memory, calls } = new Failing((attempt) => (attempt % 2 === 1 ? unavailable() : undefined));
    memory.poke("a", new Uint8Array(4));
    await bucket.put("b", bytesSource(new Uint8Array(5)), {});
    expect(await bucket.get("a", { maxBytes: 4 })).toHaveLength(4);
    expect(await bucket.get("b", { maxBytes: 4, range: { offset: 1, length: 2 } })).toHaveLength(2);
    expect(await bucket.head("b", {})).toBe(5);
    expect((await bucket.list("", { limit: 1, startAfter: "a" })).objects).toEqual([{ key: "b", size: 5 }]);
    await bucket.delete("a", {});
    expect(memory.entries().map(([key]) => key)).toEqual(["b"]);
    expect(calls).toHaveLength(12);
  });

  test("other kinds, and what is no error of ours, are thrown at once", async () => {
    for (const kind of ["invalid", "corrupt", "conflict", "fenced"] as const) {
      const error = new MetaMasterError("Other", kind, "no");
      const { bucket, calls } = new Failing(() => error);
      await expect(bucket.head("k", {})).rejects.toBe(error);
      expect(calls).toHaveLength(1);
    }
    const bug = new TypeError("bug");
    await expect(new Failing(() => bug).bucket.head("k", {})).rejects.toBe(bug);
  });

  test("gives up at the deadline of the call with the last error and the number of tries", async () => {
    const { bucket, clock } = new Failing(() => unavailable());
    const error: unknown = await bucket.head("k", { deadlineMs: 1_000 }).catch((thrown: unknown) => thrown);
    expect(hasCode(error, "BucketUnavailable") && [error.kind, error.message, error.hint]).toEqual([
      "transient",
      "Could not: 503. Given up after 5 tries in 750 ms.",
      "Wait.",
    ]);
    expect(hasCode(error, "BucketUnavailable") && error.details).toEqual({ status: 503, attempts: 5, spentMs: 750 });
    expect(clock.monotonicMs()).toBeLessThanOrEqual(1_000);
  });

  test("a try gets the time of its bytes, and never more than is left", async () => {
    const { bucket, calls } = new Failing((attempt) => (attempt <= 3 ? unavailable() : undefined), "before", 600);
    await bucket.put("k", bytesSource(new Uint8Array(2_000)), { deadlineMs: 4_000 });
    expect(calls.map(({ deadlineMs }) => deadlineMs)).toEqual([3_000, 3_000, 2_650, 1_850]);
  });

  test("an abort ends the pause, with the caller's reason", async () => {
    const abort = new AbortController();
    const reason = new Error("stop");
    const { bucket, clock, calls } = new Failing(() => {
      abort.abort(reason);
      return unavailable();
    });
    await expect(bucket.head("k", { signal: abort.signal })).rejects.toBe(reason);
    expect([calls.length, clock.slept]).toEqual([1, []]);
  });
});

describe("observed", () => {
  test("tells operation, outcome, bytes and duration of every call", async () => {
    const clock = new JumpingClock();
    const seen: ObservedCall[] = [];
    const memory = new MemoryBucket();
    const slow = new WrappedBucket(memory, async (_info, call, work) => {
      clock.spend(7);
      return work(call);
    });
    const bucket = observed(slow, { clock, observer: { onCall: (call) => seen.push(call) } });
    await bucket.putIfAbsent("a", new Uint8Array(3), {});
    await bucket.putIfAbsent("a", new Uint8Array(3), {});
    await bucket.put("b", bytesSource(new Uint8Array(4)), {});
    await bucket.get("b", { maxBytes: 9 });
    await bucket.get("c", { maxBytes: 9 });
    await bucket.head("c", {});
    await bucket.list("", {});
    await bucket.delete("a", {});
    await expect(bucket.get("b", { maxBytes: 1 })).rejects.toThrow();
    await expect(bucket.get("b", { maxBytes: 9, signal: AbortSignal.abort() })).rejects.toThrow();
    expect(
      seen.map(({ operation, outcome, bytesSent, bytesReceived }) => [operation, outcome, bytesSent, bytesReceived]),
    ).toEqual([
      ["putIfAbsent", "ok", 3, 0],
      ["putIfAbsent", "exists", 0, 0],
      ["put", "ok", 4, 0],
      ["get", "ok", 0, 4],
      ["get", "absent", 0, 0],
      ["head", "absent", 0, 0],
      ["list", "ok", 0, 0],
      ["delete", "ok", 0, 0],
      ["get", "ObjectTooLarge", 0, 0],
      ["get", "Aborted", 0, 0],
    ]);
    expect(new Set(seen.map(({ durationMs }) => durationMs))).toEqual(new Set([7]));
  });
});
