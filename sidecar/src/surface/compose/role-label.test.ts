import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { ManualClock } from "../../bucket/testing/test-clock.js";
import type { PodView } from "../../kube/own-pod.js";
import { Changes } from "../../base/changes.js";
import { RoleBoard } from "../../member/roles.js";
import { silent } from "../../member/testing/contender.js";
import { keepRoleLabel, ROLE_LABEL } from "./role-label.js";

class SeenPod {
  readonly changed = new Changes();
  view: PodView | undefined;
  readonly patched: unknown[] = [];

  /** A patch is seen as it is made. */
  async label(labels: Readonly<Record<string, string | null>>): Promise<void> {
    this.patched.push(labels[ROLE_LABEL]);
    this.show(labels[ROLE_LABEL] ?? null);
  }

  show(role: string | null): void {
    const labels = role === null ? {} : { [ROLE_LABEL]: role };
    this.view = { annotations: {}, labels, wasStarted: false, isBackingOff: false, isWorn: false };
    this.changed.notify();
  }
}

let clock: ManualClock;
let pod: SeenPod;
let roles: RoleBoard;
let over: AbortController;
let keeping: Promise<void>;

beforeEach(async () => {
  clock = new ManualClock();
  pod = new SeenPod();
  roles = new RoleBoard(clock);
  over = new AbortController();
  keeping = keepRoleLabel({ roles, pod, watch: pod, clock, logger: silent }, over.signal);
  await settle();
});

afterEach(async () => {
  over.abort(new Error("over"));
  await keeping;
});

async function settle(): Promise<void> {
  for (let turns = 0; turns < 5; turns++) await setImmediate();
}

async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    clock.advance(Math.min(100, left));
    await settle();
  }
}

test("a patch that was given up and is done late is undone", async () => {
  roles.enter("Primary", "test");
  await settle();
  roles.enter("Fencing", "test");
  await settle();
  expect(pod.patched).toEqual([null, "primary", null]);
  pod.show("primary");
  await pass(1000);
  expect(pod.patched).toEqual([null, "primary", null, null]);
});

test("what is seen late, of before the patch, is no reason for another one", async () => {
  roles.enter("Standby", "test");
  await settle();
  pod.show(null);
  await pass(500);
  pod.show("standby");
  await pass(120_000);
  expect(pod.patched).toEqual([null, "standby"]);
});

test("a watch that shows nothing new is no reason either", async () => {
  const { view } = pod;
  pod.label = async (labels) => void pod.patched.push(labels[ROLE_LABEL]);
  roles.enter("Standby", "test");
  await pass(120_000);
  expect(pod.view).toBe(view);
  expect(pod.patched).toEqual([null, "standby"]);
});

test("against somebody who sets it otherwise every time it is set less and less often", async () => {
  pod.label = async (labels) => {
    pod.patched.push(labels[ROLE_LABEL]);
    pod.show("mine");
  };
  roles.enter("Standby", "test");
  await pass(600_000);
  expect(pod.patched.length).toBeGreaterThan(10);
  expect(pod.patched.length).toBeLessThan(20);
  roles.enter("Primary", "test");
  await settle();
  expect(pod.patched.at(-1)).toBe("primary");
});

test("at the end it is taken away", async () => {
  roles.enter("Standby", "test");
  await settle();
  over.abort(new Error("over"));
  await keeping;
  expect(pod.patched).toEqual([null, "standby", null]);
});
