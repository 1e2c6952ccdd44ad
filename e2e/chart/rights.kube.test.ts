import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { KubeConfig } from "@kubernetes/client-node";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Operator } from "../../operator/src/operator.js";
import { startApiServer, type ApiServer } from "../cluster/api-server.js";
import { untilEstablished } from "../cluster/established.js";
import { chart, Helm, root } from "./helm.js";

/** The operator as the chart's account, with the rights that the chart gives it and no others. */

const ACCOUNT = "system:serviceaccount:metamaster-system:metamaster-operator";
const LOOKS = 600;
const quickstart = readFileSync(join(root, "examples/quickstart.yaml"), "utf8");

let helm: Helm;
let server: ApiServer;
let operator: Operator | undefined;
const said: string[] = [];

beforeAll(async () => {
  helm = await Helm.open();
  server = await startApiServer();
  for (const name of ["metamaster-system", "meta"]) await server.kubectl(["create", "namespace", name]);
}, 30 * 60_000);

afterEach(async () => {
  await operator?.stop();
  operator = undefined;
});

afterAll(async () => {
  await server?.stop();
  await helm?.close();
});

async function install(...values: string[]): Promise<void> {
  const args = ["upgrade", "--install", "metamaster", chart, "-n", "metamaster-system", ...values];
  await helm.run(args, server.kubeconfig);
  await untilEstablished(server);
}

async function startOperator(namespace?: string): Promise<void> {
  said.length = 0;
  const say = (fields: object, message: string): void => {
    const { err } = fields as { err?: unknown };
    said.push(err instanceof Error ? `${message}: ${err.message}` : message);
  };
  const logger = { debug: say, info: say, warn: say, error: say };
  const config = new KubeConfig();
  config.loadFromFile(await server.kubeconfigOf("metamaster-system", "metamaster-operator"));
  const clusterWide = namespace === undefined;
  operator = new Operator({ image: "metamaster:test", namespace, clusterWide }, config, logger, () =>
    Promise.reject(new Error("no member answers here")),
  );
  await operator.start();
}

const get = async (...args: string[]): Promise<string> =>
  (await server.kubectl(["get", "-n", "meta", "--ignore-not-found", "-o", "name", ...args])).trim();

/** By the verb, the resource, and its name if it is about one. */
async function can(verb: string, resource: string, ...more: string[]): Promise<boolean> {
  const asked = server.kubectl(["auth", "can-i", verb, resource, "--as", ACCOUNT, ...more]);
  // It says no by its exit code.
  return asked.then(
    (answer) => answer.trim() === "yes",
    () => false,
  );
}

/** Its status is the last thing that it writes. */
async function reconciled(): Promise<void> {
  await until("the resource has a status", async () => {
    const path = "jsonpath={.status.observedGeneration}";
    return (await server.kubectl(["get", "mmc", "meta", "-n", "meta", "-o", path])) !== "";
  });
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let looks = 0; looks < LOOKS; looks++) {
    if (await holds()) return;
    await sleep(100);
  }
  throw new Error(`waited in vain until ${what}:\n${said.join("\n")}`);
}

async function lifeOfACluster(): Promise<void> {
  await server.kubectl(["apply", "-n", "meta", "-f", "-"], quickstart);
  await reconciled();
  for (const kind of ["statefulset", "configmap", "serviceaccount", "role", "rolebinding"]) {
    expect(await get(kind, "meta")).toMatch(/\/meta$/);
  }
  expect(await get("services")).toContain("service/meta-primary");
  expect(await get("poddisruptionbudget", "meta-primary")).not.toBe("");
  // Nothing failed on the way for want of a right, and was done at last by another way.
  expect(said.filter((line) => /forbidden|403/i.test(line))).toEqual([]);
}

describe("over all namespaces", () => {
  test("it makes everything of a cluster, binds the members to their look at nodes, and takes that away with the cluster", async () => {
    await install();
    await startOperator();
    await lifeOfACluster();
    expect(await get("clusterrolebinding", "metamaster:meta:meta")).not.toBe("");
    await server.kubectl(["delete", "mmc", "meta", "-n", "meta", "--wait=false"]);
    // No garbage is collected here: what an owner's deletion takes away stays.
    await until("the resource is gone", async () => (await get("mmc", "meta")) === "");
    expect(await get("clusterrolebinding", "metamaster:meta:meta")).toBe("");
    expect(said.filter((line) => /forbidden|403/i.test(line))).toEqual([]);
  });

  test("a cluster whose data goes with it: the Job is made and taken away, and everything that it needed", async () => {
    await startOperator();
    await lifeOfACluster();
    const policy = '{"spec":{"deletionPolicy":"Delete"}}';
    await server.kubectl(["patch", "mmc", "meta", "-n", "meta", "--type=merge", "-p", policy]);
    await server.kubectl(["delete", "mmc", "meta", "-n", "meta", "--wait=false"]);
    await until("the Job is there", async () => (await get("job", "meta-purge")) !== "");
    const status = JSON.stringify({ status: { startTime: "2026-01-01T00:00:00Z", succeeded: 1 } });
    const job = ["job", "meta-purge", "-n", "meta", "--subresource=status", "--type=merge"];
    await server.kubectl(["patch", ...job, "-p", status]);
    await until("the resource is gone", async () => (await get("mmc", "meta")) === "");
    for (const kind of ["serviceaccount", "configmap", "role", "rolebinding"]) expect(await get(kind, "meta")).toBe("");
    expect(await get("job", "meta-purge")).toBe("");
    expect(said.filter((line) => /forbidden|403/i.test(line))).toEqual([]);
  });

  test("it deletes and changes pods and claims, and writes events and its own lease", async () => {
    for (const [verb, resource] of [
      ["delete", "pods"],
      ["patch", "pods"],
      ["patch", "persistentvolumeclaims"],
      ["delete", "persistentvolumeclaims"],
      ["create", "jobs"],
      ["delete", "jobs"],
      ["create", "events"],
      ["list", "events"],
      ["delete", "leases.coordination.k8s.io"],
      ["list", "nodes"],
    ] as const)
      expect([verb, resource, await can(verb, resource, "-n", "meta")]).toEqual([verb, resource, true]);
    const lease = ["leases.coordination.k8s.io/metamaster-operator", "-n", "metamaster-system"] as const;
    expect(await can("update", ...lease)).toBe(true);
  });

  test("it reads no secret, changes no node, runs nothing in a pod, and can't give itself more", async () => {
    for (const [verb, resource] of [
      ["get", "secrets"],
      ["list", "secrets"],
      ["create", "secrets"],
      ["patch", "nodes"],
      ["create", "pods"],
      ["create", "pods/exec"],
      ["delete", "metamasterclusters.metamaster.io"],
      ["create", "clusterroles.rbac.authorization.k8s.io"],
      ["escalate", "roles.rbac.authorization.k8s.io"],
      ["bind", "clusterroles.rbac.authorization.k8s.io/cluster-admin"],
      ["impersonate", "users"],
    ] as const)
      expect([verb, resource, await can(verb, resource, "-n", "meta")]).toEqual([verb, resource, false]);
    const secrets = ["create", "role", "more", "-n", "meta", "--verb=get", "--resource=secrets", "--as", ACCOUNT];
    await expect(server.kubectl(secrets)).rejects.toThrow(/attempting to grant RBAC permissions not currently held/);
    const admin = ["create", "clusterrolebinding", "more", "--clusterrole=cluster-admin", `--user=${ACCOUNT}`];
    await expect(server.kubectl([...admin, "--as", ACCOUNT])).rejects.toThrow(/attempting to grant RBAC permissions/);
  });
});

describe("in one namespace", () => {
  test("it makes everything of a cluster there, and has no rights elsewhere", async () => {
    await install("--set", "watchNamespace=meta");
    await until("the rights are withdrawn", async () => !(await can("list", "nodes")));
    await startOperator("meta");
    await lifeOfACluster();
    expect(await get("clusterrolebinding", "metamaster:meta:meta")).toBe("");
    expect(await can("list", "pods", "-n", "meta")).toBe(true);
    expect(await can("list", "pods", "-n", "default")).toBe(false);
    expect(await can("create", "clusterrolebindings.rbac.authorization.k8s.io")).toBe(false);
  });
});
