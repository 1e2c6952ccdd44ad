import { expect, test } from "@jest/globals";
import { resource, type MetaMasterCluster } from "../../../crds/src/index.js";
import type { LiveObject } from "../kube/objects.js";
import { LagClock } from "./lag.js";
import { observe } from "./observe.js";

const cluster = resource.parse({
  apiVersion: "metamaster.io/v1alpha1",
  kind: "MetaMasterCluster",
  metadata: { name: "meta", namespace: "default" },
  spec: {
    bucket: { url: "s3://bucket/meta" },
    template: { spec: { containers: [{ name: "master", image: "m" }] } },
    databases: [{ name: "meta", path: "meta" }],
    volumeClaimTemplate: { spec: { resources: { requests: { storage: "1Gi" } } } },
  },
}) as MetaMasterCluster;

const looping = (name: string): object => ({
  name,
  restartCount: 9,
  state: { waiting: { reason: "CrashLoopBackOff", message: "back-off" } },
});

function pod(role: string | undefined, status: object): LiveObject {
  const labels = role === undefined ? {} : { "metamaster.io/role": role };
  return { metadata: { name: "meta-0", namespace: "default", labels }, status: { podIP: "10.0.0.1", ...status } };
}

test.each([
  ["a primary", pod("primary", { phase: "Running" }), [true, false]],
  ["a standby", pod("standby", { phase: "Running" }), [false, true]],
  ["one that is neither", pod(undefined, { phase: "Running" }), [false, false]],
  [
    "a primary with a companion that fails",
    pod("primary", { phase: "Running", containerStatuses: [looping("exporter")] }),
    [true, false],
  ],
  [
    "a standby whose sidecar fails",
    pod("standby", { phase: "Running", initContainerStatuses: [looping("metamaster")] }),
    [false, false],
  ],
  ["a primary that was evicted", pod("primary", { phase: "Failed" }), [false, false]],
])("of %s that does not answer: may it serve, may it follow", async (_who, found, expected) => {
  const store = { of: () => [found], get: () => undefined };
  const [seen] = await observe(cluster, store, new LagClock(() => 0), async () => undefined);
  expect([seen?.member.mayServe, seen?.member.mayFollow]).toEqual(expected);
});
