import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest, test } from "@jest/globals";
import { startApiServer, type ApiServer } from "../cluster/api-server.js";
import { keys, put } from "./key-value.js";
import { gone, MasterContainer } from "./master-container.js";
import { until, type MemberProcess } from "./member-process.js";
import { PodObjects, type Rule } from "./pod-objects.js";

// What `metamaster sidecar` does with its own pod, at a real API server with the rights of docs/reference/permissions.md and no others. The pods are objects only.
jest.setTimeout(180_000);

const SWITCHOVER_TO = "metamaster.io/switchover-to";
const SWITCHOVER_REFUSED = "metamaster.io/switchover-refused";

let server: ApiServer;
let pods: PodObjects;
let root: string;
let members: MemberProcess[];
let containers: MasterContainer[];

const names = ["alpha", "beta"];
const withoutDelete: readonly Rule[] = [
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "update"], resourceNames: ["test"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["list"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["get", "watch", "patch"], resourceNames: names },
];
const rules: readonly Rule[] = [
  ...withoutDelete,
  { apiGroups: [""], resources: ["pods"], verbs: ["delete"], resourceNames: names },
];

beforeAll(async () => {
  server = await startApiServer();
  pods = await PodObjects.create(server, rules);
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
});

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-sidecar-kube-"));
  members = [];
  containers = [];
});

afterEach(async () => {
  for (const container of containers) await container.end();
  for (const member of members) await member.end();
  await pods.allow(rules);
  await pods.clear();
  rmSync(root, { recursive: true, force: true });
});

interface Pod {
  readonly member: MemberProcess;
  readonly master: MasterContainer;
  readonly uid: string;
}

async function run(name: string, role: string, lease = "4s"): Promise<Pod> {
  const member = await pods.member(root, name, lease);
  members.push(member);
  member.startSidecar();
  const master = new MasterContainer(member);
  containers.push(master);
  await member.untilRole(role);
  return { member, master, uid: await pods.uidOf(name) };
}

function annotate(pod: string, value: string): Promise<string> {
  return server.kubectl(["annotate", "--overwrite", "pod", pod, `${SWITCHOVER_TO}=${value}`]);
}

test("a switchover by the annotation: the other one leads with every row, and the old primary's pod is replaced", async () => {
  const alpha = await run("alpha", "Primary", "60s");
  await put(await alpha.member.masterUrl(), "a", "1");
  const beta = await run("beta", "Standby", "60s");
  await annotate("alpha", "beta");
  await beta.member.untilRole("Primary");
  await pods.untilGone("alpha", alpha.uid, () => alpha.member.said);
  expect(await keys(await beta.member.masterUrl())).toEqual(["a"]);
  expect(await pods.uidOf("beta")).toBe(beta.uid);
});

test("a switchover that can't be done is answered on the pod, and changes nothing", async () => {
  const alpha = await run("alpha", "Primary");
  const { pid } = alpha.master;
  const refusal = async (text: string): Promise<true | undefined> => {
    const annotations = await pods.annotations("alpha");
    const isRefused =
      annotations[SWITCHOVER_REFUSED]?.includes(text) === true && annotations[SWITCHOVER_TO] === undefined;
    return isRefused ? true : undefined;
  };
  await annotate("alpha", "nobody");
  await until(
    "it is refused",
    () => refusal("There is no pod nobody in this cluster. Nobody is a standby now."),
    () => alpha.member.said,
  );
  // A pod without a member.
  await pods.make("beta");
  await annotate("alpha", "beta");
  await until(
    "it is refused again",
    () => refusal("The pod beta is no standby"),
    () => alpha.member.said,
  );
  expect((await alpha.member.status())?.["role"]).toBe("Primary");
  expect(alpha.master.pid).toBe(pid);
  expect(await pods.uidOf("alpha")).toBe(alpha.uid);
  await put(await alpha.member.masterUrl(), "a", "1");
});

test("fenced, it replaces its pod as soon as it may: the missing right is named, and tried again", async () => {
  await pods.allow(withoutDelete);
  const alpha = await run("alpha", "Primary");
  await put(await alpha.member.masterUrl(), "a", "1");
  const beta = await run("beta", "Standby");
  const { pid } = alpha.master;
  if (pid === undefined) throw new Error("no master");
  alpha.member.signal("SIGSTOP");
  await gone(pid);
  await beta.member.untilRole("Primary");
  alpha.member.signal("SIGCONT");
  await until(
    "it says which right it needs",
    async () => (/KubeAccessDenied.*delete|delete.*KubeAccessDenied/s.test(alpha.member.said) ? true : undefined),
    () => alpha.member.said.slice(-3000),
  );
  expect(await pods.uidOf("alpha")).toBe(alpha.uid);
  await pods.allow(rules);
  await pods.untilGone("alpha", alpha.uid, () => alpha.member.said);
  expect(await keys(await beta.member.masterUrl())).toEqual(["a"]);
});

test("a pod that was replaced already, under the same name, is left alone", async () => {
  const alpha = await run("alpha", "Primary", "60s");
  const beta = await run("beta", "Standby", "60s");
  await server.kubectl(["delete", "pod", "alpha", "--force", "--grace-period=0"]);
  const successor = await pods.make("alpha");
  expect(successor).not.toBe(alpha.uid);
  expect(await alpha.member.cli("switchover", "--to", "beta")).toMatchObject({ code: 0 });
  await beta.member.untilRole("Primary");
  await until(
    "it had a try",
    async () => (alpha.member.said.includes("its pod is replaced, so that its master waits again") ? true : undefined),
    () => alpha.member.said.slice(-3000),
  );
  await put(await beta.member.masterUrl(), "a", "1");
  expect(await pods.uidOf("alpha")).toBe(successor);
});

/** As a kubelet reports it. */
function report(pod: string, status: object): Promise<string> {
  const containerStatuses = [{ name: "master", image: "x", imageID: "", ready: false, ...status }];
  const patch = JSON.stringify({ status: { containerStatuses } });
  return server.kubectl(["patch", "pod", pod, "--subresource=status", "--type=merge", "-p", patch]);
}

test("a sidecar that comes back beside its master leads again, ships the rest, and has its pod replaced", async () => {
  const alpha = await run("alpha", "Primary", "60s");
  await put(await alpha.member.masterUrl(), "a", "1");
  await report("alpha", { restartCount: 0, state: { running: { startedAt: "2026-01-01T00:00:00Z" } } });
  alpha.member.signal("SIGKILL");
  await alpha.member.ended;
  alpha.member.startSidecar();
  await pods.untilGone("alpha", alpha.uid, () => alpha.member.said);
  expect(alpha.member.said).toContain("was started in an earlier run of this sidecar: its pod is replaced");
  // Before: what its master had written is in the log.
  expect(alpha.member.said).toContain("won epoch 2");
});

test("a sidecar that comes back after its master had ended, too, and whom another one follows, has its pod replaced; a new one has not", async () => {
  const alpha = await run("alpha", "Primary");
  const beta = await run("beta", "Standby");
  alpha.member.signal("SIGKILL");
  await alpha.member.ended;
  await alpha.master.end();
  await beta.member.untilRole("Primary");
  await report("alpha", { restartCount: 1, state: { waiting: { reason: "CrashLoopBackOff" } } });
  await report("beta", { restartCount: 0, state: { running: { startedAt: "2026-01-01T00:00:00Z" } } });
  alpha.member.startSidecar();
  await pods.untilGone("alpha", alpha.uid, () => alpha.member.said);
  expect(await pods.uidOf("beta")).toBe(beta.uid);
});

test("a master that the kubelet lets wait: another member leads instead, unless the container that waits is another one", async () => {
  const alpha = await run("alpha", "Primary", "60s");
  await put(await alpha.member.masterUrl(), "a", "1");
  const waiting = { restartCount: 2, state: { waiting: { reason: "CrashLoopBackOff" } } };
  await report("alpha", waiting);
  await put(await alpha.member.masterUrl(), "b", "1");
  expect(await pods.uidOf("alpha")).toBe(alpha.uid);
  await report("alpha", { restartCount: 2, state: { running: { startedAt: "2026-01-01T00:00:00Z" } } });
  await alpha.master.end();
  await report("alpha", waiting);
  await pods.untilGone("alpha", alpha.uid, () => alpha.member.said);
});

/** How often the kubelet started them again, as it reports it. */
function again(pod: string, restarts: Readonly<Record<string, number>>): Promise<string> {
  const initContainerStatuses = Object.entries(restarts).map(([name, restartCount]) => {
    const state = { running: { startedAt: "2026-01-01T00:00:00Z" } };
    return { name, image: "x", imageID: "", ready: true, restartCount, state };
  });
  const patch = JSON.stringify({ status: { initContainerStatuses } });
  return server.kubectl(["patch", "pod", pod, "--subresource=status", "--type=merge", "-p", patch]);
}

test("a pod whose sidecar and watchdog were both started again is replaced before it leads: not one that leads, nor where only one of the two was", async () => {
  const alpha = await run("alpha", "Primary", "60s");
  const beta = await run("beta", "Standby", "60s");
  await again("alpha", { "metamaster-watchdog": 1, metamaster: 1 });
  await again("beta", { "metamaster-watchdog": 0, metamaster: 3 });
  await put(await alpha.member.masterUrl(), "a", "1");
  await again("beta", { "metamaster-watchdog": 1, metamaster: 3 });
  await pods.untilGone("beta", beta.uid, () => beta.member.said);
  expect(beta.member.said).toContain("were both started again: it is replaced before it leads");
  expect(await pods.uidOf("alpha")).toBe(alpha.uid);
});
