import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest, test } from "@jest/globals";
import { startApiServer, type ApiServer } from "../cluster/api-server.js";
import { keys, put } from "./key-value.js";
import { until, type MemberProcess } from "./member-process.js";
import { PodObjects } from "./pod-objects.js";

// Real members as users run them, elected through a Lease of a real API server with the rights of docs/reference/permissions.md and no others.
jest.setTimeout(180_000);

let server: ApiServer;
let pods: PodObjects;
let root: string;
let members: MemberProcess[];

const rules = [
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "update"], resourceNames: ["test"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["list"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["patch"], resourceNames: ["alpha", "beta"] },
];

beforeAll(async () => {
  server = await startApiServer();
  pods = await PodObjects.create(server, rules);
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
});

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-lease-"));
  members = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  await pods.clear();
  rmSync(root, { recursive: true, force: true });
});

async function make(name: string, lease = "4s"): Promise<MemberProcess> {
  const member = await pods.member(root, name, lease);
  members.push(member);
  return member;
}

async function holder(): Promise<string> {
  return await server.api.holder("test");
}

async function untilLabel(pod: string, label: string): Promise<void> {
  await until(`${pod} is labelled "${label}"`, async () => {
    const { metadata } = (await server.api.get("pod", pod)) as { metadata: { labels?: Record<string, string> } };
    return (metadata.labels?.["metamaster.io/role"] ?? "") === label ? true : undefined;
  });
}

async function serving(name: string, lease?: string): Promise<MemberProcess> {
  const member = await make(name, lease);
  member.startKeyValueMaster();
  await member.untilRole("Primary");
  return member;
}

test("a killed primary is followed, nothing acknowledged is lost, pods bear their roles; a stopped one hands over at once", async () => {
  const alpha = await serving("alpha");
  const beta = await make("beta");
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  expect(await holder()).toMatch(new RegExp(`^${await pods.uidOf("alpha")}_[0-9a-f]{32}$`));
  await untilLabel("alpha", "primary");
  await untilLabel("beta", "standby");
  await put(await alpha.masterUrl(), "first", "1");
  alpha.signal("SIGKILL");
  await beta.untilRole("Primary");
  await untilLabel("beta", "primary");
  expect(await holder()).toContain(await pods.uidOf("beta"));
  await put(await beta.masterUrl(), "second", "2");
  alpha.startKeyValueMaster();
  await alpha.untilRole("Standby");
  await untilLabel("alpha", "standby");
  expect(await beta.stop()).toEqual({ code: 0, signal: null });
  await alpha.untilRole("Primary");
  await untilLabel("beta", "");
  const url = await until("the second master listens", async () => await servingAgain(alpha));
  expect(await keys(url)).toEqual(["first", "second"]);
});

/** Of its latest master. */
async function servingAgain(member: MemberProcess): Promise<string | undefined> {
  const url = [...member.said.matchAll(/kv-master listens on (\S+),/g)].at(-1)?.[1];
  if (url === undefined) return undefined;
  return (await keys(url).catch(() => undefined)) === undefined ? undefined : url;
}

test("a sidecar that is restarted in place does not wait for its own lease", async () => {
  const alpha = await serving("alpha", "10m");
  const beta = await make("beta", "10m");
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  const before = await holder();
  alpha.signal("SIGKILL");
  await alpha.ended;
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  expect(await holder()).not.toBe(before);
  expect(await holder()).toContain(await pods.uidOf("alpha"));
});

test("the API server away for longer than the lease: the master is stopped, and serves again when it is back", async () => {
  const alpha = await serving("alpha");
  await put(await alpha.masterUrl(), "first", "1");
  await server.crash();
  await alpha.untilRole("Standby");
  expect((await alpha.cli("barrier")).code).not.toBe(0);
  await server.boot();
  await alpha.untilRole("Primary");
  const url = await until("its master serves again", async () => await servingAgain(alpha));
  expect(await keys(url)).toEqual(["first"]);
});

test("a purge after a kill: by the Lease it is known who wrote last; without it that may be another Kubernetes cluster's primary, and is refused", async () => {
  const alpha = await serving("alpha");
  await put(await alpha.masterUrl(), "first", "1");
  alpha.signal("SIGKILL");
  await alpha.ended;
  const kept = JSON.parse(await server.kubectl(["get", "lease", "test", "-o", "json"])) as { metadata: object };
  await server.kubectl(["delete", "lease", "test"]);
  const refused = await alpha.cli("purge", "--yes");
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("code: ClusterAlive")]);
  expect(refused.err).toMatch(/member alpha, who wrote last, .* and there is no Kubernetes Lease here/);
  const metadata = { ...kept.metadata, resourceVersion: undefined, uid: undefined };
  await server.kubectl(["create", "-f", "-"], JSON.stringify({ ...kept, metadata }));
  const purged = await alpha.cli("purge", "--yes");
  expect([purged.code, purged.err]).toEqual([0, expect.not.stringContaining("error")]);
  expect(purged.out).toContain("deleted the cluster");
});

test("what is missing is said: no pod, no UID, no right", async () => {
  const member = await make("alpha");
  const { environment } = member;
  member.environment = { ...environment, KUBERNETES_SERVICE_HOST: "" };
  member.startKeyValueMaster();
  expect((await member.ended)?.code).toBeGreaterThan(0);
  expect(member.said).toMatch(/This process is in no Kubernetes pod: the variable KUBERNETES_SERVICE_HOST is not set/);
  member.environment = { ...environment, METAMASTER_ELECTION_POD_UID: undefined };
  member.startKeyValueMaster();
  expect((await member.ended)?.code).toBeGreaterThan(0);
  expect(member.said).toMatch(/Set METAMASTER_ELECTION_POD_UID in the pod's template/);
  member.environment = { ...environment, METAMASTER_ELECTION_LEASE_NAME: "another" };
  member.startKeyValueMaster();
  await until(
    "the missing right is named",
    async () => ((await member.cli("status")).out.includes('resourceNames: ["another"]') ? true : undefined),
    () => member.said.slice(-2000),
  );
});
