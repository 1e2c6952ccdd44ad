import { expect, test } from "@jest/globals";
import { resource, type MetaMasterCluster } from "../../../crds/src/index.js";
import type { PodOwner } from "../kube/events.js";
import type { LiveObject } from "../kube/objects.js";
import { purgeJob, purgeNeeds } from "../objects/purge-job.js";
import { Refused } from "../kube/refusal.js";
import { deleteStep, type DeletionProgress } from "./deletion.js";

function cluster(name: string, createdAt: string, deletionPolicy = "Delete"): MetaMasterCluster {
  return resource.parse({
    apiVersion: "metamaster.io/v1alpha1",
    kind: "MetaMasterCluster",
    metadata: { name, namespace: "storage", uid: name, creationTimestamp: createdAt },
    spec: {
      bucket: { url: "s3://bucket/p" },
      template: { spec: { containers: [{ name: "master", image: "m" }] } },
      databases: [{ name: "meta", path: "meta" }],
      volumeClaimTemplate: { spec: { resources: { requests: { storage: "1Gi" } } } },
      deletionPolicy,
    },
  }) as MetaMasterCluster;
}

const old = cluster("meta", "2026-01-01T00:00:00Z");
const image = "metamaster:1";
const labels = { "metamaster.io/cluster": "meta" };

interface Done {
  readonly progress: DeletionProgress;
  readonly did: readonly string[];
}

/** One step among these objects. */
async function step(
  of: MetaMasterCluster,
  objects: readonly object[],
  refused?: Refused,
  notMade?: string,
): Promise<Done> {
  const all = objects as readonly LiveObject[];
  const did: string[] = [];
  const within = (kind: string): readonly LiveObject[] => all.filter((each) => each.kind === kind);
  const store = {
    get: (kind: string, name: string) => within(kind).find(({ metadata }) => metadata?.name === name),
    all: within,
    of: (kind: string, _namespace: string, name: string) =>
      within(kind).filter(({ metadata }) => metadata?.labels?.["metamaster.io/cluster"] === name),
  };
  const writer = {
    apply: async ({ kind, metadata }: { kind: string; metadata: { name: string } }) => {
      if (refused !== undefined) throw refused;
      did.push(`apply ${kind} ${metadata.name}`);
      return true;
    },
    patch: async ({ kind, metadata }: { kind: string; metadata: { name: string } }) => {
      did.push(`patch ${kind} ${metadata.name}`);
    },
    remove: async ({ kind, metadata }: { kind: string; metadata: { name: string } }) => {
      did.push(`remove ${kind} ${metadata.name}`);
    },
    removeLabelled: async ({ kind, metadata }: { kind: string; metadata: { name: string; labels?: object } }) => {
      did.push(`remove ${kind} ${metadata.name} with ${JSON.stringify(metadata.labels)}`);
    },
  };
  const missing = {
    look: async (owner: PodOwner | undefined) => (owner?.kind === "Job" ? notMade : undefined),
  };
  return { progress: await deleteStep(of, { store, writer, image, missing }), did };
}

const job = { ...purgeJob(old, image), status: { succeeded: 1 } };
const claim = (name: string, more: object = {}): object => ({
  kind: "PersistentVolumeClaim",
  metadata: { name, namespace: "storage", labels, ...more },
});
const owned = purgeNeeds(old).map((each) => ({
  ...each,
  metadata: { ...each.metadata, ownerReferences: [{ uid: "meta" }] },
}));

test("only the members' volumes go, by label and by name", async () => {
  const others = [
    claim("data-meta-backup"),
    claim("data-meta-x-0"),
    claim("extra-meta-0"),
    claim("data-meta-1", { labels: {} }),
  ];
  const { did } = await step(old, [job, claim("data-meta-0"), claim("data-meta-12"), ...others]);
  expect(did).toEqual(["remove PersistentVolumeClaim data-meta-0", "remove PersistentVolumeClaim data-meta-12"]);
});

test("at the end what the Job needed goes, though an owner is still seen; without a Job what has an owner goes with it", async () => {
  const names = ["ServiceAccount meta", "Role meta", "RoleBinding meta", "ConfigMap meta"].map(
    (each) => `remove ${each}`,
  );
  const lease = `remove Lease meta with ${JSON.stringify(labels)}`;
  expect((await step(old, [job, ...owned])).did).toEqual(["patch MetaMasterCluster meta"]);
  const markedBy = (uid: string): MetaMasterCluster => ({
    ...old,
    metadata: { ...old.metadata, annotations: { "metamaster.io/purged": uid } },
  });
  expect((await step(markedBy("another"), [job, ...owned])).did).toEqual(["patch MetaMasterCluster meta"]);
  const marked = markedBy("meta");
  expect((await step(marked, [job, ...owned])).did).toEqual(["remove Job meta-purge"]);
  const purged = await step(marked, owned);
  expect(purged.did).toEqual([...names, lease]);
  expect(purged.progress).toMatchObject({ finished: true, purged: true });
  const retained = cluster("meta", "2026-01-01T00:00:00Z", "Retain");
  const kept = await step(retained, owned);
  expect(kept.did).toEqual([lease]);
  expect(kept.progress).toMatchObject({ finished: true, purged: false, kept: undefined });
  expect((await step(retained, purgeNeeds(old))).did).toEqual([...names, lease]);
});

test("a prefix that another resource had first is never emptied", async () => {
  const young = cluster("other", "2026-02-01T00:00:00Z");
  const { progress, did } = await step(young, [old, young]);
  expect(did).toEqual([expect.stringContaining("remove Lease other")]);
  expect(progress).toMatchObject({ finished: true, purged: false, kept: expect.stringContaining("is not emptied") });
  // The other way round it is.
  expect((await step(old, [old, young])).did).toContain("apply Job meta-purge");
});

test("a Job of another operator, or one that has given up, is made anew", async () => {
  const failed = { ...job, status: { conditions: [{ type: "Failed", status: "True" }] } };
  for (const each of [{ ...purgeJob(old, "metamaster:0") }, failed]) {
    expect((await step(old, [each])).did).toEqual(["remove Job meta-purge"]);
  }
});

test("a Job that can't be made, as in a namespace that goes, is told with what to do", async () => {
  const refused = new Refused(job, "jobs.batch is forbidden: the namespace is being terminated");
  const { progress } = await step(old, [], refused);
  expect(progress).toMatchObject({ finished: false, failure: expect.stringContaining("is being terminated") });
  expect(progress.failure).toMatch(/can't be emptied: Job meta-purge: .*there only Retain helps/);
});

const ofJob = (phase: string): object => ({
  kind: "Pod",
  metadata: { name: "meta-purge-x", namespace: "storage", labels: { ...labels, "metamaster.io/purge": "true" } },
  status: { phase },
});

test.each<[string, readonly object[], boolean]>([
  ["none was made", [], true],
  ["the one that was made is lost, and there is no other", [ofJob("Failed")], true],
  ["there is one", [ofJob("Failed"), ofJob("Pending")], false],
  ["one has ended well", [ofJob("Succeeded")], false],
])("a Job whose pod is refused is told, with what to do: %s", async (_what, pods, isTold) => {
  const why = 'Error creating: pods "meta-purge-..." is forbidden: exceeded quota: q';
  const { progress, did } = await step(old, [purgeJob(old, image), ...pods], undefined, why);
  expect(did).toEqual(purgeNeeds(old).map(({ kind, metadata }) => `apply ${kind} ${metadata.name}`));
  if (isTold)
    expect(progress.failure).toMatch(
      /can't be emptied: the pod of the Job meta-purge can't be made: Error creating: .*quota: q\. If a quota .*It is tried/,
    );
  else expect(progress.failure).toBeUndefined();
});
