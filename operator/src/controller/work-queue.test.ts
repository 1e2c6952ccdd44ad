import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { WorkQueue, type Again } from "./work-queue.js";

const settings = { parallel: 2, backoffMsMin: 5, backoffMsMax: 20 };

async function until(condition: () => boolean): Promise<void> {
  for (let looks = 0; !condition(); looks++) {
    if (looks > 2000) throw new Error("it did not come to that");
    await sleep(5);
  }
}

test("a key is worked on once for many changes, never twice at a time, and once more for a change meanwhile", async () => {
  const gates: PromiseWithResolvers<Again>[] = [];
  const queue = new WorkQueue(
    settings,
    () => {
      const gate = Promise.withResolvers<Again>();
      gates.push(gate);
      return gate.promise;
    },
    () => undefined,
  );
  for (let times = 0; times < 3; times++) queue.add("a");
  await until(() => gates.length === 1);
  queue.add("a");
  queue.add("a");
  await sleep(20);
  expect(gates).toHaveLength(1);
  gates[0]?.resolve(undefined);
  await until(() => gates.length === 2);
  gates[1]?.resolve(undefined);
  await sleep(20);
  expect(gates).toHaveLength(2);
  expect(queue.depth).toBe(0);
  await queue.stop();
});

test("what fails comes again by itself, not sooner for a change; other keys go on", async () => {
  const worked: string[] = [];
  const failures: number[] = [];
  const queue = new WorkQueue(
    { ...settings, backoffMsMin: 50, backoffMsMax: 50 },
    async (key) => {
      worked.push(key);
      if (key === "bad" && failures.length < 2) throw new Error("no");
      return undefined;
    },
    (_key, _error, count) => failures.push(count),
  );
  queue.add("bad");
  await until(() => failures.length === 1);
  queue.add("bad");
  queue.add("good");
  await until(() => worked.includes("good"));
  expect(worked).toEqual(["bad", "good"]);
  await until(() => worked.filter((key) => key === "bad").length === 3);
  expect(failures).toEqual([1, 2]);
  await queue.stop();
});

test("one that asks for it is looked at again, and stopping ends that", async () => {
  let times = 0;
  const queue = new WorkQueue(
    settings,
    async () => (++times < 3 ? 1 : 1_000_000),
    () => undefined,
  );
  queue.add("a");
  await until(() => times === 3);
  await queue.stop();
  queue.add("a");
  await sleep(20);
  expect(times).toBe(3);
});
