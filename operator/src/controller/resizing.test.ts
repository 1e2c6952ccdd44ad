import { expect, test } from "@jest/globals";
import { resizingOf } from "./resizing.js";

const claim = (asked: string, has: string | undefined, status: object = {}): object => ({
  kind: "PersistentVolumeClaim",
  metadata: { name: "data-meta-0" },
  spec: { resources: { requests: { storage: asked } } },
  status: { ...(has === undefined ? {} : { capacity: { storage: has } }), ...status },
});
const condition = (type: string, message?: string, status = "True"): object => ({
  conditions: [{ type, status, ...(message === undefined ? {} : { message }) }],
});

test.each<[string, object, RegExp | undefined, RegExp | undefined]>([
  ["as large as was asked for", claim("10Gi", "10Gi"), undefined, undefined],
  ["larger, in another unit", claim("1000Mi", "1Gi"), undefined, undefined],
  ["not there yet", claim("10Gi", undefined), undefined, undefined],
  ["of an unknown size", claim("many", "10Gi"), undefined, undefined],
  ["smaller", claim("20Gi", "10Gi"), /^data-meta-0 has 10Gi of 20Gi; .*kubectl describe pvc data-meta-0$/, undefined],
  ["being resized", claim("20Gi", "10Gi", condition("Resizing")), /^data-meta-0 has 10Gi of 20Gi; /, undefined],
  [
    "waiting for its file system",
    claim("20Gi", "10Gi", condition("FileSystemResizePending", "Waiting for user to (re-)start a pod")),
    /^data-meta-0 has 10Gi of 20Gi: its file system .*kubectl delete pod meta-0, standbys first$/,
    undefined,
  ],
  [
    "waiting for its file system, of the new size already",
    claim("20Gi", "20Gi", condition("FileSystemResizePending")),
    /its file system/,
    undefined,
  ],
  [
    "no longer waiting for it",
    claim("20Gi", "20Gi", condition("FileSystemResizePending", "", "False")),
    undefined,
    undefined,
  ],
  [
    "refused by the storage",
    claim("20Gi", "10Gi", condition("ControllerResizeError", "disk is at its limit")),
    undefined,
    /^data-meta-0 has 10Gi of 20Gi: disk is at its limit$/,
  ],
  [
    "refused by the storage, without a word",
    claim("20Gi", "10Gi", { allocatedResourceStatuses: { storage: "NodeResizeInfeasible" } }),
    undefined,
    /: NodeResizeInfeasible$/,
  ],
  [
    "on its way",
    claim("20Gi", "10Gi", { allocatedResourceStatuses: { storage: "ControllerResizeInProgress" } }),
    /^data-meta-0/,
    undefined,
  ],
])("a volume that is %s", (_what, one, waits, stuck) => {
  const told = resizingOf([one as never], ["meta-0"]);
  for (const [words, expected] of [
    [told.waits, waits],
    [told.stuck, stuck],
  ] as const) {
    if (expected === undefined) expect(words).toBeUndefined();
    else expect(words).toMatch(expected);
  }
});

test("several are told in one line", () => {
  const two = [claim("2Gi", "1Gi"), claim("4Gi", "1Gi")] as never[];
  expect(resizingOf(two, ["meta-0"]).waits).toMatch(/^data-meta-0 has 1Gi of 2Gi; .*; data-meta-0 has 1Gi of 4Gi; /);
});

test("one that no pod uses is not waited for", () => {
  const one = claim("20Gi", "10Gi", condition("FileSystemResizePending")) as never;
  expect(resizingOf([one], ["meta-1"])).toEqual({ waits: undefined, stuck: undefined });
});
