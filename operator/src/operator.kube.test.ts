import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { KubeConfig } from "@kubernetes/client-node";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import { customResourceDefinition } from "../../crds/src/crd.js";
import { startApiServer, type ApiServer } from "../../e2e/cluster/api-server.js";
import { Operator } from "./operator.js";
import { PlayedPods } from "./testing/played-pods.js";

type Json = Record<string, unknown>;

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
  await server.kubectl([
    "wait",
    "--for=condition=Established",
    "crd/metamasterclusters.metamaster.io",
    "--timeout=30s",
  ]);
  config = new KubeConfig();
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

function make(): Operator {
  return new Operator({ image: "metamaster:test", namespace: undefined, clusterWide: true }, config, logger, pods.ask);
}

async function apply(changes: Json = {}, more: Json = {}): Promise<void> {
  const copy = structuredClone(quickstart);
  copy["metadata"] = { name, ...more };
  copy["spec"] = { ...(copy["spec"] as Json), bucket: { url: `s3://my-bucket/${name}` }, ...changes };
  await server.kubectl(["apply", "-f", "-"], JSON.stringify(copy));
}

async function get(kind: string, which = name): Promise<Json> {
  return JSON.parse(await server.kubectl(["get", kind, which, "-o", "json"])) as Json;
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
  return (await server.kubectl(["get", "pod", `${name}-${ordinal}`, "--ignore-not-found"])).trim() === "";
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
  });

  test("two resources on one prefix: nothing is started for the second, which says why", async () => {
    await apply();
    await running(1);
    const second = structuredClone(quickstart);
    second["metadata"] = { name: `${name}b` };
    (second["spec"] as Json)["bucket"] = { url: `s3://my-bucket/${name}/inner` };
    await server.kubectl(["apply", "-f", "-"], JSON.stringify(second));
    await until("it says so", async () =>
      JSON.stringify(at(await get("mmc", `${name}b`), "status.conditions") ?? "").includes(
        "one prefix for one resource",
      ),
    );
    await expect(get("statefulset", `${name}b`)).rejects.toThrow(/not found/i);
    await server.kubectl(["delete", "mmc", `${name}b`]);
  });

  test("deleted: its pods end before the rights are taken away, then it is gone; what of it is not done is said", async () => {
    await apply({ deletionPolicy: "Delete" });
    await running(1);
    expect(await server.kubectl(["get", "clusterrolebinding", `metamaster:default:${name}`, "-o", "name"])).not.toBe(
      "",
    );
    await server.kubectl(["delete", "mmc", name, "--wait=false"]);
    await until(
      "the StatefulSet goes",
      async () => (await server.kubectl(["get", "statefulset", name, "--ignore-not-found"])).trim() === "",
    );
    expect(await server.kubectl(["get", "mmc", name, "-o", "name"])).not.toBe("");
    await server.kubectl(["delete", "pod", `${name}-0`, "--force", "--grace-period=0"]);
    await until(
      "it is gone",
      async () => (await server.kubectl(["get", "mmc", name, "--ignore-not-found"])).trim() === "",
    );
    expect(
      (await server.kubectl(["get", "clusterrolebinding", `metamaster:default:${name}`, "--ignore-not-found"])).trim(),
    ).toBe("");
    const messages = await server.kubectl(["get", "events", "-o", "jsonpath={.items[*].message}"]);
    expect(messages).toContain("Delete the prefix by hand");
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
});
