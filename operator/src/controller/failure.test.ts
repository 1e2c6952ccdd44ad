import { expect, test } from "@jest/globals";
import { endedOften, failureOf, silenceOf } from "./failure.js";

const log = [
  '{"level":"info","msg":"the bucket keeps its promises"}',
  "error: first",
  '{"level":"info","msg":"again"}',
  "error: s3://b/p/ belongs to another cluster.",
  "  what to do: Check bucket and prefix.",
  "  code: ForeignCluster (docs/reference/errors.md)",
  "",
].join("\n");

function pod(name: string, restartCount: number, message: string): object {
  const state = { waiting: { reason: "CrashLoopBackOff", message: "back-off 40s" } };
  const status = { name, restartCount, state, lastState: { terminated: { message } } };
  return { status: { initContainerStatuses: [status] } };
}

function ended(restartCount: number): object {
  const state = { terminated: { reason: "Error", exitCode: 1 } };
  return { status: { containerStatuses: [{ name: "master", restartCount, state }] } };
}

test.each([
  [
    "the sidecar's last error and its remedy",
    pod("metamaster", 3, log),
    "container metamaster: CrashLoopBackOff (s3://b/p/ belongs to another cluster.; what to do: Check bucket and prefix.; code: ForeignCluster (docs/reference/errors.md))",
  ],
  [
    "the kubelet's words where it said no error",
    pod("metamaster", 3, "killed"),
    "container metamaster: CrashLoopBackOff (back-off 40s); see: kubectl logs POD -c metamaster --previous",
  ],
  [
    "the watchdog's last error and its remedy",
    pod("metamaster-watchdog", 3, "error: it can't listen.\n  what to do: Mount a volume there.\n"),
    "container metamaster-watchdog: CrashLoopBackOff (it can't listen.; what to do: Mount a volume there.)",
  ],
  [
    "the kubelet's words of another container",
    pod("proxy", 3, log),
    "container proxy: CrashLoopBackOff (back-off 40s); see: kubectl logs POD -c proxy --previous",
  ],
  ["one that has ended once more", ended(3), "container master: Error; see: kubectl logs POD -c master --previous"],
  ["nothing of one that has ended for the first time", ended(0), undefined],
  ["nothing of one that may come up yet", pod("metamaster", 2, log), undefined],
])("tells %s", (_what, found, told) => {
  expect(failureOf(found)).toBe(told);
});

test.each([
  [{ metadata: { name: "m-0" } }, "kubectl describe pod m-0"],
  [{ status: { podIP: "10.0.0.1" } }, "does not answer the operator at 10.0.0.1:8400"],
  [{ metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" }, status: { podIP: "10.0.0.1" } }, "being deleted"],
])("tells why nothing is known of %j", (silent, told) => {
  expect(silenceOf(silent)).toContain(told);
});

test("a sidecar that runs again for a moment is told with the error that it ended with", () => {
  const running = { status: { ...Reflect.get(pod("metamaster", 2, log), "status"), podIP: "10.0.0.1" } };
  expect(silenceOf(running)).toMatch(/ended and does not answer again yet \(s3:\/\/b\/p\/ belongs to another cluster/);
  const often = [2, 3].map((restarts) => endedOften(pod("metamaster", restarts, log)));
  expect([...often, endedOften({})]).toEqual([false, true, false]);
});
