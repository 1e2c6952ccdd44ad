import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { CoreV1Api, KubeConfig } from "@kubernetes/client-node";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import { customResourceDefinition } from "../../crds/src/crd.js";
import type { Json, Kind } from "../../e2e/cluster/api-reader.js";
import { startApiServer, type ApiServer } from "../../e2e/cluster/api-server.js";
import { untilEstablished } from "../../e2e/cluster/established.js";
import { sharingConnections } from "./kube/connections.js";
import { Operator } from "./operator.js";
import { PlayedPods } from "./testing/played-pods.js";

const quickstart = parse(
  readFileSync(join(import.meta.dirname, "..", "..", "examples", "quickstart.yaml"), "utf8"),
) as Json;
const said: string[] = [];
const say = (fields: object, message: string): void => void said.push(`${message} ${JSON.stringify(fields)}`);
const logger = { debug: () => undefined, info: say, warn: say, error: say };

let server: ApiServer;
let config: KubeConfig;
let operator: Operator;
let pods: PlayedPods;
let name: string;
let count = 0;

beforeAll(async () => {
  server = await startApiServer();
  await server.kubectl(["create", "-f", "-"], JSON.stringify(customResourceDefinition()));
  await untilEstablished(server, "metamasterclusters.metamaster.io");
  config = sharingConnections(new KubeConfig());
  config.loadFromFile(server.kubeconfig);
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
});

beforeEach(async () => {
  said.length = 0;
  name = `meta${++count}`;
  pods = new PlayedPods(server, name);
  operator = make();
  await operator.start();
});

afterEach(async () => {
  await operator.stop();
  await server.kubectl(["delete", "mmc", "--all", "--wait=false"]);
  await server.kubectl(["patch", "mmc", name, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}']).catch(() => "");
  await server.kubectl(["delete", "pods,statefulsets", "--all", "--force", "--grace-period=0"]);
});

function make(image = "metamaster:test"): Operator {
  return new Operator({ image, namespace: undefined, clusterWide: true }, config, logger, pods.ask);
}

async function apply(changes: Json = {}, more: Json = {}): Promise<void> {
  const copy = structuredClone(quickstart);
  copy["metadata"] = { name, ...more };
  copy["spec"] = { ...(copy["spec"] as Json), bucket: { url: `s3://my-bucket/${name}` }, ...changes };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(copy));
}

async function get(kind: Kind, which = name): Promise<Json> {
  return await server.api.get(kind, which);
}

function at(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((found, step) => (found as Json | undefined)?.[step], value);
}

/** Waits until it holds: the operator works on its own. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let looks = 0; looks < 600; looks++) {
    if (await holds().catch(() => false)) return;
    await sleep(100);
  }
  throw new Error(`waited in vain until ${what}\n${said.join("\n")}`);
}

const condition = async (type: string): Promise<string> => {
  const conditions = (at(await get("mmc"), "status.conditions") ?? []) as {
    type: string;
    status: string;
    reason: string;
  }[];
  const found = conditions.find((each) => each.type === type);
  return `${found?.status ?? ""} ${found?.reason ?? ""}`;
};

/** As its controller would. */
async function seen(revision: string): Promise<void> {
  const { generation } = (await get("statefulset"))["metadata"] as { generation: number };
  const status = { observedGeneration: generation, updateRevision: revision, replicas: 0 };
  await server.kubectl([
    "patch",
    "statefulset",
    name,
    "--subresource=status",
    "--type=merge",
    "-p",
    JSON.stringify({ status }),
  ]);
}

/** All of them follow the first. */
async function running(members: number, revision = "r1"): Promise<void> {
  await until("the StatefulSet is there", async () => (await get("statefulset")) !== undefined);
  await seen(revision);
  for (let ordinal = 0; ordinal < members; ordinal++) {
    pods.be(ordinal, ordinal === 0 ? "Primary" : "Standby", 7);
    await pods.make(ordinal, revision);
  }
  await until("the status shows the primary", async () => at(await get("mmc"), "status.primary") === `${name}-0`);
}

const annotation = async (ordinal: number): Promise<unknown> =>
  at(await get("pod", `${name}-${ordinal}`), "metadata.annotations")?.["metamaster.io/switchover-to" as never];

async function gone(ordinal: number): Promise<boolean> {
  return (await server.api.find("pod", `${name}-${ordinal}`)) === undefined;
}

async function none(kind: Kind, which: string): Promise<boolean> {
  return (await server.api.find(kind, which)) === undefined;
}

/** Of a member, as the StatefulSet's controller makes it. */
async function claim(which: string, cluster = name): Promise<void> {
  const spec = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "10Gi" } } };
  const metadata = { name: which, labels: { "metamaster.io/cluster": cluster } };
  const object = { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata, spec };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(object));
}

const going = async (which: string): Promise<boolean> =>
  at(await get("pvc", which), "metadata.deletionTimestamp") !== undefined;

/** As the controller that protects claims does once no pod uses them. */
async function release(which: string): Promise<void> {
  await server.kubectl(["patch", "pvc", which, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}']);
}

/** Of the Job, and it has failed once. */
async function purgePod(message: string): Promise<void> {
  const template = at(await get("job", `${name}-purge`), "spec.template") as Json;
  const labels = at(template, "metadata.labels") as Json;
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: `${name}-purge-x`, labels }, spec: template["spec"] };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(pod));
  const terminated = { exitCode: 4, reason: "Error", message };
  const container = { name: "metamaster", image: "x", imageID: "", ready: false, restartCount: 1 };
  const state = { waiting: { reason: "CrashLoopBackOff" } };
  const status = { phase: "Running", containerStatuses: [{ ...container, state, lastState: { terminated } }] };
  const patch = JSON.stringify({ status });
  await server.kubectl(["patch", "pod", `${name}-purge-x`, "--subresource=status", "--type=merge", "-p", patch]);
}

describe("on a real API server", () => {
  test("a resource becomes its objects; what somebody changes is put right; when nothing changes nothing is written", async () => {
    await apply();
    await running(3);
    expect(at(await get("statefulset"), "spec.replicas")).toBe(3);
    expect(at(await get("service", `${name}-primary`), "spec.selector")).toEqual({
      "metamaster.io/cluster": name,
      "metamaster.io/role": "primary",
    });
    await until("it is ready", async () => (await condition("Ready")) === "True AllMembersReady");
    expect(await condition("Progressing")).toBe("False Stable");
    expect(await server.kubectl(["get", "mmc", name, "--no-headers"])).toMatch(
      new RegExp(`^${name} +${name}-0 +3 +3 `),
    );
    await sleep(3000);
    const { writes } = operator.writer;
    await sleep(25_000);
    expect(operator.writer.writes).toBe(writes);
    await server.kubectl(["delete", "service", `${name}-primary`]);
    await until("the service is back", async () => (await get("service", `${name}-primary`)) !== undefined);
    await server.kubectl(["patch", "pdb", `${name}-primary`, "--type=merge", "-p", '{"spec":{"maxUnavailable":1}}']);
    await until(
      "the budget is right",
      async () => at(await get("pdb", `${name}-primary`), "spec.maxUnavailable") === 0,
    );
  });

  test("what the API server writes in another way, or leaves out, is applied once, and the rest goes on", async () => {
    const spec = structuredClone(at(quickstart, "spec.template.spec")) as { containers: Json[] };
    Object.assign(spec.containers[0]!, {
      resources: { requests: { cpu: 0.1 }, limits: { cpu: "1000m", memory: "1024Mi" } },
      envFrom: [],
    });
    await apply({ template: { spec } });
    await running(2);
    await sleep(3000);
    const { writes } = operator.writer;
    await sleep(5000);
    expect(operator.writer.writes).toBe(writes);
    await server.kubectl(["scale", "mmc", name, "--replicas=2"]);
    await until("there are two", async () => at(await get("statefulset"), "spec.replicas") === 2);
    await seen("r2");
    await until("the old standby is replaced", () => gone(1));
  });

  test("a template that the API server refuses, or has a field that it doesn't know, is told until it is corrected", async () => {
    const spec = structuredClone(at(quickstart, "spec.template.spec")) as { containers: Json[] };
    const [container] = spec.containers as [Json];
    const { image } = container;
    delete container["image"];
    await apply({ template: { spec } });
    const message = async (type: string): Promise<string> =>
      await server.kubectl(["get", "mmc", name, "-o", `jsonpath={.status.conditions[?(@.type=="${type}")].message}`]);
    await until("it is told", async () => (await condition("Ready")) === "False SpecInvalid");
    expect(await message("Ready")).toMatch(/containers\[0\]\.image: Required value.*Correct spec\.template/);
    expect(await server.kubectl(["get", "events", "-o", "jsonpath={.items[*].message}"])).toContain("image: Required");
    Object.assign(container, { image, imagePulPolicy: "Never" });
    await apply({ template: { spec } });
    await until("the field is named", async () =>
      (await message("Degraded")).includes("imagePulPolicy: field not declared in schema"),
    );
    delete container["imagePulPolicy"];
    await apply({ template: { spec } });
    await running(3);
    await until("it is ready", async () => (await condition("Degraded")) === "False AsExpected");
    // Of members that run nothing is taken away by it.
    await apply({ template: { spec: { ...spec, tolerations: "all" } } });
    await until("it is told", async () => (await condition("Degraded")) === "True ApplyRefused");
    expect(await condition("Ready")).toBe("True AllMembersReady");
  });

  test("scaled out at once; scaled in below the primary only after a switchover", async () => {
    await apply();
    await running(3);
    await server.kubectl(["scale", "mmc", name, "--replicas=5"]);
    await until("there are five", async () => at(await get("statefulset"), "spec.replicas") === 5);
    await seen("r1");
    pods.be(0, "Standby", 9);
    pods.be(2, "Primary", 9, 2);
    await server.kubectl(["scale", "mmc", name, "--replicas=2"]);
    await until("a switchover was asked for", async () => /^meta\d+-[01]$/.test(String(await annotation(2))));
    expect(at(await get("statefulset"), "spec.replicas")).toBe(5);
    pods.be(2, "Standby", 9, 3);
    pods.be(0, "Primary", 9, 3);
    await until("there are two", async () => at(await get("statefulset"), "spec.replicas") === 2);
    expect(await server.kubectl(["get", "events", "-o", "jsonpath={.items[*].reason}"])).toMatch(
      /Switchover.*Scaling|Scaling/,
    );
  });

  test("a rollout: the standbys one by one, then a switchover, then the old primary", async () => {
    await apply();
    await running(3);
    await seen("r2");
    for (const ordinal of [2, 1]) {
      await until(`standby ${ordinal} is replaced`, () => gone(ordinal));
      expect(await gone(0)).toBe(false);
      await pods.make(ordinal, "r2");
    }
    await until("a switchover was asked for", async () => (await annotation(0)) !== undefined);
    pods.be(0, "Standby", 9, 2);
    pods.be(1, "Primary", 9, 2);
    await until("the old primary is replaced", () => gone(0));
  });

  test("a declared switchover waits for a standby that is close enough", async () => {
    await apply({ switchover: { target: `${name}-1`, maxLag: "2s" } });
    await running(3);
    await until("it was asked for", async () => (await annotation(0)) === `${name}-1`);
    pods.be(0, "Standby", 9, 2);
    pods.be(1, "Primary", 9, 2);
    await until("it is done", async () => (await condition("Progressing")) === "False Stable");
    const told = async (): Promise<string> =>
      await server.kubectl(["get", "events", "-o", `jsonpath={.items[?(@.involvedObject.name=="${name}")].message}`]);
    // Lost later, it is not switched back to; asked for anew it is.
    pods.be(0, "Primary", 10, 3);
    pods.be(1, "Standby", 10, 3);
    await until("the loss is known", async () => at(await get("mmc"), "status.primary") === `${name}-0`);
    await server.kubectl(["annotate", "pod", `${name}-0`, "metamaster.io/switchover-to-"]);
    await sleep(2500);
    expect(await annotation(0)).toBeUndefined();
    const anew = { spec: { switchover: { requestedAt: "again" } } };
    await server.kubectl(["patch", "mmc", name, "--type=merge", "-p", JSON.stringify(anew)]);
    await until("it was asked for again", async () => (await annotation(0)) === `${name}-1`);
    const refused = "metamaster.io/switchover-refused=no";
    await server.kubectl(["annotate", "pod", `${name}-0`, "metamaster.io/switchover-to-", refused]);
    await until("the refusal was told", async () =>
      (await told()).includes("was refused, it will be asked for again: no"),
    );
    expect(await annotation(0)).toBeUndefined();
    await until("the change was told", async () => (await told()).includes(`${name}-1 is primary of epoch 2`));
  });

  test("two resources on one prefix: nothing is started for the second, which says why", async () => {
    await apply();
    await running(1);
    // Who was there first keeps the prefix, and times of creation are whole seconds: within one the uid decides.
    await sleep(1000);
    const second = structuredClone(quickstart);
    second["metadata"] = { name: `${name}b` };
    (second["spec"] as Json)["bucket"] = { url: `s3://my-bucket/${name}/inner` };
    await server.kubectl(["apply", "-f", "-"], JSON.stringify(second));
    await until("it says so", async () =>
      JSON.stringify(at(await get("mmc", `${name}b`), "status.conditions") ?? "").includes(
        "one prefix for one resource",
      ),
    );
    expect(await none("statefulset", `${name}b`)).toBe(true);
    await server.kubectl(["delete", "mmc", `${name}b`]);
  });

  test("deleted: its pods end before the rights are taken away, then it is gone", async () => {
    await apply();
    await running(1);
    await claim(`data-${name}-0`);
    await server.kubectl(["delete", "mmc", name, "--wait=false"]);
    await until("the StatefulSet goes", () => none("statefulset", name));
    expect(await none("mmc", name)).toBe(false);
    expect(await none("clusterrolebinding", `metamaster:default:${name}`)).toBe(false);
    await server.kubectl(["delete", "pod", `${name}-0`, "--force", "--grace-period=0"]);
    await until("it is gone", () => none("mmc", name));
    expect(await none("clusterrolebinding", `metamaster:default:${name}`)).toBe(true);
    expect(at(await get("pvc", `data-${name}-0`), "metadata.deletionTimestamp")).toBeUndefined();
    expect(await none("job", `${name}-purge`)).toBe(true);
  });

  test("deleted with its data: members, then the prefix by a Job, whose trouble is told, then the volumes, then the rest", async () => {
    await apply({ deletionPolicy: "Delete" });
    await running(1);
    for (const each of [`data-${name}-0`, `data-${name}-1`]) await claim(each);
    await claim(`data-${name}-2`, `${name}x`);
    await server.kubectl(["delete", "mmc", name, "--wait=false"]);
    await until("the StatefulSet goes", () => none("statefulset", name));
    await until("it says so", async () => (await condition("Progressing")) === "True Deleting");
    expect(await none("job", `${name}-purge`)).toBe(true);
    await server.kubectl(["delete", "pod", `${name}-0`, "--force", "--grace-period=0"]);
    await until("the Job is made", async () => !(await none("job", `${name}-purge`)));
    await purgePod("error: Access Denied\n  what to do: grant s3:DeleteObject\n  code: BucketAccessDenied");
    await until("it tells why", async () => (await condition("Degraded")) === "True PurgeFailed");
    const told = JSON.stringify(at(await get("mmc"), "status.conditions"));
    expect(told).toMatch(
      /can't be emptied: Access Denied; what to do: grant s3:DeleteObject.*set spec.deletionPolicy to Retain/,
    );
    expect(await server.kubectl(["get", "events", "-o", "jsonpath={.items[*].reason}"])).toContain("PurgeFailed");
    // As a deletion in the foreground would.
    await server.kubectl(["delete", "configmap,serviceaccount", name]);
    await until("the Job's pod finds what it needs", async () => !(await none("configmap", name)));
    expect(at(await get("configmap"), "metadata.ownerReferences")).toBeUndefined();
    await server.kubectl(["delete", "pod", `${name}-purge-x`, "--force", "--grace-period=0"]);
    await until("the trouble is over", async () => (await condition("Degraded")) === "False AsExpected");
    const status = JSON.stringify({ status: { startTime: "2026-01-01T00:00:00Z", succeeded: 1 } });
    await server.kubectl(["patch", "job", `${name}-purge`, "--subresource=status", "--type=merge", "-p", status]);
    await until(
      "the volumes are asked to go",
      async () => (await going(`data-${name}-0`)) && (await going(`data-${name}-1`)),
    );
    expect(await going(`data-${name}-2`)).toBe(false);
    expect(await none("mmc", name)).toBe(false);
    for (const ordinal of [0, 1]) await release(`data-${name}-${ordinal}`);
    await until("it is gone", () => none("mmc", name));
    for (const kind of ["configmap", "serviceaccount", "role", "rolebinding"] as const)
      expect(await none(kind, name)).toBe(true);
    expect(await none("job", `${name}-purge`)).toBe(true);
    expect(await none("pvc", `data-${name}-2`)).toBe(false);
  });

  test("a purge whose pod is refused: what its controller says of it, by condition and event, once for all tries", async () => {
    await apply({ deletionPolicy: "Delete" });
    await until("the StatefulSet is there", async () => !(await none("statefulset", name)));
    await server.kubectl(["delete", "mmc", name, "--wait=false"]);
    await until("the Job is made", async () => !(await none("job", `${name}-purge`)));
    const refuse = async (suffix: string): Promise<void> => {
      const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
      const event = {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name: `${name}-purge.${suffix}`, namespace: "default" },
        involvedObject: { apiVersion: "batch/v1", kind: "Job", name: `${name}-purge`, namespace: "default" },
        type: "Warning",
        reason: "FailedCreate",
        message: `Error creating: pods "${name}-purge-${suffix}" is forbidden: exceeded quota: compute`,
        firstTimestamp: now,
        lastTimestamp: now,
      };
      await server.kubectl(["create", "-f", "-"], JSON.stringify(event));
    };
    await refuse("aaaaa");
    await until("it is told", async () => (await condition("Degraded")) === "True PurgeFailed");
    expect(JSON.stringify(at(await get("mmc"), "status.conditions"))).toMatch(
      /can't be emptied: the pod of the Job meta\d+-purge can't be made: .*exceeded quota: compute.*make room/,
    );
    const { writes } = operator.writer;
    await refuse("bbbbb");
    await sleep(20_000);
    expect(operator.writer.writes).toBe(writes);
    const events = [
      "get",
      "events",
      "--field-selector",
      `involvedObject.name=${name},reason=PurgeFailed`,
      "-o",
      "name",
    ];
    expect((await server.kubectl(events)).trim().split("\n")).toHaveLength(1);
    await purgePod("");
    await until("the trouble is over", async () => (await condition("Degraded")) === "False AsExpected");
  });

  test("a purge that is stuck ends when its data is to be retained after all", async () => {
    await apply({ deletionPolicy: "Delete" });
    await until("the StatefulSet is there", async () => !(await none("statefulset", name)));
    await claim(`data-${name}-0`);
    await server.kubectl(["delete", "mmc", name, "--wait=false"]);
    await until("the Job is made", async () => !(await none("job", `${name}-purge`)));
    const retain = JSON.stringify({ spec: { deletionPolicy: "Retain" } });
    await server.kubectl(["patch", "mmc", name, "--type=merge", "-p", retain]);
    await until("it is gone", () => none("mmc", name));
    expect(await none("job", `${name}-purge`)).toBe(true);
    expect(await none("serviceaccount", name)).toBe(true);
    expect(await going(`data-${name}-0`)).toBe(false);
  });

  test("an API server that is away for a while is gone on with, and what happened meanwhile is known", async () => {
    await apply();
    await running(1);
    await server.crash();
    await sleep(2000);
    await server.boot();
    await server.kubectl(["scale", "mmc", name, "--replicas=2"]);
    await until("it is scaled", async () => at(await get("statefulset"), "spec.replicas") === 2);
  });

  test("an operator that starts later finds everything as it is, and writes nothing", async () => {
    await apply();
    await running(1);
    await sleep(2500);
    await operator.stop();
    operator = make();
    said.length = 0;
    await operator.start();
    await sleep(3000);
    expect([operator.writer.writes, said.join(" ")]).toEqual([0, ""]);
  });

  test("an upgraded operator leaves the members as they are and says so; a person has them replaced", async () => {
    await apply();
    await running(3);
    const sidecar = async (): Promise<unknown> =>
      at(await get("statefulset"), "spec.template.spec.initContainers.0.image");
    await until("the StatefulSet is there", async () => (await sidecar()) === "metamaster:test");
    const before = at(await get("statefulset"), "metadata.generation");
    await operator.stop();
    operator = make("metamaster:next");
    await operator.start();
    const told = async (): Promise<string> =>
      await server.kubectl([
        "get",
        "mmc",
        name,
        "-o",
        'jsonpath={.status.conditions[?(@.type=="Progressing")].message}',
      ]);
    await until("it says so", async () => (await told()).includes("run the sidecar metamaster:test"));
    expect(at(await get("statefulset"), "metadata.generation")).toBe(before);
    await server.kubectl(["annotate", "mmc", name, "metamaster.io/restarted-at=now"]);
    await until("the template is another one", async () => (await sidecar()) === "metamaster:next");
  });
});

test("requests use the connections of those before them, and others once a certificate is another", async () => {
  const own = new KubeConfig();
  own.loadFromFile(server.kubeconfig);
  const api = sharingConnections(own).makeApiClient(CoreV1Api);
  await operator.stop();
  let made = 0;
  const connected = (): void => void made++;
  subscribe("undici:client:connected", connected);
  try {
    // One that has just been answered may not be free yet: two, but not one a call.
    for (let call = 0; call < 20; call++) await api.listNamespace();
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThanOrEqual(2);
    const [cluster] = own.clusters;
    own.clusters = [{ ...cluster!, caData: Buffer.from(`${server.ca}\n`).toString("base64") }];
    const before = made;
    for (let call = 0; call < 20; call++) await api.listNamespace();
    expect(made).toBeGreaterThan(before);
    expect(made).toBeLessThanOrEqual(before + 2);
  } finally {
    unsubscribe("undici:client:connected", connected);
  }
});
