import { KubeConfig } from "@kubernetes/client-node";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { startApiServer, type ApiServer } from "../../../e2e/cluster/api-server.js";
import { BookmarkedWatch } from "./informers.js";

let server: ApiServer;

beforeAll(async () => {
  server = await startApiServer();
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
});

test("a watch that has nothing to tell is told how far the others are", async () => {
  const config = new KubeConfig();
  config.loadFromFile(server.kubeconfig);
  const path = "/api/v1/namespaces/default/configmaps";
  const versionOf = async (): Promise<string> =>
    (JSON.parse(await server.kubectl(["get", "--raw", path])) as { metadata: { resourceVersion: string } }).metadata
      .resourceVersion;
  const resourceVersion = await versionOf();
  // Of another namespace: nothing of it is told here.
  await server.kubectl(["create", "configmap", "elsewhere", "-n", "kube-system"]);
  const told = Promise.withResolvers<{ readonly phase: string; readonly version: string }>();
  // One is sent each minute.
  const query = { resourceVersion, timeoutSeconds: 90 };
  const watcher = new BookmarkedWatch(config);
  // As the informers have it: the library's 30 s would end it before.
  Reflect.set(watcher, "requestTimeoutMs", 90_000);
  const watch = await watcher.watch(
    path,
    query,
    (phase: string, object: { metadata: { resourceVersion: string } }) =>
      told.resolve({ phase, version: object.metadata.resourceVersion }),
    (error: unknown) => told.reject(error ?? new Error("the watch ended, and nothing was told")),
  );
  try {
    const { phase, version } = await told.promise;
    expect(phase).toBe("BOOKMARK");
    expect(BigInt(version)).toBeGreaterThan(BigInt(resourceVersion));
  } finally {
    watch.abort();
  }
});
