import { describe, expect, test } from "@jest/globals";
import { MemoryBucket } from "../bucket/testing/memory-bucket.js";
import { JumpingClock } from "../bucket/testing/test-clock.js";
import { logKey, type Position } from "../formats/entry.js";
import {
  START,
  SmallRandom,
  draft,
  history,
  never,
  settle,
  side,
  wal,
  won,
  type FaultyBucket,
  type Side,
} from "./testing/log-bench.js";
import type { LogWriter } from "./log.js";

interface Bench {
  readonly store: MemoryBucket;
  readonly clock: JumpingClock;
  readonly a: Side;
  readonly b: Side;
  readonly writer: LogWriter;
}

async function bench(seed = 1): Promise<Bench> {
  const store = new MemoryBucket();
  const clock = new JumpingClock();
  const a = side(store, clock, "a", seed);
  const b = side(store, clock, "b", seed + 1000);
  return { store, clock, a, b, writer: await won(a.claim, START, 1) };
}

/** One slot, one content: the rule that makes an ambiguous answer harmless. */
function expectOneContentPerSlot(bucket: FaultyBucket): void {
  const bySlot = new Map<string, Uint8Array>();
  for (const { key, bytes } of bucket.tried) {
    expect(Buffer.compare(bySlot.get(key) ?? bytes, bytes)).toBe(0);
    bySlot.set(key, bytes);
  }
}

const texts = async ({ reader }: Side): Promise<string[]> =>
  (await history(reader)).map(({ header, operations: [operation] }) =>
    operation?.type === "append" ? Buffer.from(operation.bytes).toString() : header.kind,
  );

describe("appending", () => {
  test("puts entries in slot order, chained, and tells when they were sent", async () => {
    const { a, writer, clock } = await bench();
    clock.spend(100);
    const first = await writer.append(wal("one"), never);
    clock.spend(50);
    const second = await writer.append(wal("two", 3), never);
    expect([first.position.slot, second.position.slot]).toEqual([1, 2]);
    expect([first.sentMs, second.sentMs, writer.lastSentMs]).toEqual([100, 150, 150]);
    expect(writer.position).toEqual(second.position);
    const entries = await history(a.reader);
    expect(entries.map(({ header }) => header.previous)).toEqual(["", expect.any(String), first.position.chain]);
    expect(await texts(a)).toEqual(["claim", "one", "two"]);
  });

  test("many at once keep their order, one put in flight, the next one ready", async () => {
    const { a, writer } = await bench();
    let inFlight = 0;
    let most = 0;
    a.bucket.gate = async (call) => {
      if (call !== "putIfAbsent") return;
      most = Math.max(most, ++inFlight);
      await settle();
      inFlight--;
    };
    const all = await Promise.all(
      ["a", "b", "c", "d", "e"].map((text, index) => writer.append(wal(text, index), never)),
    );
    expect(all.map(({ position }) => position.slot)).toEqual([1, 2, 3, 4, 5]);
    expect(most).toBe(1);
    expect(await texts(a)).toEqual(["claim", "a", "b", "c", "d", "e"]);
  });

  test("after errors and lost answers tries the identical bytes until they are there", async () => {
    const { a, writer, clock } = await bench();
    const fates = ["failed", "lost", "failed", "lost", "right"] as const;
    let call = 0;
    a.bucket.fate = () => fates[call++] ?? "right";
    const beforeMs = clock.monotonicMs();
    const { position, sentMs } = await writer.append(wal("one"), never);
    expect(position.slot).toBe(1);
    // The lease counts from the first try, not from the one that was answered.
    expect(sentMs).toBe(beforeMs);
    expect(clock.monotonicMs()).toBeGreaterThan(beforeMs);
    expectOneContentPerSlot(a.bucket);
    expect(a.bucket.tried.filter(({ key }) => key === logKey(1)).length).toBeGreaterThan(1);
    expect(a.troubles.map((trouble) => trouble?.tries)).toEqual([1, 2, 3, 4]);
    await writer.append(wal("two", 3), never);
    expect(await texts(a)).toEqual(["claim", "one", "two"]);
  });

  test("credentials that fail are tried again, slowly and not in silence", async () => {
    const { a, writer, clock } = await bench();
    let left = 3;
    a.bucket.fate = () => (left-- > 0 ? "denied" : "right");
    await writer.append(wal("one"), never);
    expect(a.troubles).toHaveLength(3);
    expect(a.troubles[0]?.error.code).toBe("BucketAccessDenied");
    for (const ms of clock.slept) expect(ms).toBeGreaterThanOrEqual(5_000);
  });

  test("pauses grow and never pass their limit", async () => {
    const { a, writer, clock } = await bench();
    let left = 40;
    a.bucket.fate = () => (left-- > 0 ? "failed" : "right");
    await writer.append(wal("one"), never);
    expect(clock.slept).toHaveLength(40);
    expect(Math.max(...clock.slept)).toBeLessThanOrEqual(2_000);
    expect(Math.max(...clock.slept.slice(0, 3))).toBeLessThanOrEqual(160);
    expect(Math.max(...clock.slept)).toBeGreaterThan(500);
  });

  test("a store that says `exists` and then has nothing is not asked in a hot loop", async () => {
    const { a, store, writer, clock } = await bench();
    const inner = { putIfAbsent: store.putIfAbsent.bind(store) };
    let left = 5;
    store.putIfAbsent = async (key, body, call) => (left-- > 0 ? "exists" : await inner.putIfAbsent(key, body, call));
    await writer.append(wal("one"), never);
    expect(clock.slept).toHaveLength(5);
    expect(a.troubles[0]?.error.code).toBe("SlotVanished");
  });

  test("an entry that can't be encoded fails alone", async () => {
    const { a, writer } = await bench();
    const results = await Promise.allSettled([
      writer.append(wal("a"), never),
      writer.append(draft("wal", [{ type: "remove", file: "../x" }]), never),
      writer.append(wal("b", 1), never),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(results[1]).toMatchObject({ reason: { code: "EntryInvalid" } });
    expect(await texts(a)).toEqual(["claim", "a", "b"]);
  });

  test("a bucket that was closed is not waited for", async () => {
    const { store, writer } = await bench();
    await store.close();
    await expect(writer.append(wal("a"), never)).rejects.toMatchObject({ code: "BucketClosed" });
    await expect(writer.append(wal("b"), never)).rejects.toMatchObject({ code: "BucketClosed" });
  });
});

describe("fencing", () => {
  test("a foreign claim in the next slot ends the epoch for ever, for all that wait", async () => {
    const { a, b, writer } = await bench();
    const end = writer.position;
    await won(b.claim, end, 2);
    const results = await Promise.allSettled([writer.append(wal("x"), never), writer.append(wal("y", 1), never)]);
    for (const result of results) expect(result).toMatchObject({ reason: { code: "Fenced", kind: "fenced" } });
    expect(writer.fenced).toMatchObject({ details: { byMember: "b", byEpoch: 2 } });
    await expect(writer.append(wal("z"), never)).rejects.toBe(writer.fenced);
    await expect(writer.checkFence(never)).rejects.toBe(writer.fenced);
    expect(writer.position).toEqual(end);
    expect(await texts(a)).toEqual(["claim", "claim"]);
  });

  test("its own bytes of an earlier try are no stranger's", async () => {
    const { a, writer } = await bench();
    let call = 0;
    a.bucket.fate = (name) => (name === "putIfAbsent" && call++ === 0 ? "lost" : "right");
    const { position } = await writer.append(wal("one"), never);
    expect(position.slot).toBe(1);
    expect(a.bucket.calls.filter((each) => each === `get ${logKey(1)}`)).toHaveLength(1);
    expect(writer.fenced).toBeUndefined();
  });

  test("one bit that flips on the way of the reading back does not fence", async () => {
    const { a, store, writer } = await bench();
    let call = 0;
    a.bucket.fate = (name) => (name === "putIfAbsent" && call++ === 0 ? "lost" : "right");
    const get = store.get.bind(store);
    let flips = 1;
    store.get = async (key, options) => {
      const bytes = await get(key, options);
      if (bytes !== undefined && flips-- > 0) bytes[30] = (bytes[30] ?? 0) ^ 1;
      return bytes;
    };
    await expect(writer.append(wal("one"), never)).resolves.toMatchObject({ position: { slot: 1 } });
  });

  test("something that is no entry in the slot fences too: the slot is gone", async () => {
    const { store, writer } = await bench();
    store.poke(logKey(1), Buffer.from("garbage"));
    await expect(writer.append(wal("one"), never)).rejects.toMatchObject({ code: "Fenced" });
  });

  test("checkFence sees a claim, but not itself", async () => {
    const { a, b, writer } = await bench();
    await writer.checkFence(never);
    a.bucket.gate = (call, key) => (call === "putIfAbsent" && key === logKey(1) ? settle() : undefined);
    const appending = writer.append(wal("one"), never);
    await writer.checkFence(never);
    await appending;
    await writer.checkFence(never);
    await won(b.claim, writer.position, 2);
    await expect(writer.checkFence(never)).rejects.toMatchObject({ code: "Fenced" });
  });

  test("checkFence does not take an append of its own that was given up for a stranger", async () => {
    const { a, writer } = await bench();
    const giveUp = new AbortController();
    a.bucket.fate = (call) => (call === "putIfAbsent" ? "lost" : "right");
    a.bucket.gate = () => settle();
    const appending = writer.append(wal("one"), giveUp.signal);
    await settle();
    giveUp.abort(new Error("stop"));
    await expect(appending).rejects.toThrow("stop");
    await writer.checkFence(never);
    expect(writer.fenced).toBeUndefined();
  });

  test("a writer that slept past the trimming of everything else still finds its slot taken", async () => {
    const { store, a, b, writer } = await bench();
    await writer.append(wal("mine"), never);
    const second = await won(b.claim, writer.position, 2);
    for (let index = 0; index < 5; index++) await second.append(wal("x", index), never);
    // Everything but the claims is deleted.
    for (let slot = 0; slot <= second.position.slot; slot++) {
      if (slot !== 0 && slot !== 2) await store.delete(logKey(slot), {});
    }
    await expect(writer.append(wal("late", 4), never)).rejects.toMatchObject({ code: "Fenced" });
    expect(store.entries().map(([key]) => key)).toEqual([logKey(0), logKey(2)]);
    expect(a.bucket.tried.at(-1)?.key).toBe(logKey(2));
  });
});

test("checkFence does not take an append for a stranger that became durable while it looked", async () => {
  const { a, writer } = await bench();
  const looked = Promise.withResolvers<undefined>();
  a.bucket.gate = (call) => (call === "get" ? looked.promise : undefined);
  const check = writer.checkFence(never);
  await writer.append(wal("one"), never);
  looked.resolve(undefined);
  await check;
  expect(writer.fenced).toBeUndefined();
});

describe("an append that is given up", () => {
  test("and is settled later counts its lease from its first try", async () => {
    const { a, clock, writer } = await bench();
    clock.spend(100);
    const late = Promise.withResolvers<undefined>();
    a.bucket.gate = (call) => (call === "putIfAbsent" ? late.promise : undefined);
    const giveUp = new AbortController();
    const first = writer.append(wal("old"), giveUp.signal);
    await settle();
    giveUp.abort(new Error("enough"));
    await expect(first).rejects.toThrow("enough");
    clock.spend(1000);
    const gate = Promise.withResolvers<undefined>();
    a.bucket.gate = (call, key) => (call === "putIfAbsent" && key === logKey(2) ? gate.promise : undefined);
    const second = writer.append(wal("new", 3), never);
    await settle();
    expect([writer.position.slot, writer.lastSentMs]).toEqual([1, 100]);
    gate.resolve(undefined);
    expect((await second).sentMs).toBe(1100);
    late.resolve(undefined);
  });

  test("rejects at once with the signal's reason, and only that one", async () => {
    const { a, writer } = await bench();
    a.bucket.gate = (call) => (call === "putIfAbsent" ? settle() : undefined);
    const giveUp = new AbortController();
    const first = writer.append(wal("a"), giveUp.signal);
    const second = writer.append(wal("b"), never);
    giveUp.abort(new Error("enough"));
    await expect(first).rejects.toThrow("enough");
    await second;
    expect(["a,b", "b"]).toContain((await texts(a)).slice(1).join(","));
  });

  test("once tried keeps its bytes in its slot: a later append settles it first", async () => {
    const { a, writer } = await bench();
    const giveUp = new AbortController();
    // The first try never arrives nor answers; the caller gives up meanwhile.
    let stuck = true;
    a.bucket.fate = (call) => (call === "putIfAbsent" && stuck ? "failed" : "right");
    a.bucket.gate = (call) => (call === "putIfAbsent" && stuck ? settle() : undefined);
    const first = writer.append(wal("old"), giveUp.signal);
    await settle();
    giveUp.abort(new Error("enough"));
    await expect(first).rejects.toThrow("enough");
    await settle();
    stuck = false;
    const { position } = await writer.append(wal("new", 3), never);
    expect(position.slot).toBe(2);
    expectOneContentPerSlot(a.bucket);
    expect(await texts(a)).toEqual(["claim", "old", "new"]);
  });

  test("whose put arrives late is one history with what follows", async () => {
    const { a, store, writer } = await bench();
    const giveUp = new AbortController();
    const late = Promise.withResolvers<undefined>();
    a.bucket.gate = (call) => (call === "putIfAbsent" ? late.promise : undefined);
    const first = writer.append(wal("old"), giveUp.signal);
    await settle();
    giveUp.abort(new Error("enough"));
    await expect(first).rejects.toThrow("enough");
    a.bucket.gate = () => undefined;
    const next = writer.append(wal("new", 3), never);
    late.resolve(undefined);
    expect((await next).position.slot).toBe(2);
    expectOneContentPerSlot(a.bucket);
    expect(await texts(a)).toEqual(["claim", "old", "new"]);
    expect(store.entries()).toHaveLength(3);
  });

  test("before it was tried leaves nothing behind, though it was encoded already", async () => {
    const { a, writer } = await bench();
    const gate = Promise.withResolvers<undefined>();
    a.bucket.gate = (call) => (call === "putIfAbsent" ? gate.promise : undefined);
    const giveUp = new AbortController();
    const first = writer.append(wal("a"), never);
    const second = writer.append(wal("b", 1), giveUp.signal);
    const third = writer.append(wal("c", 1), never);
    await settle();
    giveUp.abort(new Error("enough"));
    await expect(second).rejects.toThrow("enough");
    gate.resolve(undefined);
    expect((await first).position.slot).toBe(1);
    expect((await third).position.slot).toBe(2);
    expect(await texts(a)).toEqual(["claim", "a", "c"]);
  });

  test("before it begins does nothing", async () => {
    const { a, writer } = await bench();
    await expect(writer.append(wal("a"), AbortSignal.abort(new Error("no")))).rejects.toThrow("no");
    expect(await texts(a)).toEqual(["claim"]);
  });
});

test("random faults, aborts and rivals: one chain, one content a slot, what was acknowledged is there", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const { a, b, writer } = await bench(seed);
    const random = new SmallRandom(seed);
    const faulty = (bucket: FaultyBucket): void => {
      bucket.fate = (call) => {
        const dice = random.float();
        if (call === "get") return dice < 0.1 ? "failed" : "right";
        return dice < 0.2 ? "failed" : dice < 0.4 ? "lost" : "right";
      };
    };
    faulty(a.bucket);
    faulty(b.bucket);
    const acknowledged: Position[] = [];
    const run = async (pen: LogWriter, count: number): Promise<void> => {
      const pending = Array.from({ length: count }, async (_, index) => {
        const controller = new AbortController();
        const promise = pen.append(wal(`${pen.epoch}.${index}`), controller.signal);
        if (random.float() < 0.3) setImmediate(() => controller.abort(new Error("enough")));
        acknowledged.push((await promise).position);
      });
      for (const { status, reason } of (await Promise.allSettled(pending)).map((each) => ({
        reason: undefined,
        ...each,
      }))) {
        if (status === "rejected") expect(String(reason)).toMatch(/enough|Epoch 1 is over/);
      }
    };
    const rival = async (): Promise<void> => {
      for (let end = START; ;) {
        for (let entry = await b.reader.next(end, never).catch(() => undefined); entry !== undefined;) {
          end = entry.position;
          entry = await b.reader.next(end, never).catch(() => undefined);
        }
        const claimed = await b.claim(end, 2, never);
        if (claimed.outcome === "won") return await run(claimed.writer, 4);
      }
    };
    await Promise.all([run(writer, 8), rival()]);
    for (const each of [a, b]) each.bucket.fate = () => "right";
    const entries = await history(b.reader);
    for (const { slot } of acknowledged) expect(entries[slot]).toBeDefined();
    expect(entries.filter(({ header }) => header.kind === "claim")).toHaveLength(2);
    const foreign = entries.findIndex(({ header }) => header.epoch === 2);
    for (const { header } of entries.slice(foreign)) expect(header.epoch).toBe(2);
    expectOneContentPerSlot(a.bucket);
  }
});
