import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { OperatorStage, type Json } from "./testing/operator-stage.js";

let stage: OperatorStage;

beforeAll(async () => {
  stage = await OperatorStage.start();
}, 30 * 60_000);

afterAll(async () => {
  await stage?.server.stop();
});

beforeEach(async () => await stage.begin());
afterEach(async () => await stage.end());

test("what the API server writes in another way is no change: nothing is written, and a switchover goes on", async () => {
  const container = {
    resources: { requests: { cpu: "1000m", memory: "1024Mi" }, limits: { cpu: 1 } },
    env: [{ name: "EMPTY", value: "" }],
    command: null,
    volumeMounts: [],
  };
  await stage.apply({ ...stage.template(container, { tolerations: [] }), switchover: { target: `${stage.name}-1` } });
  await stage.running(2);
  await stage.until("a switchover is asked for", async () =>
    JSON.stringify(await stage.get("pod", `${stage.name}-0`)).includes(
      `"metamaster.io/switchover-to":"${stage.name}-1"`,
    ),
  );
  await sleep(3000);
  const { writes } = stage.operator.writer;
  await sleep(5000);
  expect(stage.operator.writer.writes).toBe(writes);
});

test("what belongs to somebody else is left alone, and told; once it is gone the resource is made", async () => {
  const { name } = stage;
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, labels: { app: "another" } } };
  await stage.server.kubectl(["apply", "-f", "-"], JSON.stringify(account));
  await stage.apply();
  await stage.until("it is told", async () => (await stage.condition("Ready")).startsWith("False SpecInvalid"));
  expect(await stage.condition("Degraded")).toMatch(
    new RegExp(`^True ApplyRefused ServiceAccount ${name}: one of that name is there already, which the operator did`),
  );
  expect(await stage.none("statefulset")).toBe(true);
  expect((await stage.get("serviceaccount"))["metadata"]).not.toHaveProperty("ownerReferences");
  expect(await stage.server.kubectl(["get", "events", "-o", "jsonpath={.items[*].reason}"])).toContain("ApplyRefused");
  await stage.server.kubectl(["delete", "serviceaccount", name]);
  await stage.running(1);
  await stage.until("nothing is wrong", async () => (await stage.condition("Degraded")).startsWith("False"));
});

test("two resources whose objects would have one name: the second is told, the first one's stay", async () => {
  const { name } = stage;
  await stage.apply();
  await stage.running(1);
  await stage.apply({}, `${name}-primary`);
  await stage.until("it is told", async () =>
    (await stage.condition("Degraded", `${name}-primary`)).startsWith(
      `True ApplyRefused Service ${name}-primary: one of that name belongs to the MetaMasterCluster ${name}.`,
    ),
  );
  const service = await stage.get("service", `${name}-primary`);
  expect(JSON.stringify(service)).toContain('"metamaster.io/role":"primary"');
});

test("a template that the API server refuses: which field, where a person looks", async () => {
  const twice = ["a", "b"].map((value) => ({ name: "TWICE", value }));
  await stage.apply(stage.template({ env: twice }));
  await stage.until("it is told", async () => (await stage.condition("Ready")).startsWith("False SpecInvalid"));
  expect(await stage.condition("Degraded")).toMatch(/^True ApplyRefused StatefulSet .*TWICE/);
  await stage.apply(stage.template({}, { volums: [] }));
  await stage.until("a slip is told", async () =>
    /^True ApplyRefused StatefulSet .*volums: field not declared/.test(await stage.condition("Degraded")),
  );
});

test("pods that can't be made: what their controller says of it", async () => {
  const { name } = stage;
  await stage.apply();
  await stage.until("the StatefulSet is there", async () => !(await stage.none("statefulset")));
  const message = `create Pod ${name}-0 in StatefulSet ${name} failed error: Pod "${name}-0" is invalid: spec.containers[0].image: Required value`;
  const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const event = {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name}.1`, namespace: "default" },
    involvedObject: { apiVersion: "apps/v1", kind: "StatefulSet", name, namespace: "default" },
    type: "Warning",
    reason: "FailedCreate",
    message,
    firstTimestamp: now,
    lastTimestamp: now,
  };
  await stage.server.kubectl(["create", "-f", "-"], JSON.stringify(event));
  await stage.until("it is told", async () => (await stage.condition("Degraded")).includes("image: Required value"));
  expect(await stage.condition("Ready")).toBe(`False NoPrimary There is no pod yet; pods can't be made: ${message}`);
  expect(await stage.server.kubectl(["get", "events", "-o", "jsonpath={.items[*].reason}"])).toContain("PodsRefused");
  await stage.running(3);
  await stage.until("all is well", async () => (await stage.condition("Degraded")).startsWith("False AsExpected"));
});

test("a resource whose prefix another one had begins once that one is gone", async () => {
  const { name } = stage;
  const bucket = { url: `s3://my-bucket/default/${name}` };
  await stage.apply({ replicas: 0 });
  await stage.until("the first is there", async () => !(await stage.none("statefulset")));
  // Times of creation are whole seconds.
  await sleep(1100);
  await stage.apply({ bucket, replicas: 0 }, `${name}b`);
  await stage.until("it waits", async () =>
    (await stage.condition("Ready", `${name}b`)).includes("one prefix for one"),
  );
  await stage.server.kubectl(["delete", "mmc", name]);
  await stage.until("it is begun", async () => !(await stage.none("statefulset", `${name}b`)));
});

/** Beside a node that a test can drain. */
async function drainable(): Promise<string> {
  const node = `${stage.name}-node`;
  await stage.server.kubectl(
    ["apply", "-f", "-"],
    JSON.stringify({ apiVersion: "v1", kind: "Node", metadata: { name: node } }),
  );
  await stage.until("the StatefulSet is there", async () => !(await stage.none("statefulset")));
  for (const ordinal of [0, 1, 2]) {
    stage.pods.be(ordinal, ordinal === 0 ? "Primary" : "Standby", 9);
    await stage.pods.make(ordinal, "r1", ordinal === 0 ? node : undefined);
  }
  await stage.seen("r1");
  await stage.until("it is ready", async () => (await stage.condition("Ready")).startsWith("True AllMembersReady"));
  return node;
}

const switchedTo = async (ordinal: number): Promise<boolean> =>
  JSON.stringify(await stage.get("pod", `${stage.name}-0`)).includes(
    `"metamaster.io/switchover-to":"${stage.name}-${ordinal}"`,
  );

test("a spec that becomes invalid: nothing is made of it, and what runs is looked after until it is mended", async () => {
  const { name, server } = stage;
  const url = `s3://my-bucket/default/${name}`;
  const of = (endpoint: string): Json => ({ bucket: { url, endpoint: `http://${endpoint}:9000` } });
  await stage.apply({ ...of("one"), replicas: 0 }, `${name}a`);
  // Times of creation are whole seconds.
  await sleep(1100);
  await stage.apply(of("two"));
  const node = await drainable();
  const made = async (): Promise<readonly unknown[]> =>
    await Promise.all(
      [stage.get("statefulset"), stage.get("configmap")].map(async (each) => {
        const { spec, data } = await each;
        return spec ?? data;
      }),
    );
  const before = await made();
  // What was refused before it was invalid is not asked for any more, nor waited for.
  await stage.apply({ ...of("two"), ...stage.template({}, { volums: [] }) });
  await stage.until("it is refused", async () => (await stage.condition("Degraded")).startsWith("True ApplyRefused"));
  await stage.apply({
    ...of("one"),
    ...stage.template({ image: "another" }),
    replicas: 5,
    switchover: { target: `${name}-2` },
  });
  await stage.until("it is told", async () =>
    (await stage.condition("Degraded")).startsWith(`True SpecInvalid spec.bucket.url ${url} is, holds`),
  );
  expect(await stage.condition("Ready")).toMatch(/^True AllMembersReady/);
  expect(await stage.condition("Progressing")).toMatch(/^False Stable Nothing is changed/);
  await server.kubectl(["delete", "pdb", `${name}-primary`]);
  await stage.until("the budget is back", async () => !(await stage.none("pdb", `${name}-primary`)));
  await server.kubectl(["cordon", node]);
  await stage.until("another is to be primary", async () => await switchedTo(1));
  stage.pods.be(0, "Standby", 9, 2);
  stage.pods.be(1, "Primary", 9, 2);
  await stage.until("the status tells", async () =>
    (await stage.condition("PrimaryElected")).includes(`${name}-1 is primary of epoch 2`),
  );
  await stage.seen("r2");
  await sleep(3000);
  expect(await stage.none("pod", `${name}-2`)).toBe(false);
  stage.pods.be(2, "Syncing", 9);
  await stage.until("who is of no use is replaced", async () => await stage.none("pod", `${name}-2`));
  expect(await made()).toEqual(before);
  let writes = -1;
  await stage.until("nothing more is written for a while", async () => {
    ({ writes } = stage.operator.writer);
    await sleep(1500);
    return stage.operator.writer.writes === writes;
  });
  const looks = async (): Promise<number> =>
    (await stage.operator.metrics.reconciles.get()).values.reduce((sum, { value }) => sum + value, 0);
  const looksBefore = await looks();
  await sleep(4000);
  expect(stage.operator.writer.writes).toBe(writes);
  expect((await looks()) - looksBefore).toBeLessThan(20);
  expect((await stage.eventReasons()).filter((each) => each === "SpecInvalid")).toHaveLength(1);
  await stage.patch("mmc", { spec: { ...of("two"), switchover: null } });
  await stage.until("it is scaled", async () => JSON.stringify(await made()).includes('"replicas":5'));
  await stage.untilCondition("Degraded", /^(?!.*SpecInvalid)/);
});

test("a template that is refused while members run: a drained node's primary hands over, the refusal is told once and asked for ever less often", async () => {
  const { name, server } = stage;
  await stage.apply();
  const node = await drainable();
  const configuration = async (): Promise<unknown> => (await stage.get("configmap"))["data"];
  const before = await configuration();
  await stage.apply({ ...stage.template({}, { volums: [] }), dataDirectory: "/elsewhere" });
  await stage.until("it is told", async () => (await stage.condition("Degraded")).startsWith("True ApplyRefused"));
  expect(await configuration()).toEqual(before);
  await server.kubectl(["cordon", node]);
  await stage.until("another is to be primary", async () => await switchedTo(1));
  await stage.untilCondition("Progressing", new RegExp(`^True SwitchingOver To ${name}-1`));
  await sleep(4000);
  const { writes } = stage.operator.writer;
  await sleep(10_000);
  expect(stage.operator.writer.writes - writes).toBeLessThan(6);
  expect((await stage.eventReasons()).filter((each) => each === "ApplyRefused")).toHaveLength(1);
  await stage.apply(stage.template({ image: "another" }));
  await stage.until("it is applied at once", async () =>
    JSON.stringify(await stage.get("statefulset")).includes('"image":"another"'),
  );
});

test("a switchover that is refused again and again is told once, and once more for another reason", async () => {
  const { name, server } = stage;
  await stage.apply({ switchover: { target: `${name}-1` } });
  await stage.running(2);
  const refuse = async (why: string): Promise<void> => {
    await stage.until("it is asked for", async () => await switchedTo(1));
    await server.kubectl([
      "annotate",
      "pod",
      `${name}-0`,
      "metamaster.io/switchover-to-",
      `metamaster.io/switchover-refused=${why}`,
    ]);
  };
  const told = async (): Promise<string[]> => {
    const all = await server.kubectl([
      "get",
      "events",
      "-o",
      `jsonpath={range .items[?(@.involvedObject.name=="${name}")]}{.reason} {.message}|{end}`,
    ]);
    return all.split("|").filter((each) => each.startsWith("Switchover"));
  };
  const asked = `Switchover switchover to ${name}-1: the spec asks for it`;
  const no = `SwitchoverRefused the switchover to ${name}-1 was refused, it will be asked for again:`;
  await refuse("no");
  await stage.until("it is told", async () => (await told()).length === 2);
  await stage.untilCondition("Progressing", /^True SwitchingOver .*was refused.*: no$/);
  const { resourceVersion } = (await stage.get("mmc"))["metadata"] as { resourceVersion: string };
  await sleep(20_000);
  await refuse("no");
  await sleep(5000);
  // Times of events are whole seconds.
  expect((await told()).toSorted()).toEqual([asked, `${no} no`].toSorted());
  expect((await stage.get("mmc"))["metadata"]).toMatchObject({ resourceVersion });
  await sleep(15_000);
  await refuse("never");
  await stage.until("the other reason is told", async () => (await told()).length === 3);
  expect((await told()).toSorted()).toEqual([asked, `${no} never`, `${no} no`].toSorted());
  await stage.untilCondition("Progressing", /: never$/);
});

test("deleted with its namespace: what no Job can empty any more is told, and ends with Retain", async () => {
  const { name, server } = stage;
  const namespace = `${name}-space`;
  await server.kubectl(["create", "namespace", namespace]);
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name, namespace } };
  const labels = { "metamaster.io/cluster": name };
  await server.kubectl(["create", "-f", "-"], JSON.stringify({ ...lease, metadata: { ...lease.metadata, labels } }));
  const url = `s3://my-bucket/${namespace}/${name}`;
  await stage.apply({ deletionPolicy: "Delete", replicas: 0, bucket: { url } }, name, namespace);
  await stage.until("it is made", async () => (await stage.get("statefulset", name, namespace)) !== undefined);
  await server.kubectl(["delete", "namespace", namespace, "--wait=false"]);
  await server.kubectl(["delete", "mmc", name, "-n", namespace, "--wait=false"]);
  await stage.until("it is told", async () =>
    /^True PurgeFailed .*being terminated.*there only Retain helps/.test(
      await stage.condition("Degraded", name, namespace),
    ),
  );
  const retain = JSON.stringify({ spec: { deletionPolicy: "Retain" } });
  await server.kubectl(["patch", "mmc", name, "-n", namespace, "--type=merge", "-p", retain]);
  const left = async (kind: string): Promise<string> =>
    await server.kubectl(["get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "name"]);
  await stage.until("it is gone", async () => (await left("mmc")) === "");
  expect(await left("lease")).toBe("");
});

test("a volume that can't grow is asked for once, and told by a condition", async () => {
  const { name, server } = stage;
  await stage.apply();
  await stage.running(1);
  const claim = {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: `data-${name}-0`, labels: { "metamaster.io/cluster": name } },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "10Gi" } } },
  };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(claim));
  const size = { volumeClaimTemplate: { spec: { resources: { requests: { storage: "20Gi" } } } } };
  await stage.patch("mmc", { spec: size });
  await stage.until("it is told", async () =>
    (await stage.condition("Degraded")).startsWith(`True VolumeCantGrow data-${name}-0 can't grow to 20Gi: `),
  );
  await sleep(1000);
  const { writes } = stage.operator.writer;
  await sleep(4000);
  expect(stage.operator.writer.writes).toBe(writes);
  const said = await server.kubectl(["get", "events", "-o", "jsonpath={.items[*].message}"]);
  expect(said.split(`data-${name}-0 can't grow`)).toHaveLength(2);
});

test("a volume whose file system has not grown yet, or whose storage refuses, is told by a condition; nothing is asked for meanwhile", async () => {
  const { name, server } = stage;
  await stage.apply();
  await stage.running(3);
  await stage.until("all is well", async () => (await stage.condition("Progressing")).startsWith("False Stable"));
  const claim = {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: `data-${name}-1`, labels: { "metamaster.io/cluster": name } },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "20Gi" } } },
  };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(claim));
  const become = async (has: string, types: readonly string[]): Promise<void> => {
    const conditions = types.map((type) => ({ type, status: "True", message: "as it is" }));
    const status = { phase: "Bound", capacity: { storage: has }, conditions };
    await server.kubectl([
      "patch",
      "pvc",
      `data-${name}-1`,
      "--subresource=status",
      "--type=merge",
      "-p",
      JSON.stringify({ status }),
    ]);
  };
  await become("10Gi", ["FileSystemResizePending"]);
  await stage.until("it is told", async () =>
    (await stage.condition("Progressing")).startsWith(`True Resizing data-${name}-1 has 10Gi of 20Gi: its file system`),
  );
  await sleep(1000);
  const { writes } = stage.operator.writer;
  await sleep(12_000);
  expect(stage.operator.writer.writes).toBe(writes);
  await become("10Gi", ["ControllerResizeError"]);
  await stage.until("the refusal is told", async () =>
    (await stage.condition("Degraded")).startsWith(`True VolumeCantGrow data-${name}-1 has 10Gi of 20Gi: as it is`),
  );
  expect(await server.kubectl(["get", "events", "-o", "jsonpath={.items[*].message}"])).toContain(
    "10Gi of 20Gi: as it is",
  );
  await become("20Gi", []);
  await stage.until("all is well", async () => (await stage.condition("Progressing")).startsWith("False Stable"));
  expect(await stage.condition("Degraded")).toMatch(/^False AsExpected/);
});

test("what is done to a pod, and why a drain waits, is told by events", async () => {
  const { name, server } = stage;
  const events = async (kind: string, which: string): Promise<string> =>
    await server.kubectl([
      "get",
      "events",
      "--field-selector",
      `involvedObject.kind=${kind},involvedObject.name=${which}`,
      "-o",
      "jsonpath={range .items[*]}{.reason} {.message} | {end}",
    ]);
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: `${name}-node` }, spec: { unschedulable: true } };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(node));
  await stage.apply({ replicas: 1 });
  await stage.until("the StatefulSet is there", async () => !(await stage.none("statefulset")));
  stage.pods.be(0, "Primary", 9);
  await stage.pods.make(0, "r1", `${name}-node`);
  await stage.until("it is told", async () => /DrainWaits .*Scale out/.test(await events("MetaMasterCluster", name)));
  await stage.untilCondition("Progressing", /is cordoned, and it is the only member/);
  await server.kubectl(["delete", "node", `${name}-node`]);
  await stage.seen("r2");
  // No kubelet is there to end it.
  await stage.until("the pod is replaced", async () =>
    JSON.stringify(await stage.get("pod", `${name}-0`)).includes("deletionTimestamp"),
  );
  expect(await events("Pod", `${name}-0`)).toContain("PodReplaced pod");
});

test("an operator that does not lead any more writes nothing, whatever it was about to do", async () => {
  await stage.apply();
  await stage.running(1);
  await stage.until("it works", async () => (await stage.condition("Ready")) !== "");
  stage.leads = false;
  await sleep(500);
  const { writes } = stage.operator.writer;
  await stage.server.kubectl(["delete", "service", `${stage.name}-primary`]);
  await sleep(3000);
  expect([stage.operator.writer.writes, await stage.none("service", `${stage.name}-primary`)]).toEqual([writes, true]);
  stage.leads = true;
  await stage.until("it goes on", async () => !(await stage.none("service", `${stage.name}-primary`)));
});
