import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { startApiServer, type ApiServer } from "../../../e2e/cluster/api-server.js";
import { SystemClock } from "../base/system-clock.js";
import { KubeClient } from "./client.js";
import { field } from "./json.js";
import { KubeLeases } from "./lease-store.js";
import type { StoredLease } from "./leases.js";
import { PodEvidence } from "./pod-evidence.js";

let server: ApiServer;
const clients: KubeClient[] = [];
const never = new AbortController().signal;

beforeAll(async () => {
  server = await startApiServer();
}, 30 * 60_000);

afterAll(async () => {
  for (const client of clients) client.close();
  await server?.stop();
});

function clientOf({ token = server.token, ca = server.ca, callMs = 10_000 } = {}): KubeClient {
  const access = { url: server.url, namespace: "default", ca: async () => ca, token: async () => token };
  const client = new KubeClient(access, { userAgent: "metamaster-test", callMs }, new SystemClock());
  clients.push(client);
  return client;
}

const record = {
  holder: "uid_nonce",
  durationMs: 15_000,
  acquireTime: "2026-01-02T03:04:05.678901Z",
  renewTime: "2026-01-02T03:04:05.678002Z",
  transitions: 2,
  heldBy: ["nonce", "before"],
};

function leaseResource(name: string) {
  return { group: "coordination.k8s.io", version: "v1", resource: "leases", namespace: "default", name };
}

test("a lease as it was written, conditional on its version, with what others put there", async () => {
  const leases = new KubeLeases(clientOf(), "codec", { "metamaster.io/cluster": "codec" });
  expect(await leases.read(never)).toBeUndefined();
  const made = await leases.create(record, never);
  expect(made.record).toEqual(record);
  await expect(leases.create(record, never)).rejects.toMatchObject({ code: "KubeConflict", kind: "conflict" });
  await server.kubectl(["annotate", "lease", "codec", "by=hand"]);
  await expect(leases.update(made, record, never)).rejects.toMatchObject({ code: "KubeConflict" });
  const read = (await leases.read(never)) as StoredLease;
  const freed = await leases.update(read, { ...record, holder: "" }, never);
  expect(freed.record).toEqual({ ...record, holder: "" });
  expect(field(freed.object, "metadata", "annotations", "by")).toBe("hand");
  expect(field(freed.object, "metadata", "labels", "metamaster.io/cluster")).toBe("codec");
  await server.kubectl(["delete", "lease", "codec"]);
  // Not 404: what is sent names the one that was deleted, and a new one would not be that.
  await expect(leases.update(freed, record, never)).rejects.toMatchObject({ code: "KubeConflict" });
  expect(await leases.read(never)).toBeUndefined();
});

test("what RBAC withholds is named as a rule, and that rule is enough", async () => {
  const kubeconfig = await readFile(await server.kubeconfigOf("default", "member"), "utf8");
  const token = /token"?: "?([^"\s]+)/.exec(kubeconfig)?.[1] ?? "";
  const leases = new KubeLeases(clientOf({ token }), "guarded", {});
  await expect(leases.read(never)).rejects.toMatchObject({
    code: "KubeAccessDenied",
    hint: 'Give the pod\'s service account a Role in namespace default with {apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get"], resourceNames: ["guarded"]}.',
  });
  const rules = [
    { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
    {
      apiGroups: ["coordination.k8s.io"],
      resources: ["leases"],
      verbs: ["get", "update"],
      resourceNames: ["guarded"],
    },
  ];
  const role = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: "member", namespace: "default" },
    rules,
  };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(role));
  await server.kubectl(["create", "rolebinding", "member", "--role=member", "--serviceaccount=default:member"]);
  const made = await until(async () => await leases.create(record, never));
  await leases.update((await leases.read(never)) ?? made, record, never);
});

test("a token that nobody gave, a CA that signed nothing", async () => {
  const wrong = new KubeLeases(clientOf({ token: "nonsense" }), "codec", {});
  await expect(wrong.read(never)).rejects.toMatchObject({ code: "KubeAccessDenied", details: { status: 401 } });
  const { ca } = await startedElsewhere();
  const foreign = new KubeLeases(clientOf({ ca }), "codec", {});
  await expect(foreign.read(never)).rejects.toMatchObject({ code: "KubeTlsInvalid", kind: "invalid" });
});

test("labels are patched beside what is there", async () => {
  const client = clientOf();
  const leases = new KubeLeases(client, "labelled", { kept: "1" });
  await leases.create(record, never);
  const body = { metadata: { labels: { "metamaster.io/role": "primary" } } };
  await client.patch(leaseResource("labelled"), body, never);
  const read = await leases.read(never);
  expect(field(read?.object, "metadata", "labels")).toEqual({ kept: "1", "metamaster.io/role": "primary" });
});

test("a watch tells what happens after a version, until it is aborted", async () => {
  const client = clientOf();
  const leases = new KubeLeases(client, "watched", {});
  const made = await leases.create(record, never);
  const stop = new AbortController();
  const { resourceVersion } = made;
  const events = client.watch(leaseResource("watched"), { resourceVersion, forMs: 60_000 }, stop.signal);
  const next = events.next();
  await leases.update(made, { ...record, holder: "another" }, never);
  const first = (await next).value;
  expect(first?.type).toBe("MODIFIED");
  expect(field(first?.object, "spec", "holderIdentity")).toBe("another");
  const later = events.next();
  stop.abort(new Error("enough"));
  await expect(later).rejects.toThrow("enough");
});

test("evidence: a pod that is not started again, whose containers its kubelet called terminated, on a node that is Ready", async () => {
  const labels = "metamaster.io/cluster=meta";
  const evidence = new PodEvidence(clientOf(), labels);
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "meta-0",
      namespace: "default",
      labels: { "metamaster.io/cluster": "meta" },
      // Stays while it is being deleted: no kubelet is there to end it.
      finalizers: ["metamaster.io/test"],
    },
    spec: { nodeName: "node-1", containers: [{ name: "master", image: "x" }] },
  };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(pod));
  const uid = await server.kubectl(["get", "pod", "meta-0", "-o", "jsonpath={.metadata.uid}"]);
  expect(await evidence.hasEnded(uid, never)).toBe(false);
  const ended = { containerStatuses: [containerStatus({ terminated: { exitCode: 137, reason: "Error" } })] };
  await status("pod", "meta-0", { phase: "Running", ...ended });
  await server.kubectl(
    ["apply", "-f", "-"],
    JSON.stringify({ apiVersion: "v1", kind: "Node", metadata: { name: "node-1" } }),
  );
  expect(await evidence.hasEnded(uid, never)).toBe(false);
  await status("node", "node-1", { conditions: [{ type: "Ready", status: "True" }] });
  // Its node was restarted: the same pod comes back.
  expect(await evidence.hasEnded(uid, never)).toBe(false);
  await status("pod", "meta-0", { phase: "Failed" });
  expect(await evidence.hasEnded(uid, never)).toBe(true);
  await status("pod", "meta-0", { phase: "Running" });
  expect(await evidence.hasEnded(uid, never)).toBe(false);
  await server.kubectl(["delete", "pod", "meta-0", "--wait=false"]);
  const generation = Number(await server.kubectl(["get", "pod", "meta-0", "-o", "jsonpath={.metadata.generation}"]));
  await status("pod", "meta-0", { ...ended, observedGeneration: generation });
  expect(await evidence.hasEnded(uid, never)).toBe(true);
  expect(generation).toBeGreaterThan(1);
  await status("pod", "meta-0", { observedGeneration: generation - 1 });
  expect(await evidence.hasEnded(uid, never)).toBe(false);
  await status("pod", "meta-0", { observedGeneration: generation });
  expect(await evidence.hasEnded("another-uid", never)).toBe(false);
  await status("node", "node-1", { conditions: [{ type: "Ready", status: "Unknown" }] });
  expect(await evidence.hasEnded(uid, never)).toBe(false);
});

test("a frozen server is a time-out, a dead one a broken connection, and both are over when it is back", async () => {
  const leases = new KubeLeases(clientOf({ callMs: 300 }), "codec", {});
  server.freeze();
  await expect(leases.read(never)).rejects.toMatchObject({ code: "KubeTimeout", kind: "transient" });
  server.thaw();
  await until(() => leases.read(never));
  await server.crash();
  await expect(leases.read(never)).rejects.toMatchObject({ code: "KubeUnavailable", kind: "transient" });
  await server.boot();
  await until(() => leases.read(never));
});

function containerStatus(state: object): object {
  return { name: "master", image: "x", imageID: "", ready: false, restartCount: 0, state };
}

async function status(kind: string, name: string, value: object): Promise<void> {
  const patch = JSON.stringify({ status: value });
  await server.kubectl(["patch", kind, name, "--subresource=status", "--type=merge", "-p", patch]);
}

/** The certificate of another server. */
async function startedElsewhere(): Promise<{ ca: string }> {
  const other = await startApiServer();
  const { ca } = other;
  await other.stop();
  return { ca };
}

/** Within 30 s: RBAC reaches the authorizer by a watch. */
async function until<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
