import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "@jest/globals";
import { SystemClock } from "../base/system-clock.js";
import { KubeClient } from "./client.js";
import { decodeLease, encodeLease } from "./lease-store.js";
import { allContainersEnded, isHeardFrom, mayStartAgain } from "./pod-evidence.js";

const never = new AbortController().signal;
const lease = { group: "coordination.k8s.io", version: "v1", resource: "leases", namespace: "db", name: "meta" };

let server: Server | undefined;
let client: KubeClient | undefined;

/** What no real API server would answer, or not on demand. */
async function answering(listener: RequestListener, callMs = 5000): Promise<KubeClient> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const access = {
    url: `http://127.0.0.1:${port}`,
    namespace: "db",
    ca: async () => "",
    token: async () => "secret",
  };
  client = new KubeClient(access, { userAgent: "test", callMs }, new SystemClock());
  return client;
}

afterEach(() => {
  client?.close();
  server?.closeAllConnections();
  server?.close();
});

describe("answers become errors that say what to do", () => {
  test.each([
    [401, "KubeAccessDenied", "invalid", /token was refused/],
    [
      403,
      "KubeAccessDenied",
      "invalid",
      /Role in namespace db with \{apiGroups: \["coordination.k8s.io"\], resources: \["leases"\], verbs: \["get"\], resourceNames: \["meta"\]\}/,
    ],
    [404, "KubeNotFound", "invalid", /name right/],
    [409, "KubeConflict", "conflict", /read it/],
    [410, "KubeWatchExpired", "conflict", /watch from there/],
    [422, "KubeRequestInvalid", "invalid", /message says/],
    [429, "KubeThrottled", "transient", /pause/],
    [500, "KubeUnavailable", "transient", /tried again/],
    [503, "KubeUnavailable", "transient", /tried again/],
    [504, "KubeTimeout", "transient", /tried again/],
  ])("%s", async (status, code, kind, hint) => {
    const kube = await answering((_request, answer) => {
      answer.writeHead(status, { "retry-after": "3" });
      answer.end(JSON.stringify({ kind: "Status", message: "as it says" }));
    });
    await expect(kube.get(lease, never)).rejects.toMatchObject({
      code,
      kind,
      message: `Kubernetes: can't get lease db/meta: ${status} as it says`,
      hint: expect.stringMatching(hint),
      ...(status === 429 ? { details: { retryAfterMs: 3000 } } : {}),
    });
  });

  test.each([
    ["what is no JSON", "<html>", "KubeAnswerInvalid"],
    ["a list where an object was asked for", "[]", "KubeAnswerInvalid"],
    ["more than is taken", "x".repeat(5 << 20), "KubeAnswerInvalid"],
  ])("%s", async (_name, body, code) => {
    const kube = await answering((_request, answer) => answer.end(body));
    await expect(kube.get(lease, never)).rejects.toMatchObject({ code });
  });

  test("silence, before and in the middle of an answer", async () => {
    const kube = await answering((request, answer) => {
      if (request.method === "GET") answer.write("{");
    }, 200);
    await expect(kube.get(lease, never)).rejects.toMatchObject({ code: "KubeTimeout", kind: "transient" });
    await expect(kube.create(lease, {}, never)).rejects.toMatchObject({ code: "KubeTimeout" });
  });

  test("a connection that breaks", async () => {
    const kube = await answering((request) => request.socket.destroy());
    await expect(kube.get(lease, never)).rejects.toMatchObject({ code: "KubeUnavailable", kind: "transient" });
  });

  test("the caller's signal ends it with its reason", async () => {
    const asked = Promise.withResolvers<void>();
    const kube = await answering(() => asked.resolve());
    const stop = new AbortController();
    const call = kube.get(lease, stop.signal);
    await asked.promise;
    stop.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
  });

  test("a watch gives events, and an error within it for what it is", async () => {
    const gone = { type: "ERROR", object: { code: 410, message: "too old" } };
    const kube = await answering((request, answer) => {
      expect(request.url).toContain("fieldSelector=metadata.name%3Dmeta");
      const first = JSON.stringify({ type: "ADDED", object: { a: 1 } });
      answer.write(first.slice(0, 9));
      setTimeout(() => answer.end(`${first.slice(9)}\n${JSON.stringify(gone)}\n`), 20);
    });
    const events = kube.watch(lease, { resourceVersion: "5", forMs: 5000 }, never);
    expect(await events.next()).toEqual({ done: false, value: { type: "ADDED", object: { a: 1 } } });
    await expect(events.next()).rejects.toMatchObject({ code: "KubeWatchExpired", kind: "conflict" });
  });

  test("a watch that falls silent is given up", async () => {
    const kube = await answering((_request, answer) => answer.writeHead(200).flushHeaders(), 100);
    const events = kube.watch(lease, { resourceVersion: "5", forMs: 100 }, never);
    await expect(events.next()).rejects.toMatchObject({ code: "KubeTimeout" });
  });
});

describe("leases", () => {
  const record = {
    holder: "u_n",
    durationMs: 2500,
    acquireTime: "a",
    renewTime: "r",
    transitions: 3,
    heldBy: ["n", "m"],
  };

  test("what others put into the object stays, and its version makes the writing conditional", () => {
    const metadata = { name: "meta", resourceVersion: "7", labels: { by: "hand" }, managedFields: [1] };
    const object = { metadata, spec: { strategy: "x" }, other: 1 };
    expect(encodeLease(object, record)).toEqual({
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: {
        name: "meta",
        resourceVersion: "7",
        labels: { by: "hand" },
        annotations: { "metamaster.io/held-by": "n,m" },
      },
      spec: {
        strategy: "x",
        holderIdentity: "u_n",
        leaseDurationSeconds: 3,
        acquireTime: "a",
        renewTime: "r",
        leaseTransitions: 3,
      },
      other: 1,
    });
  });

  test("what is missing is empty, what is wrong is refused", () => {
    const metadata = { resourceVersion: "7" };
    const nobody = { holder: "", durationMs: 0, acquireTime: "", renewTime: "", transitions: 0, heldBy: [] };
    expect(decodeLease({ metadata }).record).toEqual(nobody);
    expect(decodeLease({ metadata, spec: { holderIdentity: null } }).record).toEqual(nobody);
    for (const spec of [
      { holderIdentity: 5 },
      { holderIdentity: "x".repeat(2000) },
      { leaseDurationSeconds: -1 },
      { leaseTransitions: 0.5 },
      [],
      "spec",
    ]) {
      expect(() => decodeLease({ metadata, spec })).toThrow(expect.objectContaining({ code: "KubeAnswerInvalid" }));
    }
    expect(() => decodeLease({ spec: {} })).toThrow(/no version/);
    // Edited by hand: to be mended by the next renewal it must be read.
    expect(decodeLease({ metadata, spec: { leaseDurationSeconds: 1e9 } }).record.durationMs).toBe(1e12);
  });
});

const pod = (master: object, sidecar: object, extra: object = {}) => ({
  spec: { containers: [{ name: "master" }], initContainers: [{ name: "sidecar" }] },
  status: {
    containerStatuses: [{ name: "master", state: master }],
    initContainerStatuses: [{ name: "sidecar", state: sidecar }],
    ...extra,
  },
});

describe("evidence of an end", () => {
  const over = { terminated: { exitCode: 0 } };
  test.each([
    ["all ended", pod(over, over), true],
    ["the master runs", pod({ running: {} }, over), false],
    ["the sidecar runs, and may start the master again", pod(over, { running: {} }), false],
    ["the master waits to be restarted", pod({ waiting: { reason: "CrashLoopBackOff" } }, over), false],
    ["a container of which nothing is reported", pod(over, over, { containerStatuses: [] }), false],
    ["called failed by somebody, its kubelet said nothing", { ...pod(over, over), status: { phase: "Failed" } }, false],
    ["no containers at all", { spec: {}, status: {} }, false],
    ["nothing", undefined, false],
  ])("%s", (_name, object, expected) => {
    expect(allContainersEnded(object)).toBe(expected);
  });

  test.each([
    ["True", true],
    ["False", false],
    ["Unknown", false],
  ])("a node whose Ready is %s", (status, expected) => {
    expect(isHeardFrom({ status: { conditions: [{ type: "Ready", status }] } })).toBe(expected);
  });

  const going = { deletionTimestamp: "2026-01-02T03:04:05Z" };
  test.each([
    ["one that its kubelet keeps running", {}, { phase: "Running" }, true],
    ["nothing is said of it", {}, {}, true],
    ["evicted, or shut down with its node", {}, { phase: "Failed" }, false],
    ["done", {}, { phase: "Succeeded" }, false],
    ["being deleted", going, { phase: "Running" }, false],
    ["being deleted, told before the kubelet knew", { ...going, generation: 2 }, { observedGeneration: 1 }, true],
    ["being deleted, told since", { ...going, generation: 2 }, { observedGeneration: 2 }, false],
  ])("a pod that may be started again: %s", (_name, metadata, status, expected) => {
    expect(mayStartAgain({ metadata, status })).toBe(expected);
  });

  test("a node without conditions is not heard from", () => {
    expect(isHeardFrom({})).toBe(false);
  });
});
