import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { startApiServer, type ApiServer } from "./api-server.js";
import { untilEstablished } from "./established.js";

let server: ApiServer;

beforeAll(async () => {
  server = await startApiServer();
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
});

const lease = (holderIdentity: string, resourceVersion?: string) =>
  JSON.stringify({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { namespace: "default", name: "primary", ...(resourceVersion && { resourceVersion }) },
    spec: { holderIdentity, leaseDurationSeconds: 15 },
  });

test("a lease is taken by one, and a conditional update on an old version is refused", async () => {
  const created = JSON.parse(await server.kubectl(["create", "-o", "json", "-f", "-"], lease("a")));
  const { resourceVersion } = created.metadata;
  await server.kubectl(["replace", "-f", "-"], lease("b", resourceVersion));
  await expect(server.kubectl(["replace", "-f", "-"], lease("c", resourceVersion))).rejects.toThrow(
    /Conflict|modified/,
  );
  expect(await holder()).toBe("b");
});

test("what is there is read without kubectl; what is not there, or refused, is told", async () => {
  const spec = { containers: [{ name: "main", image: "none" }] };
  for (const colour of ["red", "green"]) {
    const metadata = { name: colour, labels: { colour } };
    await server.kubectl(["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec }));
  }
  const { api } = server;
  expect(await api.get("pod", "red")).toMatchObject({ kind: "Pod", metadata: { labels: { colour: "red" } } });
  expect(await api.list("pod")).toHaveLength(2);
  expect(await api.list("pod", "colour in (green)")).toMatchObject([{ metadata: { name: "green" } }]);
  expect(await api.list("pod", "", "kube-system")).toEqual([]);
  expect(await api.find("pod", "blue")).toBeUndefined();
  await expect(api.get("pod", "blue")).rejects.toThrow("there is no pod default/blue");
  await expect(api.list("pod", "colour in")).rejects.toThrow(/400 .*unable to parse/);
  await expect(api.list("mmc")).rejects.toThrow("the API server knows no mmc");
  await server.kubectl(["delete", "pods", "--all", "--force", "--grace-period=0"]);
});

const thing = (replicas: number) =>
  JSON.stringify({ apiVersion: "test.local/v1", kind: "Thing", metadata: { name: "a" }, spec: { replicas } });

test("CEL rules of a custom resource are evaluated", async () => {
  const spec = {
    type: "object",
    properties: { replicas: { type: "integer" } },
    "x-kubernetes-validations": [{ rule: "self.replicas < 10", message: "at most 9" }],
  };
  const crd = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "things.test.local" },
    spec: {
      group: "test.local",
      scope: "Namespaced",
      names: { kind: "Thing", plural: "things" },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: "object", properties: { spec } } },
        },
      ],
    },
  };
  await server.kubectl(["create", "-f", "-"], JSON.stringify(crd));
  await untilEstablished(server, "things.test.local");
  await expect(server.kubectl(["create", "-f", "-"], thing(10))).rejects.toThrow(/at most 9/);
  await server.kubectl(["create", "-f", "-"], thing(9));
});

test("a service account has the rights that RBAC gives it and no others", async () => {
  const kubeconfig = await server.kubeconfigOf("default", "reader");
  const as = (...args: string[]) => server.kubectl(["--kubeconfig", kubeconfig, "get", ...args]);
  await expect(as("leases")).rejects.toThrow(/Forbidden/);
  await server.kubectl(["create", "role", "reader", "--verb=list,get", "--resource=leases.coordination.k8s.io"]);
  await server.kubectl(["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader"]);
  await until(() => as("leases"));
  await expect(as("pods")).rejects.toThrow(/Forbidden/);
});

test("it can be frozen, killed and booted, and knows what it knew", async () => {
  server.freeze();
  await expect(server.kubectl(["get", "--raw", "/readyz", "--request-timeout=1s"])).rejects.toThrow(/./);
  server.thaw();
  await until(() => server.kubectl(["get", "--raw", "/readyz"]));
  await server.crash();
  await expect(server.kubectl(["get", "--raw", "/readyz"])).rejects.toThrow(/refused/);
  await server.boot();
  expect(await holder()).toBe("b");
});

async function holder(): Promise<string> {
  return await server.api.holder("primary");
}

/** Within 30 s: RBAC reaches the authorizer by a watch. */
async function until<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
  }
}
