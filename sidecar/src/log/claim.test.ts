import { expect, test } from "@jest/globals";
import { MemoryBucket } from "../bucket/testing/memory-bucket.js";
import { JumpingClock } from "../bucket/testing/test-clock.js";
import { logKey } from "../formats/entry.js";
import { START, history, never, settle, side, wal, won, type Side } from "./testing/log-bench.js";

function bench(): { store: MemoryBucket; clock: JumpingClock; a: Side; b: Side } {
  const store = new MemoryBucket();
  const clock = new JumpingClock();
  return { store, clock, a: side(store, clock, "a"), b: side(store, clock, "b", 2) };
}

test("of two claims for one slot one is won, the other lost", async () => {
  const { a, b } = bench();
  const outcomes = await Promise.all([a.claim(START, 1, never), b.claim(START, 1, never)]);
  expect(outcomes.map(({ outcome }) => outcome).toSorted()).toEqual(["lost", "won"]);
});

test("a slot that was taken since is lost; at the true end it is won", async () => {
  const { a, b } = bench();
  const writer = await won(a.claim, START, 1);
  const end = writer.position;
  const { position } = await writer.append(wal("x"), never);
  expect(await b.claim(end, 2, never)).toEqual({ outcome: "lost" });
  const second = await won(b.claim, position, 2);
  expect(second.epoch).toBe(2);
  expect(second.position.slot).toBe(2);
  await second.append(wal("y"), never);
  expect((await history(a.reader)).map(({ header }) => header.epoch)).toEqual([1, 1, 2, 2]);
});

test("a claim whose answer was lost is known as its own, and its lease counts from the first try", async () => {
  const { a, clock } = bench();
  let left = 3;
  a.bucket.fate = (call) => (call === "putIfAbsent" && left-- > 0 ? "lost" : "right");
  clock.spend(10);
  const writer = await won(a.claim, START, 1);
  expect(writer.lastSentMs).toBe(10);
  expect(clock.monotonicMs()).toBeGreaterThanOrEqual(10);
  expect((await history(a.reader)).map(({ header }) => header.kind)).toEqual(["claim"]);
});

test("a claim that was given up and asked for again uses the same bytes, also when the first put comes late", async () => {
  const { a, store, clock } = bench();
  const late = Promise.withResolvers<undefined>();
  a.bucket.gate = (call) => (call === "putIfAbsent" ? late.promise : undefined);
  const giveUp = new AbortController();
  const first = a.claim(START, 1, giveUp.signal);
  await settle();
  giveUp.abort(new Error("enough"));
  await expect(first).rejects.toThrow("enough");
  clock.spend(60_000);
  late.resolve(undefined);
  await settle();
  a.bucket.gate = () => undefined;
  const writer = await won(a.claim, START, 1);
  expect(store.entries()).toHaveLength(1);
  expect(writer.lastSentMs).toBe(0);
  const [one, two] = a.bucket.tried;
  expect(one?.bytes).toEqual(two?.bytes);
});

test("garbage in the slot: lost, and never overwritten", async () => {
  const { a, store } = bench();
  store.poke(logKey(0), Buffer.from("garbage"));
  expect(await a.claim(START, 1, never)).toEqual({ outcome: "lost" });
  expect(store.entries()).toEqual([[logKey(0), Buffer.from("garbage")]]);
});

test("a claim is aborted at once", async () => {
  const { a } = bench();
  await expect(a.claim(START, 1, AbortSignal.abort(new Error("no")))).rejects.toThrow("no");
  expect(a.bucket.tried).toEqual([]);
});

test("nothing but the claim of a later epoch is needed to fence: the old one's tail is either before it or nowhere", async () => {
  const { a, b } = bench();
  const old = await won(a.claim, START, 1);
  let held = true;
  const late = Promise.withResolvers<undefined>();
  a.bucket.gate = (call) => (call === "putIfAbsent" && held ? late.promise : undefined);
  const tail = old.append(wal("tail"), never);
  tail.catch(() => undefined);
  await settle();
  await won(b.claim, old.position, 2);
  held = false;
  late.resolve(undefined);
  await expect(tail).rejects.toMatchObject({ code: "Fenced" });
  expect((await history(b.reader)).map(({ header }) => header.kind)).toEqual(["claim", "claim"]);
});
