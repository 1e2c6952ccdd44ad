import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { OperatorStage } from "./testing/operator-stage.js";

let stage: OperatorStage;

beforeAll(async () => {
  stage = await OperatorStage.start();
}, 30 * 60_000);

afterAll(async () => {
  await stage?.server.stop();
});

beforeEach(async () => await stage.begin());
afterEach(async () => await stage.end());

test("what the API server writes in another way is no change: nothing is written, and a switchover goes on", async () => {
  const container = {
    resources: { requests: { cpu: "1000m", memory: "1024Mi" }, limits: { cpu: 1 } },
    env: [{ name: "EMPTY", value: "" }],
    command: null,
    volumeMounts: [],
  };
  await stage.apply({ ...stage.template(container, { tolerations: [] }), switchover: { target: `${stage.name}-1` } });
  await stage.running(2);
  await stage.until("a switchover is asked for", async () =>
    JSON.stringify(await stage.get("pod", `${stage.name}-0`)).includes(
      `"metamaster.io/switchover-to":"${stage.name}-1"`,
    ),
  );
  await sleep(3000);
  const { writes } = stage.operator.writer;
  await sleep(5000);
  expect(stage.operator.writer.writes).toBe(writes);
});
