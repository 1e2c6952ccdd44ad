import { expect, test } from "@jest/globals";
import { readFileSync } from "node:fs";
import { OperatorMetrics } from "./metrics.js";
import { operatorMetricsPage } from "./metrics-page.js";

test("the page is what the code says (else: make docs)", async () => {
  expect(readFileSync("docs/reference/operator-metrics.md", "utf8")).toBe(await operatorMetricsPage());
});

test("writes are counted from wherever they stand when they are asked for", async () => {
  let writes = 3;
  const { registry } = new OperatorMetrics(
    () => 2,
    () => writes,
  );
  const text = (): Promise<string> => registry.metrics();
  expect(await text()).toContain("metamaster_operator_api_writes_total 3\n");
  writes = 5;
  expect(await text()).toContain("metamaster_operator_api_writes_total 5\n");
  expect(await text()).toContain("metamaster_operator_queue_depth 2\n");
});
