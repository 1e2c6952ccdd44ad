import { afterAll, beforeAll, expect } from "@jest/globals";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeReady, type Cluster } from "./cluster.js";
import { addNode, busyboxRoot, writeImages } from "./image.js";
import { clusterOf } from "./provider.js";
import { scenario } from "./scenario.js";
import { waitFor } from "./wait.js";

const IMAGE = "kube.local/smoke:1";
const WAIT_MS_MAX = 120_000;
const BUILD_MS_MAX = 50 * 60_000;
/** Between two lines of the ticker: seconds that no pause of a busy machine reaches, and that every frozen node exceeds. */
const GAP_S = 10;

let cluster: Cluster;

beforeAll(async () => {
  cluster = clusterOf();
  await cluster.build();
  await cluster.up(3);
  const folder = await mkdtemp(join(tmpdir(), "metamaster-smoke-"));
  try {
    const root = join(folder, "root");
    await busyboxRoot(root);
    await addNode(root);
    const config = { Env: ["PATH=/bin"], Cmd: ["sleep", "1000000"] };
    await writeImages([{ names: [IMAGE], layers: [root], config }], join(folder, "smoke.tar"));
    await cluster.load(join(folder, "smoke.tar"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, BUILD_MS_MAX);

afterAll(async () => {
  await cluster?.down();
}, 120_000);

scenario(
  () => cluster,
  "three nodes are Ready",
  async () => {
    for (const index of [1, 2, 3]) expect(await ready(index)).toBe("True");
  },
);

scenario(
  () => cluster,
  "a native sidecar holds the main container until its startup probe succeeds",
  async () => {
    const startupProbe = { exec: { command: ["test", "-e", "/shared/go"] }, periodSeconds: 1, failureThreshold: 300 };
    const volumeMounts = [{ name: "shared", mountPath: "/shared" }];
    await apply(
      pod("gated", {
        volumes: [{ name: "shared", emptyDir: {} }],
        initContainers: [
          container("sidecar", ["sleep", "1000000"], { restartPolicy: "Always", startupProbe, volumeMounts }),
        ],
        containers: [container("main", ["sh", "-c", "test -e /shared/go && sleep 1000000"], { volumeMounts })],
      }),
    );
    const main = "{.status.containerStatuses[0].state}";
    await waitFor("two failed startup probes", WAIT_MS_MAX, async () => {
      const fields = "involvedObject.name=gated,reason=Unhealthy";
      const events = JSON.parse(await cluster.kubectl(["get", "events", "--field-selector", fields, "-o", "json"]));
      const counts = events.items.map((event: { count?: number }) => event.count ?? 1);
      return counts.reduce((sum: number, count: number) => sum + count, 0) >= 2 || undefined;
    });
    expect(await field("pod", "gated", main)).toMatch(/waiting.*PodInitializing/);
    await cluster.kubectl(["exec", "gated", "-c", "sidecar", "--", "touch", "/shared/go"]);
    await cluster.kubectl(["wait", "--for=condition=Ready", "pod/gated", "--timeout=60s"]);
    expect(await field("pod", "gated", main)).toMatch(/running/);
    expect(await field("pod", "gated", "{.status.containerStatuses[0].restartCount}")).toBe("0");
  },
);

scenario(
  () => cluster,
  "a pod takes and renews a Lease with its own token, and is refused what it may not",
  async () => {
    await cluster.kubectl(["create", "serviceaccount", "holder"]);
    await cluster.kubectl([
      "create",
      "role",
      "holder",
      "--verb=create,get,update",
      "--resource=leases.coordination.k8s.io",
    ]);
    await cluster.kubectl(["create", "rolebinding", "holder", "--role=holder", "--serviceaccount=default:holder"]);
    const main = container("main", ["node", "-e", leaseProgram]);
    await apply(pod("holder", { serviceAccountName: "holder", restartPolicy: "Never", containers: [main] }));
    await cluster.kubectl(["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/holder", "--timeout=60s"]);
    expect(await cluster.kubectl(["logs", "holder"])).toBe("create 201\nrenew 200\nstale renew 409\nlist pods 403\n");
  },
);

scenario(
  () => cluster,
  "a claim gets a volume that a pod of any user writes, and that outlives the pod",
  async () => {
    const resources = { requests: { storage: "1Mi" } };
    const claim = { accessModes: ["ReadWriteOnce"], resources };
    await apply({ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "data" }, spec: claim });
    const volumes = [{ name: "data", persistentVolumeClaim: { claimName: "data" } }];
    const securityContext = { runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000 };
    for (const [name, script] of [
      ["writer", "echo kept > /data/file"],
      ["reader", "cat /data/file"],
    ] as const) {
      const main = container("main", ["sh", "-c", script], { volumeMounts: [{ name: "data", mountPath: "/data" }] });
      await apply(pod(name, { restartPolicy: "Never", volumes, securityContext, containers: [main] }));
      await cluster.kubectl(["wait", "--for=jsonpath={.status.phase}=Succeeded", `pod/${name}`, "--timeout=60s"]);
    }
    expect(await cluster.kubectl(["logs", "reader"])).toBe("kept\n");
  },
);

scenario(
  () => cluster,
  "helm installs a chart and uninstalls it",
  async () => {
    const chart = await mkdtemp(join(tmpdir(), "metamaster-chart-"));
    try {
      await mkdir(join(chart, "templates"));
      await writeFile(join(chart, "Chart.yaml"), "apiVersion: v2\nname: smoke\nversion: 0.1.0\n");
      const metadata = { name: "{{ .Release.Name }}" };
      const map = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { greeting: "{{ .Values.greeting }}" } };
      await writeFile(join(chart, "templates/map.yaml"), JSON.stringify(map));
      await cluster.helm(["install", "smoke", chart, "--set", "greeting=hello"]);
      expect(await field("configmap", "smoke", "{.data.greeting}")).toBe("hello");
      await cluster.helm(["uninstall", "smoke"]);
      await expect(field("configmap", "smoke", "{.data}")).rejects.toThrow(/NotFound/);
    } finally {
      await rm(chart, { recursive: true, force: true });
    }
  },
);

scenario(
  () => cluster,
  "a node that is cut off goes on, and is Ready again when it has joined",
  async () => {
    await ticker("cut", 2);
    await cluster.node(2).cut();
    await becomes(2, "Unknown");
    await cluster.node(2).join();
    await becomes(2, "True");
    expect(await longestGap("cut")).toBeLessThan(GAP_S);
  },
);

scenario(
  () => cluster,
  "a node that is cut off from the API server only still answers its peers",
  async () => {
    await ticker("near", 1);
    await ticker("far", 2);
    const address = await field("pod", "far", "{.status.podIP}");
    await cluster.node(2).cut("api-server");
    await becomes(2, "Unknown");
    expect(await fetchFrom("near", `http://${address}:8080/`)).toBe("tick");
    await cluster.node(2).join();
    await becomes(2, "True");
  },
);

scenario(
  () => cluster,
  "pods reach the test process, until their node is cut off from it",
  async () => {
    await ticker("caller", 2);
    const server = createServer((_request, response) => response.end("here"));
    server.listen(0, cluster.hostAddress);
    await once(server, "listening");
    try {
      const { port } = server.address() as AddressInfo;
      const url = `http://${cluster.hostAddress}:${port}/`;
      expect(await fetchFrom("caller", url)).toBe("here");
      await cluster.node(2).cut("host");
      await expect(fetchFrom("caller", url)).rejects.toThrow(/aborted due to timeout/);
      await cluster.node(2).join();
      expect(await waitFor("the test process reached", WAIT_MS_MAX, () => fetchFrom("caller", url))).toBe("here");
      expect(await ready(2)).toBe("True");
    } finally {
      server.close();
    }
  },
);

scenario(
  () => cluster,
  "a frozen pod stands still, and goes on when it is thawed",
  async () => {
    await ticker("clock", 1);
    await ticker("pod-frozen", 1);
    const frozen = await cluster.freezePod("default", "pod-frozen");
    await waitFor("no tick for a while", WAIT_MS_MAX, async () => {
      const now = Number((await cluster.kubectl(["exec", "clock", "--", "cat", "/proc/uptime"])).split(" ")[0]);
      return now - ((await ticks("pod-frozen")).at(-1) ?? now) > GAP_S || undefined;
    });
    await frozen.thaw();
    expect(await longestGap("pod-frozen")).toBeGreaterThan(GAP_S);
    expect(await field("pod", "pod-frozen", "{.status.containerStatuses[0].restartCount}")).toBe("0");
  },
);

scenario(
  () => cluster,
  "a frozen node stands still, and goes on when it is thawed",
  async () => {
    await ticker("frozen", 2);
    await cluster.node(2).freeze();
    await becomes(2, "Unknown");
    await cluster.node(2).thaw();
    await becomes(2, "True");
    expect(await longestGap("frozen")).toBeGreaterThan(GAP_S);
    expect(await field("pod", "frozen", "{.status.containerStatuses[0].restartCount}")).toBe("0");
  },
);

scenario(
  () => cluster,
  "a killed node is gone with its pods, and they are back with it when it is booted",
  async () => {
    await ticker("killed", 2);
    await cluster.node(2).crash();
    await becomes(2, "Unknown");
    await cluster.node(2).boot();
    await becomes(2, "True");
    await waitFor("the pod's container started again", WAIT_MS_MAX, async () => {
      const state = await field("pod", "killed", "{.status.containerStatuses[0].restartCount} {.status.phase}");
      return /^[1-9]\d* Running$/.test(state) || undefined;
    });
  },
);

scenario(
  () => cluster,
  "a cluster goes on without its API server, which knows what it knew when it is back",
  async () => {
    await ticker("headless", 3);
    await cluster.apiServer.crash();
    await expect(cluster.kubectl(["get", "--raw", "/readyz", "--request-timeout=5s"])).rejects.toThrow(/./);
    await cluster.apiServer.boot();
    await waitFor("the API server", WAIT_MS_MAX, () => cluster.kubectl(["get", "--raw", "/readyz"]));
    await becomes(3, "True");
    expect(await longestGap("headless")).toBeLessThan(GAP_S);
  },
);

function container(name: string, command: readonly string[], more: object = {}): object {
  return { name, image: IMAGE, imagePullPolicy: "Never", command, ...more };
}

function pod(name: string, spec: object): object {
  return { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { terminationGracePeriodSeconds: 0, ...spec } };
}

async function apply(object: object): Promise<void> {
  // The default service account of a new namespace may be a moment late.
  await waitFor("the object applied", 30_000, () => cluster.kubectl(["apply", "-f", "-"], JSON.stringify(object)));
}

/** A pod that writes the machine's uptime five times a second, and serves it. It is never evicted. */
async function ticker(name: string, node: number): Promise<void> {
  const tick =
    "mkdir /tmp/w; cd /tmp/w; echo tick > index.html; httpd -p 8080; while :; do cut -d' ' -f1 /proc/uptime; sleep 0.2; done";
  const main = container("main", ["sh", "-c", tick]);
  const tolerations = [{ operator: "Exists" }];
  await apply(pod(name, { nodeName: cluster.node(node).name, tolerations, containers: [main] }));
  await cluster.kubectl(["wait", "--for=condition=Ready", `pod/${name}`, "--timeout=60s"]);
}

/** Not by busybox' wget: Debian's static one may crash. */
async function fetchFrom(name: string, url: string): Promise<string> {
  const program = `fetch("${url}", { signal: AbortSignal.timeout(3000) }).then(async (answer) => console.log(await answer.text()))`;
  return (await cluster.kubectl(["exec", name, "--", "node", "-e", program])).trim();
}

/** Seconds between two ticks. */
async function longestGap(name: string): Promise<number> {
  const before = await ticks(name);
  const all = await waitFor("a tick after it", WAIT_MS_MAX, async () => {
    const now = await ticks(name);
    return now.length > before.length ? now : undefined;
  });
  return Math.max(...all.slice(1).map((tick, index) => tick - (all[index] ?? 0)));
}

async function ticks(name: string): Promise<number[]> {
  return (await cluster.kubectl(["logs", name])).trim().split("\n").map(Number);
}

async function becomes(node: number, status: string): Promise<void> {
  const { name } = cluster.node(node);
  await waitFor(`${name} Ready=${status}`, WAIT_MS_MAX, async () =>
    (await ready(node)) === status ? true : undefined,
  );
}

async function ready(node: number): Promise<string> {
  return await nodeReady(cluster, cluster.node(node));
}

async function field(kind: string, name: string, path: string): Promise<string> {
  return cluster.kubectl(["get", kind, name, "-o", `jsonpath=${path}`]);
}

const leaseProgram = `
const fs = require("fs"), https = require("https"), folder = "/var/run/secrets/kubernetes.io/serviceaccount/";
const ca = fs.readFileSync(folder + "ca.crt");
const headers = { authorization: "Bearer " + fs.readFileSync(folder + "token"), "content-type": "application/json" };
const call = (method, path, body) => new Promise((resolve, reject) => {
  const options = { host: "kubernetes.default.svc.cluster.local", path, method, ca, headers, timeout: 20000 };
  const request = https.request(options, (answer) => {
    let text = "";
    answer.on("data", (chunk) => (text += chunk));
    answer.on("end", () => resolve([answer.statusCode, JSON.parse(text)]));
  });
  request.on("error", reject);
  request.end(body && JSON.stringify(body));
});
(async () => {
  const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
  const spec = { holderIdentity: "me", leaseDurationSeconds: 15 };
  const [created, lease] = await call("POST", leases, { metadata: { name: "primary" }, spec });
  console.log("create", created);
  lease.spec.renewTime = new Date().toISOString().replace("Z", "000Z");
  console.log("renew", (await call("PUT", leases + "/primary", lease))[0]);
  console.log("stale renew", (await call("PUT", leases + "/primary", lease))[0]);
  console.log("list pods", (await call("GET", "/api/v1/namespaces/default/pods"))[0]);
})();
`;
