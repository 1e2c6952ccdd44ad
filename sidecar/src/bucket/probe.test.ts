import { describe, expect, test } from "@jest/globals";
import { MetaMasterError, hasCode } from "../base/errors.js";
import { SystemClock } from "../base/system-clock.js";
import { SystemRandom } from "../base/system-random.js";
import type { Bucket, ByteSource, CallOptions, GetOptions, ListOptions, ListPage } from "./bucket.js";
import { BucketUnsafe, probeBucket } from "./probe.js";
import type { Retry } from "./retry.js";
import { MemoryBucket } from "./testing/memory-bucket.js";

const never = new AbortController().signal;

function components(): { clock: SystemClock; random: SystemRandom; onRetry: (retry: Retry) => void; retries: Retry[] } {
  const retries: Retry[] = [];
  return { clock: new SystemClock(), random: new SystemRandom(), onRetry: (retry) => retries.push(retry), retries };
}

/** A store with one flaw. */
class Flawed extends MemoryBucket {
  override get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
    return super.get(key, call);
  }
}

async function failedSteps(bucket: Bucket): Promise<string[]> {
  const error: unknown = await probeBucket(bucket, components(), never).catch((thrown: unknown) => thrown);
  if (!(error instanceof BucketUnsafe)) return [];
  for (const { name, ok, saw } of error.report.steps) if (!ok) expect(error.message).toContain(`${name}: ${saw}`);
  return error.report.steps.filter(({ ok }) => !ok).map(({ name }) => name);
}

const raceStep = "of concurrent creates exactly one wins";
const twiceStep = "a create over an existing key is refused";

describe("the start-up probe", () => {
  test("passes a correct store, says what it saw, and leaves nothing behind", async () => {
    const bucket = new MemoryBucket();
    const report = await probeBucket(bucket, components(), never);
    expect([report.safe, report.url, report.leftovers]).toEqual([true, "memory://test", []]);
    expect(report.steps.map(({ ok }) => ok)).toEqual([true, true, true, true, true, true, true]);
    expect(report.steps.find(({ name }) => name === raceStep)?.saw).toBe("8 races of 12");
    expect(bucket.entries()).toEqual([]);
  });

  test("waits no longer for a store that is far away than the longest of its steps takes", async () => {
    let [under, most, waits] = [0, 0, 0];
    class Far extends Flawed {
      readonly #away = async <T>(work: () => Promise<T>): Promise<T> => {
        if (under++ === 0) waits += 1;
        most = Math.max(most, under);
        await new Promise((resolve) => setTimeout(resolve, 2));
        under -= 1;
        return await work();
      };
      override put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
        return this.#away(() => super.put(key, source, call));
      }
      override delete(key: string, call: CallOptions): Promise<void> {
        return this.#away(() => super.delete(key, call));
      }
    }
    const bucket = new Far();
    expect((await probeBucket(bucket, components(), never)).safe).toBe(true);
    expect(bucket.entries()).toEqual([]);
    expect(most).toBeGreaterThan(10);
    expect(waits).toBeLessThan(20);
  });

  test("one step that the store fails leaves nothing of the others behind", async () => {
    const denied = new MetaMasterError("BucketAccessDenied", "invalid", "no");
    class NoList extends Flawed {
      override list(): Promise<ListPage> {
        return Promise.reject(denied);
      }
    }
    const bucket = new NoList();
    await expect(probeBucket(bucket, components(), never)).rejects.toBe(denied);
    expect(bucket.entries()).toEqual([]);
  });

  test("refuses a store that ignores the condition", async () => {
    class Ignores extends Flawed {
      override async putIfAbsent(key: string, body: Uint8Array): Promise<"created" | "exists"> {
        this.poke(key, new Uint8Array(body));
        return "created";
      }
    }
    expect(await failedSteps(new Ignores())).toEqual([twiceStep, raceStep]);
  });

  test("refuses a store that has several winners only under concurrency: looks, waits, writes", async () => {
    class LooksFirst extends Flawed {
      override async putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
        if ((await this.head(key, call)) !== undefined) return "exists";
        await new Promise((resolve) => setImmediate(resolve));
        this.poke(key, new Uint8Array(body));
        return "created";
      }
    }
    expect(await failedSteps(new LooksFirst())).toEqual([raceStep]);
  });

  test("refuses a store whose second winner comes in one race of eight only", async () => {
    let races = 0;
    class Seldom extends Flawed {
      override async putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
        const answer = await super.putIfAbsent(key, body, call);
        if (answer === "created" && key.includes("/race/")) races++;
        return answer === "exists" && races === 6 && key.endsWith("/race/5") ? "created" : answer;
      }
    }
    expect(await failedSteps(new Seldom())).toEqual([raceStep]);
  });

  test("refuses a store where a loser's bytes end up in the object, at once or late", async () => {
    class LoserWrites extends Flawed {
      override async putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
        const answer = await super.putIfAbsent(key, body, call);
        if (answer === "exists" && key.includes("/race/")) this.poke(key, new Uint8Array(body));
        return answer;
      }
    }
    expect(await failedSteps(new LoserWrites())).toEqual([raceStep]);
    class Late extends Flawed {
      override async get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
        const got = await super.get(key, call);
        if (key.endsWith("/race/7")) this.poke(key.replace("/race/7", "/race/0"), new Uint8Array(3));
        return got;
      }
    }
    expect(await failedSteps(new Late())).toEqual([raceStep]);
  });

  test("refuses stale reads, stale listings, ranges that are none, and deletes that are not seen", async () => {
    const old = new Map<string, Uint8Array>();
    class StaleRead extends Flawed {
      override async put(key: string, source: ByteSource, call: CallOptions): Promise<void> {
        const before = await super.get(key, { maxBytes: 1 << 20 });
        if (before !== undefined) old.set(key, before);
        await super.put(key, source, call);
      }
      override async get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
        return old.get(key) ?? super.get(key, call);
      }
    }
    expect(await failedSteps(new StaleRead())).toEqual(["a write is read at once"]);
    class StaleList extends Flawed {
      override async list(): Promise<ListPage> {
        return { objects: [], more: false };
      }
    }
    expect(await failedSteps(new StaleList())).toEqual(["a write is listed at once, in order"]);
    class InclusiveList extends Flawed {
      override async list(prefix: string, call: ListOptions): Promise<ListPage> {
        const { startAfter, ...rest } = call;
        return super.list(prefix, startAfter === undefined ? rest : { ...rest, startAfter: startAfter.slice(0, -1) });
      }
    }
    expect(await failedSteps(new InclusiveList())).toEqual(["a write is listed at once, in order"]);
    class NoRange extends Flawed {
      override async get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
        return super.get(key, { ...call, range: undefined });
      }
    }
    expect(await failedSteps(new NoRange())).toEqual(["a range is read as such"]);
    class NoDelete extends Flawed {
      override async delete(): Promise<void> {
        return undefined;
      }
    }
    expect(await failedSteps(new NoDelete())).toEqual(["a delete is seen at once"]);
  });

  test("is not misled by lost answers: a winner who wasn't told is no flaw", async () => {
    let calls = 0;
    class Lossy extends Flawed {
      override async putIfAbsent(key: string, body: Uint8Array, call: CallOptions): Promise<"created" | "exists"> {
        const answer = await super.putIfAbsent(key, body, call);
        if (calls++ % 3 === 0) throw new MetaMasterError("BucketUnavailable", "transient", "lost");
        return answer;
      }
    }
    const parts = components();
    expect((await probeBucket(new Lossy(), parts, never)).safe).toBe(true);
    expect(parts.retries.length).toBeGreaterThan(0);
  });

  test("throws what the store says if it can't be asked, and the caller's reason if aborted", async () => {
    const denied = new MetaMasterError("BucketAccessDenied", "invalid", "no");
    class Denied extends Flawed {
      override putIfAbsent(): Promise<"created" | "exists"> {
        return Promise.reject(denied);
      }
    }
    await expect(probeBucket(new Denied(), components(), never)).rejects.toBe(denied);
    const reason = new Error("stop");
    await expect(probeBucket(new MemoryBucket(), components(), AbortSignal.abort(reason))).rejects.toBe(reason);
    class Away extends Flawed {
      override putIfAbsent(key: string): Promise<"created" | "exists"> {
        return key.includes("race")
          ? Promise.reject(new MetaMasterError("BucketUnavailable", "transient", "away"))
          : super.putIfAbsent(key, new Uint8Array(100), {});
      }
      override async get(key: string, call: GetOptions): Promise<Uint8Array | undefined> {
        return key.includes("race") ? undefined : super.get(key, call);
      }
    }
    const away: unknown = await probeBucket(new Away(), components(), never).catch((error: unknown) => error);
    expect(hasCode(away, "BucketUnavailable")).toBe(true);
  });
});
