import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import { customResourceDefinition } from "../../crds/src/crd.js";
import { resource, type MetaMasterCluster } from "../../crds/src/resource.js";
import { sidecarConfig } from "../../operator/src/objects/config.js";
import { loadConfig } from "../../sidecar/src/surface/config/load.js";
import { startApiServer, type ApiServer } from "../cluster/api-server.js";
import { untilEstablished } from "../cluster/established.js";

type Json = Record<string, unknown>;

const quickstart = parse(
  readFileSync(join(import.meta.dirname, "..", "..", "examples", "quickstart.yaml"), "utf8"),
) as Json;

let server: ApiServer;

beforeAll(async () => {
  server = await startApiServer();
  await server.kubectl(["create", "-f", "-"], JSON.stringify(customResourceDefinition()));
  await untilEstablished(server, "metamasterclusters.metamaster.io");
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
});

/** The quick start's resource with another name, and values at paths such as `spec.bucket.url`; undefined takes away. */
function variant(name: string, changes: Json = {}): Json {
  const copy = structuredClone(quickstart);
  (copy["metadata"] as Json)["name"] = name;
  for (const [path, value] of Object.entries(changes)) {
    const steps = path.split(".");
    const last = steps.pop() ?? "";
    let at = copy;
    for (const step of steps) at = (at[step] ??= {}) as Json;
    if (value === undefined) delete at[last];
    else at[last] = value;
  }
  return copy;
}

const apply = async (object: Json): Promise<Json> =>
  JSON.parse(await server.kubectl(["apply", "-o", "json", "-f", "-"], JSON.stringify(object))) as Json;

test("the quick start is taken, and its defaults are those of the schema", async () => {
  const applied = await apply(variant("meta"));
  const parsed = resource.parse(variant("meta"));
  expect(applied["spec"]).toEqual(parsed.spec);
});

test("it is scaled by kubectl scale, and its columns are shown", async () => {
  await apply(variant("scaled"));
  await server.kubectl(["scale", "mmc/scaled", "--replicas=5"]);
  expect(await server.kubectl(["get", "mmc/scaled", "-o", "jsonpath={.spec.replicas}"])).toBe("5");
  const status = { status: { primary: "scaled-1", readyReplicas: 4, epoch: 7, lag: "0.1s" } };
  await server.kubectl(["patch", "mmc/scaled", "--subresource=status", "--type=merge", "-p", JSON.stringify(status)]);
  expect(await server.kubectl(["get", "mmc/scaled"])).toMatch(
    /NAME +PRIMARY +READY +DESIRED +LAG +EPOCH +AGE\nscaled +scaled-1 +4 +5 +0\.1s +7 /,
  );
});

const container = (name: string): Json => ({ name, image: "x" });

describe("what is wrong is refused at apply, with what to do", () => {
  test.each<[string, Json, RegExp]>([
    ["a name that is too long", { "metadata.name": "m".repeat(41) }, /may have 40 characters at most/],
    ["a name that begins with a digit", { "metadata.name": "1meta" }, /begins with a letter/],
    ["fewer than no replicas", { "spec.replicas": -1 }, /greater than or equal to 0/],
    ["no bucket", { "spec.bucket": undefined }, /spec\.bucket: Required value/],
    ["a folder for a bucket", { "spec.bucket.url": "file:///bucket" }, /spec\.bucket\.url/],
    ["credentials in the endpoint", { "spec.bucket.endpoint": "http://a:b@c" }, /spec\.bucket\.endpoint/],
    [
      "no master",
      { "spec.template.spec.containers": [container("web")] },
      /no container with the name of masterContainer/,
    ],
    [
      "a second sidecar",
      { "spec.template.spec.containers": [container("master"), container("metamaster")] },
      /which the operator adds/,
    ],
    [
      "a second watchdog",
      { "spec.template.spec.containers": [container("master"), container("metamaster-watchdog")] },
      /which the operator adds/,
    ],
    [
      "a label of ours",
      { "spec.template.metadata": { labels: { "metamaster.io/role": "primary" } } },
      /template\.metadata\.labels: what begins with metamaster\.io/,
    ],
    [
      "an annotation of ours",
      { "spec.template.metadata": { annotations: { "metamaster.io/switchover-to": "a" } } },
      /template\.metadata\.annotations: what begins/,
    ],
    ["a first sidecar", { "spec.template.spec.initContainers": [container("metamaster")] }, /which the operator adds/],
    [
      "a first watchdog",
      { "spec.template.spec.initContainers": [container("metamaster-watchdog")] },
      /which the operator adds/,
    ],
    ["another data", { "spec.template.spec.volumes": [{ name: "data", emptyDir: {} }] }, /member's own volume/],
    ["a volume of ours", { "spec.template.spec.volumes": [{ name: "metamaster-tmp" }] }, /are the sidecar's/],
    ["the machine's processes", { "spec.template.spec.hostPID": true }, /leave out hostPID/],
    [
      "the machine's network",
      { "spec.template.spec.hostNetwork": true },
      /template\.spec\.hostNetwork: .* leave it out/,
    ],
    [
      "the sidecar's port",
      { "spec.template.spec.containers": [{ ...container("master"), ports: [{ containerPort: 8400 }] }] },
      /ports: Invalid value: .*containerPort 8400 is the sidecar's.* another port/,
    ],
    [
      "the sidecar's port of a container before",
      {
        "spec.template.spec.initContainers": [
          { ...container("first"), ports: [{ containerPort: 1 }, { containerPort: 8400, protocol: "TCP" }] },
        ],
      },
      /ports: Invalid value: .*containerPort 8400 is the sidecar's.* another port/,
    ],
    ["processes apart", { "spec.template.spec.shareProcessNamespace": false }, /leave out hostPID and share/],
    ["pods that end", { "spec.template.spec.restartPolicy": "Never" }, /must be Always/],
    ["an account of one's own", { "spec.template.spec.serviceAccountName": "me" }, /serviceAccount\.annotations/],
    ["a grace of one's own", { "spec.template.spec.terminationGracePeriodSeconds": 5 }, /stop\.grace/],
    ["no container at all", { "spec.template.spec.containers": [] }, /should have at least 1 items/],
    ["no database", { "spec.databases": [] }, /should have at least 1 items/],
    [
      "two databases of one name",
      {
        "spec.databases": [
          { name: "a", path: "a" },
          { name: "a", path: "b" },
        ],
      },
      /Duplicate value/,
    ],
    [
      "two databases at one path",
      {
        "spec.databases": [
          { name: "a", path: "a" },
          { name: "b", path: "a" },
        ],
      },
      /its own directory/,
    ],
    ["an absolute path", { "spec.databases": [{ name: "a", path: "/a" }] }, /below dataDirectory/],
    ["a path that leaves", { "spec.databases": [{ name: "a", path: "b/../../a" }] }, /below dataDirectory/],
    ["a lease that is too short", { "spec.failover": { leaseDuration: "10ms" } }, /between 1s and 10m/],
    ["no time for fencing", { "spec.failover": { leaseDuration: "10s" } }, /renewDeadline must be at most four fifths/],
    [
      "tries that are too far apart",
      { "spec.failover": { retryPeriod: "12s" } },
      /retryPeriod must be at most a third/,
    ],
    ["half seconds", { "spec.failover": { leaseDuration: "15500ms" } }, /leaseDuration must be whole seconds/],
    ["a day as a day", { "spec.checkpoint": { interval: "1d" } }, /spec\.checkpoint\.interval/],
    [
      "two health checks",
      { "spec.health": { tcp: "localhost:1", http: "http://localhost" } },
      /exactly one of exec, http and tcp/,
    ],
    ["adopting from elsewhere", { "spec.bootstrap": { type: "Adopt", from: { url: "s3://a/b" } } }, /needs type: New/],
    ["a volume without a size", { "spec.volumeClaimTemplate": { spec: {} } }, /resources: Required value/],
    [
      "an unknown policy",
      { "spec.deletionPolicy": "Keep" },
      /supported values: "Delete", "Retain"|supported values: "Retain", "Delete"/,
    ],
  ])("%s", async (_what, changes, message) => {
    await expect(apply(variant("wrong", changes))).rejects.toThrow(message);
  });
});

describe("what must not change is refused later", () => {
  test.each<[string, Json, RegExp]>([
    ["a database renamed", { "spec.databases": [{ name: "other", path: "meta" }] }, /can't be left out or renamed/],
    ["another bucket", { "spec.bucket.url": "s3://other/prefix" }, /bucket\.url can't be changed/],
    ["a smaller volume", { "spec.volumeClaimTemplate.spec.resources.requests.storage": "1Gi" }, /can't shrink/],
    [
      "another storage class",
      { "spec.volumeClaimTemplate.spec.storageClassName": "other" },
      /storageClassName can't be changed/,
    ],
    ["another beginning", { "spec.bootstrap": { type: "Adopt" } }, /bootstrap can't be changed/],
  ])("%s", async (_what, changes, message) => {
    await apply(variant("fixed"));
    await expect(apply(variant("fixed", changes))).rejects.toThrow(message);
  });

  test("a larger volume is taken", async () => {
    await apply(variant("grows"));
    await apply(variant("grows", { "spec.volumeClaimTemplate.spec.resources.requests.storage": "100Gi" }));
  });
});

test("ports that are nobody else's are taken, written in any way", async () => {
  const ports = [
    { name: "rpc", containerPort: 9500, hostPort: 8400, hostIP: "10.0.0.1" },
    { containerPort: 8400, protocol: "UDP" },
  ];
  const containers = [
    { ...container("master"), ports },
    { ...container("none"), ports: [] },
    { ...container("null"), ports: null },
  ];
  const initContainers = [{ ...container("first"), ports: [{ containerPort: 1, protocol: null }] }];
  const changes = { containers, initContainers, hostNetwork: false, tolerations: null };
  const applied = await apply(
    variant(
      "ports",
      Object.fromEntries(Object.entries(changes).map(([key, value]) => [`spec.template.spec.${key}`, value])),
    ),
  );
  const [master] = resource.parse(applied).spec.template.spec.containers;
  expect(master?.ports).toEqual(ports);
});

const definition = (rules: boolean): string =>
  JSON.stringify(customResourceDefinition(), (key, value: unknown) =>
    key === "x-kubernetes-validations" && !rules ? undefined : value,
  );

test("a resource that was there before a rule was is changed otherwise all the same", async () => {
  await server.kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], definition(false));
  const ports = [{ name: "http", containerPort: 8400 }];
  const old = variant("old", {
    "spec.template.spec.hostNetwork": true,
    "spec.template.spec.containers": [{ ...container("master"), ports }],
  });
  // The API server takes another definition into use a moment later.
  for (let tries = 0; ; tries++) {
    try {
      await apply(old);
      break;
    } catch (error) {
      if (tries === 100) throw error;
      await sleep(100);
    }
  }
  await server.kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], definition(true));
  await expect(
    (async () => {
      for (let tries = 0; tries < 100; tries++) {
        await server.kubectl(
          ["apply", "--dry-run=server", "-f", "-"],
          JSON.stringify({ ...old, metadata: { name: "new" } }),
        );
        await sleep(100);
      }
    })(),
  ).rejects.toThrow(/hostNetwork/);
  await server.kubectl(["scale", "mmc/old", "--replicas=5"]);
  const status = JSON.stringify({ status: { primary: "old-0" } });
  await server.kubectl(["patch", "mmc", "old", "--subresource=status", "--type=merge", "-p", status]);
  await server.kubectl(["patch", "mmc", "old", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}']);
});

/** What the sidecar says of the configuration that the operator makes of it. */
async function takenByTheSidecar(object: Json): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "metamaster-config-"));
  try {
    const file = join(folder, "metamaster.yaml");
    writeFileSync(file, sidecarConfig(resource.parse(object) as MetaMasterCluster));
    await loadConfig({ file, assignments: [], environment: { METAMASTER_ELECTION_POD_UID: "u" } });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test.each([
  ["10s", "8s", "2s", true],
  ["10s", "8001ms", "2s", false],
  ["6s", "4s", "1s", true],
  ["9s", "3s", "1s", true],
  ["9s", "3s", "1001ms", false],
  ["6000ms", "4s", "1s", true],
  ["6500ms", "4s", "1s", false],
  ["1m", "48s", "16s", true],
  ["1m", "49s", "16s", false],
])(
  "a lease of %s, renewDeadline %s, retryPeriod %s: the API server takes it if the sidecar does (%s)",
  async (...times) => {
    const [leaseDuration, renewDeadline, retryPeriod, expected] = times;
    const object = variant("lease", { "spec.failover": { leaseDuration, renewDeadline, retryPeriod } });
    expect(await takenByTheSidecar(object)).toBe(expected);
    const taken = server.kubectl(["apply", "--dry-run=server", "-f", "-"], JSON.stringify(object));
    if (expected) expect(await taken).toMatch(/lease created|lease configured|lease unchanged/);
    else await expect(taken).rejects.toThrow(/spec\.failover/);
  },
);
