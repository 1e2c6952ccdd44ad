import { expect, test } from "@jest/globals";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { resource, type MetaMasterCluster } from "../../../crds/src/index.js";
import { loadConfig } from "../../../sidecar/src/surface/config/load.js";
import { configMap, CONFIG_KEY } from "./config.js";
import { desiredObjects } from "./desired.js";
import { field } from "../kube/objects.js";

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
])("the sidecar's own loader takes the configuration of %s", async (_what, changes) => {
  const folder = mkdtempSync(join(tmpdir(), "metamaster-config-"));
  try {
    const file = join(folder, CONFIG_KEY);
    writeFileSync(file, configMap(cluster(changes)).data[CONFIG_KEY] ?? "");
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

test("the sidecar comes first and holds the master back; master and sidecar share processes and volume", () => {
  const spec = podSpec();
  expect(field(spec, "shareProcessNamespace")).toBe(true);
  expect(field(spec, "initContainers", 0)).toMatchObject({
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
])("the sidecar runs %s", (_what, changes, expected) => {
  expect(field(podSpec(changes), "initContainers", 0, "securityContext")).toMatchObject({
    ...expected,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
  });
});

function digest(changes: object): unknown {
  const set = desiredObjects(cluster(changes), settings).find(({ kind }) => kind === "StatefulSet");
  return field(set, "spec", "template", "metadata", "annotations", "metamaster.io/config-digest");
}

test("a change of the configuration is a change of the pods' template; one of the size is not", () => {
  expect(digest({ checkpoint: { interval: "1m" } })).not.toBe(digest({}));
  expect(digest({ replicas: 5 })).toBe(digest({}));
});

test("rights are limited to the cluster's own names", () => {
  const role = desiredObjects(cluster(), settings).find(({ kind }) => kind === "Role");
  expect(field(role, "rules", 1, "resourceNames")).toEqual(["meta"]);
  expect(field(role, "rules", 3)).toMatchObject({
    verbs: ["get", "watch", "patch", "delete"],
    resourceNames: expect.arrayContaining(["meta-0", "meta-9"]),
  });
});
