import { expect, test } from "@jest/globals";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { resource, type MetaMasterCluster } from "../../../crds/src/index.js";
import { loadConfig } from "../../../sidecar/src/surface/config/load.js";
import { CONFIG_KEY, sidecarConfig } from "./config.js";
import { desiredObjects } from "./desired.js";
import { field, type LiveObject } from "../kube/objects.js";
import { purgeJob, purgeNeeds } from "./purge-job.js";
import { inputsOf, keptRendering } from "./rendering.js";

const quickstart = parse(
  readFileSync(join(import.meta.dirname, "..", "..", "..", "examples", "quickstart.yaml"), "utf8"),
) as Record<string, unknown>;

function cluster(changes: object = {}): MetaMasterCluster {
  const metadata = { name: "meta", namespace: "storage", uid: "u1" };
  const copy = { ...quickstart, metadata, spec: { ...(quickstart["spec"] as object), ...changes } };
  return resource.parse(copy) as MetaMasterCluster;
}

const settings = { image: "metamaster:1", replicas: 3, clusterRoleBindings: true };

function podSpec(changes: object = {}): unknown {
  const set = desiredObjects(cluster(changes), settings).find(({ kind }) => kind === "StatefulSet");
  return field(set, "spec", "template", "spec");
}

test.each([
  ["the quick start", {}],
  [
    "everything set",
    {
      bucket: {
        url: "s3://bucket/p",
        region: "eu-central-1",
        endpoint: "https://store:9000",
        forcePathStyle: true,
        credentials: { secretRef: { name: "s" } },
        ca: { secretRef: { name: "c" } },
      },
      companions: ["names/*"],
      databases: [
        { name: "a", path: "a" },
        { name: "b", path: "b", walPath: "b-wal" },
      ],
      health: { http: "http://127.0.0.1:8080/healthz" },
      gate: "RoleAware",
      failover: { leaseDuration: "6s", renewDeadline: "4s", retryPeriod: "1s", restartGrace: "5s" },
      bootstrap: { type: "Adopt" },
      sidecar: { logLevel: "Debug" },
    },
  ],
  ["a copy of another cluster", { bootstrap: { from: { url: "s3://my-bucket/another", slot: 7 } } }],
])("the sidecar's own loader takes the configuration of %s", async (_what, changes) => {
  const folder = mkdtempSync(join(tmpdir(), "metamaster-config-"));
  try {
    const file = join(folder, CONFIG_KEY);
    writeFileSync(file, sidecarConfig(cluster(changes)));
    const { config, cautions } = await loadConfig({
      file,
      assignments: [],
      environment: { METAMASTER_ELECTION_POD_UID: "u" },
    });
    expect(config).toMatchObject({
      cluster: "meta",
      dataDirectory: "/data",
      election: { type: "Lease", leaseName: "meta" },
    });
    expect(cautions.filter((caution) => !/health|http.address/.test(caution))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the sidecar holds the master back; master and sidecar share processes and volume", () => {
  const spec = podSpec();
  expect(field(spec, "shareProcessNamespace")).toBe(true);
  expect(field(spec, "initContainers", 1)).toMatchObject({
    name: "metamaster",
    restartPolicy: "Always",
    image: "metamaster:1",
    startupProbe: { httpGet: { path: "/v1/gate", port: 8400 } },
    terminationMessagePolicy: "FallbackToLogsOnError",
  });
  expect(field(spec, "containers", 0, "volumeMounts")).toContainEqual({ name: "data", mountPath: "/data" });
  expect(field(spec, "containers", 0, "env")).toContainEqual({
    name: "METAMASTER_URL",
    value: "http://127.0.0.1:8400",
  });
  expect(field(spec, "terminationGracePeriodSeconds")).toBe(70);
});

test("the watchdog comes first, in a container of its own as the same user, with the same data; only the sidecar reaches it", () => {
  const databases = [
    { name: "a", path: "a" },
    { name: "b", path: "deep/b" },
  ];
  const spec = podSpec({ databases });
  const [watchdog, sidecar] = [field(spec, "initContainers", 0), field(spec, "initContainers", 1)];
  const mount = { name: "metamaster-watchdog", mountPath: "/run/metamaster" };
  expect(watchdog).toMatchObject({
    name: "metamaster-watchdog",
    restartPolicy: "Always",
    image: "metamaster:1",
    args: [
      "watchdog",
      "--socket=/run/metamaster/watchdog.sock",
      "--shelf=/data/.metamaster/locks",
      "--database=a=/data/a",
      "--database=b=/data/deep/b",
    ],
    securityContext: field(sidecar, "securityContext"),
    resources: { requests: { cpu: "10m", memory: "24Mi" } },
    volumeMounts: [{ name: "data", mountPath: "/data" }, mount],
    terminationMessagePolicy: "FallbackToLogsOnError",
  });
  // It must not be waited for: the sidecar does that.
  expect(field(watchdog, "startupProbe")).toBeUndefined();
  expect(field(sidecar, "volumeMounts")).toContainEqual(mount);
  expect(field(sidecar, "env")).toContainEqual({
    name: "METAMASTER_WATCHDOG_SOCKET",
    value: "/run/metamaster/watchdog.sock",
  });
  expect(field(spec, "containers", 0, "volumeMounts")).not.toContainEqual(mount);
  expect(field(spec, "volumes")).toContainEqual({
    name: "metamaster-watchdog",
    emptyDir: { medium: "Memory", sizeLimit: "1Mi" },
  });
  const limits = { limits: { cpu: "50m", memory: "96Mi" } };
  const resources = { requests: { memory: "1Gi" } };
  const given = podSpec({ sidecar: { resources, watchdogResources: limits } });
  expect([field(given, "initContainers", 0, "resources"), field(given, "initContainers", 1, "resources")]).toEqual([
    limits,
    resources,
  ]);
});

const template = (security: object, pod: object = {}): object => ({
  template: { spec: { ...pod, containers: [{ name: "master", image: "m", securityContext: security }] } },
});

test.each([
  [
    "as the master's container says",
    template({ runAsUser: 1000, runAsGroup: 2000 }),
    { runAsUser: 1000, runAsGroup: 2000, runAsNonRoot: true, capabilities: { drop: ["ALL"] } },
  ],
  ["as the pod says", template({}, { securityContext: { runAsUser: 7 } }), { runAsUser: 7, runAsNonRoot: true }],
  [
    "as root with three capabilities where nobody says",
    template({}),
    { runAsUser: 0, capabilities: { drop: ["ALL"], add: ["DAC_OVERRIDE", "KILL", "SYS_PTRACE"] } },
  ],
])("the sidecar and its watchdog run %s", (_what, changes, expected) => {
  for (const index of [0, 1]) {
    expect(field(podSpec(changes), "initContainers", index, "securityContext")).toMatchObject({
      ...expected,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
    });
  }
});

function digest(changes: object): unknown {
  const set = desiredObjects(cluster(changes), settings).find(({ kind }) => kind === "StatefulSet");
  return field(set, "spec", "template", "metadata", "annotations", "metamaster.io/config-digest");
}

test("a change of the configuration is a change of the pods' template; one of the size is not", () => {
  expect(digest({ checkpoint: { interval: "1m" } })).not.toBe(digest({}));
  expect(digest({ replicas: 5 })).toBe(digest({}));
});

test("the primary's Service has the master's ports, by their numbers", () => {
  const ports = [
    { name: "rpc", containerPort: 8080 },
    { containerPort: 53 },
    { containerPort: 53, protocol: "UDP" },
    { name: "web", containerPort: 80, protocol: "TCP" },
  ];
  const changes = { template: { spec: { containers: [{ name: "master", image: "m", ports }] } } };
  const service = desiredObjects(cluster(changes), settings).find(({ metadata }) => metadata.name === "meta-primary");
  expect(field(service, "spec", "ports")).toEqual([
    { name: "rpc", port: 8080, targetPort: 8080 },
    { name: "port-53", port: 53, targetPort: 53 },
    { name: "port-53-udp", port: 53, targetPort: 53, protocol: "UDP" },
    { name: "web", port: 80, targetPort: 80, protocol: "TCP" },
  ]);
});

function mounts(volumeMounts: readonly object[]): unknown {
  const spec = podSpec({ template: { spec: { containers: [{ name: "master", image: "m", volumeMounts }] } } });
  return field(spec, "containers", 0, "volumeMounts");
}

test("a master that mounts the data itself mounts it once; another volume in its place is left for the API server to refuse", () => {
  const [data, other] = ["data", "cache"].map((name) => ({ name, mountPath: "/data" }));
  expect(mounts([data!])).toEqual([data]);
  expect(mounts([other!])).toEqual([other, data]);
});

test("a primary is guarded from eviction while it is ready", () => {
  const budget = desiredObjects(cluster(), settings).find(({ kind }) => kind === "PodDisruptionBudget");
  expect(field(budget, "spec")).toMatchObject({ maxUnavailable: 0, unhealthyPodEvictionPolicy: "AlwaysAllow" });
});

test("rights are limited to the cluster's own names", () => {
  const role = desiredObjects(cluster(), settings).find(({ kind }) => kind === "Role");
  expect(field(role, "rules", 1, "resourceNames")).toEqual(["meta"]);
  expect(field(role, "rules", 3)).toMatchObject({
    verbs: ["get", "watch", "patch", "delete"],
    resourceNames: expect.arrayContaining(["meta-0", "meta-9"]),
  });
});

const setOf = (of: MetaMasterCluster, image = "metamaster:1"): LiveObject =>
  desiredObjects(of, { ...settings, image }).find(({ kind }) => kind === "StatefulSet") as unknown as LiveObject;

test("another operator keeps what was made of the spec; a change of the spec, a wish or the absence of pods ends that", () => {
  const set = setOf(cluster());
  const kept = keptRendering(cluster(), set, 1);
  expect(kept).toBeDefined();
  const next = desiredObjects(cluster(), { ...settings, image: "metamaster:2", kept });
  expect(next.find(({ kind }) => kind === "StatefulSet")).toEqual(set);
  expect(next.find(({ kind }) => kind === "ConfigMap")).toEqual(
    desiredObjects(cluster(), settings).find(({ kind }) => kind === "ConfigMap"),
  );
  expect(keptRendering(cluster({ replicas: 7, deletionPolicy: "Delete" }), set, 1)).toEqual(kept);
  expect(keptRendering(cluster(), set, 0)).toBeUndefined();
  expect(keptRendering(cluster({ checkpoint: { interval: "1m" } }), set, 1)).toBeUndefined();
  const wished = {
    ...cluster(),
    metadata: { ...cluster().metadata, annotations: { "metamaster.io/restarted-at": "now" } },
  };
  expect(keptRendering(wished, set, 1)).toBeUndefined();
  expect(field(setOf(wished), "spec", "template", "metadata", "annotations")).toMatchObject({
    "metamaster.io/restarted-at": "now",
  });
  const damaged = structuredClone(set);
  Reflect.set(damaged.metadata?.annotations ?? {}, "metamaster.io/rendered", "{");
  expect(keptRendering(cluster(), damaged, 1)).toBeUndefined();
});

test("settings that are left at their defaults are as good as none: a newer operator may know of more", () => {
  const more = structuredClone(cluster());
  const { checkpoint, ...spec } = more.spec;
  expect(inputsOf({ ...more, spec: { ...spec, checkpoint: {} } as typeof more.spec })).toBe(inputsOf(cluster()));
  expect(inputsOf(cluster({ databases: [{ name: "meta", path: "other" }] }))).not.toBe(inputsOf(cluster()));
  expect(checkpoint.interval).not.toBe("");
});

test("the Job that empties the bucket runs as the members do, never as root, and with none of their volumes", async () => {
  const bucket = { url: "s3://bucket/p", credentials: { secretRef: { name: "s" } }, ca: { secretRef: { name: "c" } } };
  const job = purgeJob(cluster({ bucket }), "metamaster:1");
  expect(job.metadata).toMatchObject({ name: "meta-purge", namespace: "storage" });
  expect(job.metadata.ownerReferences).toBeUndefined();
  const spec = field(job, "spec", "template", "spec");
  expect(field(spec, "volumes")).toEqual([
    { name: "metamaster-config", configMap: { name: "meta" } },
    { name: "metamaster-tmp", emptyDir: {} },
    { name: "metamaster-credentials", secret: { secretName: "s", optional: true } },
    { name: "metamaster-ca", secret: { secretName: "c", optional: true } },
  ]);
  expect(spec).toMatchObject({ serviceAccountName: "meta", restartPolicy: "OnFailure" });
  expect(field(spec, "containers", 0)).toMatchObject({
    name: "metamaster",
    image: "metamaster:1",
    args: ["purge", "--config", "/etc/metamaster/metamaster.yaml", "--yes", "--if-exists"],
    terminationMessagePolicy: "FallbackToLogsOnError",
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  });
  const root = { containers: [{ name: "master", image: "m", securityContext: { runAsUser: 0 } }] };
  for (const [pod, user] of [
    [root, 65_532],
    [{ ...root, containers: [{ ...root.containers[0], securityContext: { runAsUser: 1000 } }] }, 1000],
  ] as const) {
    const each = purgeJob(cluster({ template: { spec: pod } }), "metamaster:1");
    expect(field(each, "spec", "template", "spec", "containers", 0, "securityContext", "runAsUser")).toBe(user);
  }
  // Another spec is another Job.
  const madeOf = (changes: object): unknown => purgeJob(cluster(changes), "i").metadata.annotations;
  expect(madeOf({ bucket: { url: "s3://bucket/p" } })).not.toEqual(madeOf({ bucket: { url: "s3://bucket/q" } }));
  expect(purgeNeeds(cluster()).flatMap(({ metadata }) => metadata.ownerReferences ?? [])).toEqual([]);
});
