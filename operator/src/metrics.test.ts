import { expect, test } from "@jest/globals";
import { readFileSync } from "node:fs";
import type { LiveObject } from "./kube/objects.js";
import { OperatorMetrics } from "./metrics.js";
import { operatorMetricsPage } from "./metrics-page.js";

test("the page is what the code says (else: make docs)", async () => {
  expect(readFileSync("docs/reference/operator-metrics.md", "utf8")).toBe(await operatorMetricsPage());
});

test("writes are counted from wherever they stand when they are asked for", async () => {
  let writes = 3;
  const { registry } = new OperatorMetrics({ depth: () => 2, writes: () => writes, clusters: () => [] });
  const text = (): Promise<string> => registry.metrics();
  expect(await text()).toContain("metamaster_operator_api_writes_total 3\n");
  writes = 5;
  expect(await text()).toContain("metamaster_operator_api_writes_total 5\n");
  expect(await text()).toContain("metamaster_operator_queue_depth 2\n");
});

test("of each resource: what it wants, what it has, and its conditions, for as long as it is there", async () => {
  const meta: LiveObject = {
    metadata: { name: "meta", namespace: "prod" },
    spec: { replicas: 3 },
    status: {
      readyReplicas: 2,
      conditions: [
        { type: "Ready", status: "False" },
        { type: "PrimaryElected", status: "True" },
        { type: "BucketReachable", status: "Unknown" },
      ],
    },
  };
  const fresh: LiveObject = { metadata: { name: "new", namespace: "prod" }, spec: { replicas: 1 } };
  let clusters: readonly LiveObject[] = [meta, fresh];
  const { registry } = new OperatorMetrics({ depth: () => 0, writes: () => 0, clusters: () => clusters });
  const lines = async (): Promise<string[]> =>
    (await registry.metrics()).split("\n").filter((line) => line.startsWith("metamaster_cluster_"));
  const of = 'namespace="prod",metamaster_cluster="meta"';
  expect(await lines()).toEqual([
    `metamaster_cluster_condition{${of},condition="Ready"} 0`,
    `metamaster_cluster_condition{${of},condition="PrimaryElected"} 1`,
    `metamaster_cluster_condition{${of},condition="BucketReachable"} 0`,
    `metamaster_cluster_members_wanted{${of}} 3`,
    'metamaster_cluster_members_wanted{namespace="prod",metamaster_cluster="new"} 1',
    `metamaster_cluster_members_ready{${of}} 2`,
    'metamaster_cluster_members_ready{namespace="prod",metamaster_cluster="new"} 0',
  ]);
  clusters = [];
  expect(await lines()).toEqual([]);
});
