import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { startApiServer, type ApiServer } from "../cluster/api-server.js";
import { untilEstablished } from "../cluster/established.js";
import { chart, Helm, root, type Manifest } from "./helm.js";
import { installYaml } from "./install-yaml.js";
import { openCrds } from "./prometheus-crds.js";

let helm: Helm;
let server: ApiServer;

beforeAll(async () => {
  helm = await Helm.open();
  server = await startApiServer();
  for (const name of ["metamaster-system", "meta"]) await server.kubectl(["create", "namespace", name]);
  await server.kubectl(["create", "-f", "-"], openCrds(["PodMonitor", "PrometheusRule"]));
  await untilEstablished(server);
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
  await helm?.close();
});

const only = async (kind: string, values = {}): Promise<Manifest[]> =>
  (await helm.manifests(values)).filter((object) => object.kind === kind);

const release = (...args: string[]): Promise<string> =>
  helm.run([...args, "-n", "metamaster-system"], server.kubeconfig);
const get = (...args: string[]): Promise<string> => server.kubectl(["get", ...args]);

const all = {
  podMonitor: { enabled: true, labels: { release: "prometheus" } },
  prometheusRule: { enabled: true, runbookBaseUrl: "https://example.com/runbooks" },
  dashboard: { enabled: true, annotations: { folder: "MetaMaster" } },
};

const matrix: Record<string, Record<string, unknown>> = {
  "the defaults": {},
  "all toggles": all,
  "alerts without a place for runbooks, one left out": {
    prometheusRule: { enabled: true, disabled: ["MetaMasterNoPrimary"] },
  },
  "one namespace": { ...all, watchNamespace: "meta" },
  "its own namespace": { watchNamespace: "metamaster-system" },
  "one replica": { replicas: 1 },
  "no replica, no CRD, no RBAC": { replicas: 0, crds: { install: false }, rbac: { create: false } },
  "an account that exists": { serviceAccount: { create: false, name: "theirs" } },
  "a digest and a pull secret": {
    image: { repository: "example.com:5000/a/metamaster", digest: `sha256:${"0".repeat(64)}` },
    imagePullSecrets: [{ name: "pull" }],
    sidecarImage: "example.com/sidecar:1",
  },
  "all about the pod": {
    podLabels: { team: "storage" },
    podAnnotations: { note: "1" },
    nodeSelector: { "kubernetes.io/os": "linux" },
    tolerations: [{ key: "a", operator: "Exists" }],
    affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
    priorityClassName: "system-cluster-critical",
    topologySpreadConstraints: [
      { topologyKey: "kubernetes.io/hostname", maxSkew: 1, whenUnsatisfiable: "DoNotSchedule" },
    ],
    extraEnv: [{ name: "HTTPS_PROXY", value: "http://proxy:3128" }],
    resources: { requests: { cpu: 1, memory: "1Gi" }, limits: { memory: "2Gi" } },
    podDisruptionBudget: { enabled: false },
    fullnameOverride: "other",
  },
};

describe.each(Object.entries(matrix))("with %s", (_name, values) => {
  test("helm lint has nothing to say", async () => {
    const said = await helm.run(["lint", "--strict", chart, "-f", "-"], undefined, JSON.stringify(values));
    expect(said).not.toMatch(/WARNING|ERROR/);
  });

  test("the API server takes all of it", async () => {
    const text = await helm.template(values);
    const taken = await server.kubectl(["apply", "--server-side", "--dry-run=server", "-f", "-"], text);
    const objects = await helm.manifests(values);
    expect(taken.trim().split("\n")).toHaveLength(objects.length);
  });

  test("nothing says its name twice, and a namespaced object its namespace", async () => {
    const objects = await helm.manifests(values);
    const names = objects.map(({ kind, metadata }) => `${kind}/${metadata.namespace ?? ""}/${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const { kind, metadata } of objects) {
      expect([kind, metadata.namespace === undefined]).toEqual([kind, /^(Cluster|Custom)/.test(kind)]);
    }
  });
});

describe("bad values are refused, and the message says which and why", () => {
  const refused: [string, Record<string, unknown>, RegExp][] = [
    ["a key with a slip", { replica: 2 }, /additional properties 'replica' not allowed/],
    ["text for a number", { replicas: "two" }, /'\/replicas': got string, want integer/],
    ["a word for a toggle", { podMonitor: { enabled: "yes" } }, /'\/podMonitor\/enabled': got string, want boolean/],
    ["a level that isn't one", { logLevel: "verbose" }, /'\/logLevel': value must be one of 'debug', 'info'/],
    ["a digest without its kind", { image: { digest: "abc" } }, /'\/image\/digest': 'abc' does not match pattern/],
    ["no image", { image: { repository: "" } }, /'\/image\/repository'/],
    ["a namespace that can't be", { watchNamespace: "A_b" }, /'\/watchNamespace': 'A_b' does not match/],
    [
      "a base that ends with a slash",
      { prometheusRule: { runbookBaseUrl: "https://a/" } },
      /'\/prometheusRule\/runbookBaseUrl'/,
    ],
    ["no account", { serviceAccount: { create: false } }, /name the account that exists in serviceAccount.name/],
    [
      "an alert that there isn't",
      { prometheusRule: { enabled: true, disabled: ["Nope"] } },
      /there is no alert Nope; there are: MetaMaster/,
    ],
  ];

  test.each(refused)("%s", async (_name, values, message) => {
    await expect(helm.template(values)).rejects.toThrow(message);
  });
});

describe("what is installed", () => {
  test("meets the restricted pod security standard", async () => {
    await server.kubectl([
      "label",
      "namespace",
      "metamaster-system",
      "pod-security.kubernetes.io/warn=restricted",
      "pod-security.kubernetes.io/enforce=restricted",
    ]);
    const [deployment] = await only("Deployment");
    const spec = (deployment as { spec?: { template?: { metadata: object; spec: object } } } | undefined)?.spec;
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { ...spec?.template?.metadata, name: "trial", namespace: "metamaster-system" },
      spec: spec?.template?.spec,
    };
    await server.kubectl(["create", "--dry-run=server", "-f", "-"], JSON.stringify(pod));
    // The standard is in force: the same pod as root is refused.
    const asRoot = { ...pod, spec: { ...pod.spec, securityContext: { runAsUser: 0 } } };
    await expect(server.kubectl(["create", "--dry-run=server", "-f", "-"], JSON.stringify(asRoot))).rejects.toThrow(
      /restricted/,
    );
  });

  test("in one namespace has no rights beyond namespaces", async () => {
    expect(await only("ClusterRole", { watchNamespace: "meta" })).toEqual([]);
    expect(await only("ClusterRoleBinding", { watchNamespace: "meta" })).toEqual([]);
  });

  test("without a CRD of its own leaves the cluster's alone", async () => {
    expect(await only("CustomResourceDefinition", { crds: { install: false } })).toEqual([]);
  });
});

test("install.yaml is what the chart says (else: make install.yaml), and the API server takes it", async () => {
  const text = await readFile(join(root, "install.yaml"), "utf8");
  expect(text).toBe(await installYaml(helm));
  await server.kubectl(["apply", "--server-side", "--dry-run=server", "-f", "-"], text);
});

describe("a release", () => {
  test("is installed, upgraded with its CRD, and uninstalled, and the custom resources stay all the while", async () => {
    const notes = await release("install", "metamaster", chart);
    expect(notes).toContain("looks after all namespaces");
    await untilEstablished(server);
    const quickstart = await readFile(join(root, "examples/quickstart.yaml"), "utf8");
    await server.kubectl(["apply", "-n", "meta", "-f", "-"], quickstart);
    const uid = await get("mmc", "meta", "-n", "meta", "-o", "jsonpath={.metadata.uid}");

    const newer = await mkdtemp(join(tmpdir(), "metamaster-chart-"));
    try {
      await cp(chart, newer, { recursive: true });
      const path = join(newer, "files/crd.yaml");
      const crd = await readFile(path, "utf8");
      await writeFile(path, crd.replace("description: The primary's pod.", "description: Of a newer version."));
      await release("upgrade", "metamaster", newer, "--set", "replicas=3");
    } finally {
      await rm(newer, { recursive: true, force: true });
    }
    expect(await get("crd", "metamasterclusters.metamaster.io", "-o", "yaml")).toContain("Of a newer version.");
    expect(await get("deployment", "metamaster-operator", "-n", "metamaster-system", "-o", "name")).not.toBe("");

    const said = await release("uninstall", "metamaster");
    expect(said).toContain("[CustomResourceDefinition] metamasterclusters.metamaster.io");
    expect(await get("deployment", "-n", "metamaster-system", "-o", "name")).toBe("");
    expect(await get("mmc", "meta", "-n", "meta", "-o", "jsonpath={.metadata.uid}")).toBe(uid);

    await release("install", "metamaster", chart);
    expect(await get("mmc", "meta", "-n", "meta", "-o", "jsonpath={.metadata.uid}")).toBe(uid);
  });
});
