import { describe, expect, test } from "@jest/globals";
import { ManualClock } from "../../bucket/testing/test-clock.js";
import { GroupCommit } from "./group-commit.js";
import { resolveAll, Waiters } from "./waiters.js";

const never = new AbortController().signal;
const PUT_MS = 100;

interface Setup {
  readonly clock: ManualClock;
  readonly waiters: Waiters<number>;
  readonly commit: GroupCommit;
  readonly ask: (callers: number) => void;
  /** Answers all who wait, as a round does when it is durable. */
  readonly answer: () => void;
}

function setup(): Setup {
  const clock = new ManualClock();
  const waiters = new Waiters<number>(clock);
  const commit = new GroupCommit(clock, waiters);
  for (let i = 0; i < 100; i++) commit.putTook(PUT_MS);
  return {
    clock,
    waiters,
    commit,
    ask: (callers) => {
      for (let i = 0; i < callers; i++) void waiters.wait(never);
    },
    answer: () => {
      const batch = waiters.take();
      commit.answering(batch.length);
      resolveAll(batch, 1);
    },
  };
}

async function settles(promise: Promise<void>): Promise<boolean> {
  let settled = false;
  void promise.then(() => (settled = true));
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

describe("group commit", () => {
  test("a lone caller never waits", async () => {
    const { commit, ask, answer, clock } = setup();
    for (let round = 0; round < 3; round++) {
      ask(1);
      expect(await settles(commit.gather(never))).toBe(true);
      answer();
    }
    expect(clock.sleeping).toBe(0);
  });

  test("the first of many waits for the others, and no longer than until all are there", async () => {
    const { commit, ask, answer, clock } = setup();
    ask(64);
    answer();
    ask(1);
    const gathered = commit.gather(never);
    expect(await settles(gathered)).toBe(false);
    ask(62);
    expect(await settles(gathered)).toBe(false);
    ask(1);
    expect(await settles(gathered)).toBe(true);
    expect(clock.sleeping).toBe(0);
  });

  test("two groups that take turns become one", async () => {
    const { commit, ask, answer, waiters } = setup();
    ask(40);
    const first = waiters.take();
    ask(24);
    commit.answering(first.length);
    resolveAll(first, 1);
    const gathered = commit.gather(never);
    ask(39);
    expect(await settles(gathered)).toBe(false);
    ask(1);
    expect(await settles(gathered)).toBe(true);
    expect(waiters.count).toBe(64);
    answer();
  });

  test("never longer than a part of a put; in vain, it is tried less and less", async () => {
    const { commit, ask, answer, clock } = setup();
    let waited = 0;
    for (let round = 0; round < 40; round++) {
      ask(8);
      answer();
      ask(1);
      const gathered = commit.gather(never);
      if (!(await settles(gathered))) {
        waited++;
        clock.advance(PUT_MS * 0.75);
        expect(await settles(gathered)).toBe(true);
      }
      expect(clock.sleeping).toBe(0);
      answer();
    }
    expect(waited).toBeGreaterThan(1);
    expect(waited).toBeLessThan(10);
  });

  test("ends with the epoch", async () => {
    const { commit, ask, answer } = setup();
    const life = new AbortController();
    ask(2);
    answer();
    ask(1);
    const gathered = commit.gather(life.signal);
    life.abort(new Error("over"));
    await expect(gathered).rejects.toThrow("over");
  });
});
