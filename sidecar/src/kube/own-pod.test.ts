import { expect, test } from "@jest/globals";
import { viewOf } from "./own-pod.js";

const pod = (counts: Readonly<Record<string, number>>): object => ({
  status: { initContainerStatuses: Object.entries(counts).map(([name, restartCount]) => ({ name, restartCount })) },
});

test.each([
  ["both were started again", { "metamaster-watchdog": 1, metamaster: 2, mine: 0 }, true],
  ["the other one was always there", { "metamaster-watchdog": 0, metamaster: 7 }, false],
  ["nothing happened", { "metamaster-watchdog": 0, metamaster: 0, mine: 9 }, false],
  ["the containers are called otherwise", { sidecar: 1 }, false],
])("a pod is worn or not: %s", (_what, counts, expected) => {
  expect(viewOf(pod(counts)).isWorn).toBe(expected);
  expect(viewOf({}).isWorn).toBe(false);
});
