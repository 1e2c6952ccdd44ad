import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { customResourceDefinition } from "../../crds/src/crd.js";
import { clustersShown, textOf } from "../docs/documents.js";
import { startApiServer, type ApiServer } from "../cluster/api-server.js";
import { untilEstablished } from "../cluster/established.js";

let server: ApiServer;

beforeAll(async () => {
  server = await startApiServer();
  await server.kubectl(["create", "-f", "-"], JSON.stringify(customResourceDefinition()));
  await untilEstablished(server, "metamasterclusters.metamaster.io");
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
});

/** Unknown fields are dropped silently by default: here they are errors. */
const apply = (text: string): Promise<string> =>
  server.kubectl(["apply", "--validate=strict", "--dry-run=server", "-f", "-"], text);

test.each(clustersShown())("%s is taken by an API server", async (_where, cluster) => {
  expect(await apply(JSON.stringify(cluster))).toMatch(/created \(server dry run\)/);
});

test("the quick start's store is taken by an API server", async () => {
  expect(await apply(textOf("examples/kind-store.yaml"))).toMatch(/deployment\.apps\/store created/);
});

test("a field that the resource doesn't have is refused", async () => {
  const [, cluster] = clustersShown()[0] ?? [];
  const { spec, ...rest } = cluster as { spec: object };
  await expect(apply(JSON.stringify({ ...rest, spec: { ...spec, retries: 1 } }))).rejects.toThrow(
    /unknown field "spec\.retries"/,
  );
});
