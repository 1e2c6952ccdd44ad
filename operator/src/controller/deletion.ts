import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { deletionStep, type DeletionFacts, type DeletionStep } from "../decisions/deletion.js";
import type { PodOwner } from "../kube/events.js";
import { list, number, text, type LiveObject } from "../kube/objects.js";
import { Refused } from "../kube/refusal.js";
import type { Store } from "../kube/store.js";
import type { Writer } from "../kube/writer.js";
import { clusterRoleBindingName } from "../objects/access.js";
import { CLUSTER_LABEL, manifestOf, namespaceOf, selectorLabels, type KubeManifest } from "../objects/names.js";
import {
  PURGE_ANNOTATION,
  PURGE_LABEL,
  PURGED_ANNOTATION,
  purgeJob,
  purgeJobName,
  purgeNeeds,
} from "../objects/purge-job.js";
import { failureOf, lastError } from "./failure.js";
import { invalidPrefix } from "./invalid.js";
import type { MissingPods } from "./missing-pods.js";

export interface DeletionComponents {
  readonly store: Pick<Store, "get" | "of" | "all">;
  readonly writer: Pick<Writer, "apply" | "patch" | "remove" | "removeLabelled">;
  /** Of the Job, unless a resource names one. */
  readonly image: string;
  readonly missing: Pick<MissingPods, "look">;
}

export interface DeletionProgress {
  /** False: there is more to do. */
  readonly finished: boolean;
  /** What is being done or waited for. */
  readonly why: string;
  /** Why the bucket can't be emptied, and what to do. */
  readonly failure: string | undefined;
  /** Why it is not emptied, though that was asked for. */
  readonly kept: string | undefined;
  /** It was emptied. */
  readonly purged: boolean;
}

const FAILURE_HINT =
  "It is tried again, every five minutes at the latest. Mend it, or set spec.deletionPolicy to Retain: then the resource goes, and the bucket keeps what is left (metamaster purge empties it from anywhere). In a namespace that is being deleted itself no Job can run any more: there only Retain helps.";

const NOT_MADE_HINT =
  "If a quota or an admission policy of the namespace says no, make room or an exception for one more pod; what its container asks for is spec.sidecar.resources, and a ServiceAccount that is missing is made anew.";

/** Brings a resource that is being deleted a step nearer to its end; everything that has no owner goes here, the rest is deleted by Kubernetes. */
export async function deleteStep(
  cluster: MetaMasterCluster,
  components: DeletionComponents,
): Promise<DeletionProgress> {
  const found = factsOf(cluster, components);
  const step = deletionStep(found.facts);
  const refused = await take(step, found, cluster, components).catch((error: unknown) => {
    // For one in a namespace that is being deleted itself: nothing can be made there any more.
    if (error instanceof Refused) return error.message;
    throw error;
  });
  const podless = await components.missing.look(found.podless);
  const notMade = podless && `the pod of the Job ${purgeJobName(cluster)} can't be made: ${podless}. ${NOT_MADE_HINT}`;
  const failure = found.facts.policy === "Delete" ? (refused ?? found.failure ?? notMade) : undefined;
  const wanted = cluster.spec.deletionPolicy === "Delete";
  const shared = wanted && found.facts.policy === "Retain";
  return {
    finished: step.do === "Finish",
    purged: found.facts.policy === "Delete",
    kept: shared
      ? `${cluster.spec.bucket.url} is not emptied: another resource uses it, or spec.bootstrap.from lies in it.`
      : undefined,
    why: whyOf(step, cluster),
    failure:
      failure === undefined ? undefined : `${cluster.spec.bucket.url} can't be emptied: ${failure} ${FAILURE_HINT}`,
  };
}

async function take(
  step: DeletionStep,
  found: Found,
  cluster: MetaMasterCluster,
  components: DeletionComponents,
): Promise<undefined> {
  const { writer } = components;
  switch (step.do) {
    case "RemoveSet":
      if (found.set !== undefined) await writer.remove(manifestOf(found.set));
      break;
    case "MakeJob":
      await applyAll([...purgeNeeds(cluster), purgeJob(cluster, components.image)], components);
      break;
    case "RemoveJob":
      if (found.job !== undefined) await writer.remove(manifestOf(found.job), text(found.job, "metadata", "uid"));
      break;
    case "RemoveClaims":
      for (const claim of found.claims) await writer.remove(manifestOf(claim), text(claim, "metadata", "uid"));
      break;
    case "MarkPurged":
      await writer.patch(cluster, { metadata: { annotations: { [PURGED_ANNOTATION]: cluster.metadata.uid } } });
      break;
    case "Finish":
      await removeRest(cluster, components, found.facts.purged);
      break;
    case "Wait":
      // Somebody, or a deletion in the foreground, may have taken away what the Job's pod waits for.
      if (step.for === "purge") await applyAll(purgeNeeds(cluster), components);
      break;
  }
}

interface Found {
  readonly facts: DeletionFacts;
  readonly set: LiveObject | undefined;
  readonly job: LiveObject | undefined;
  readonly claims: readonly LiveObject[];
  readonly failure: string | undefined;
  /** A Job that should have a pod, and has none. */
  readonly podless: PodOwner | undefined;
}

function factsOf(cluster: MetaMasterCluster, { store, image }: DeletionComponents): Found {
  const { name } = cluster.metadata;
  const namespace = namespaceOf(cluster);
  const set = store.get("StatefulSet", name, namespace);
  const job = store.get("Job", purgeJobName(cluster), namespace);
  const pods = store.of("Pod", namespace, name);
  const ofJob = pods.filter((pod) => text(pod, "metadata", "labels", PURGE_LABEL) !== undefined);
  const jobPods = ofJob.filter(isLive);
  const claims = store.of("PersistentVolumeClaim", namespace, name).filter((claim) => isOfMember(cluster, claim));
  const going = claims.filter(isGoing);
  const facts: DeletionFacts = {
    policy: mayPurge(cluster, store) ? "Delete" : "Retain",
    set: set === undefined ? "Gone" : isGoing(set) ? "Going" : "There",
    members: pods.length - ofJob.length,
    job: stateOf(job, text(purgeJob(cluster, image), "metadata", "annotations", PURGE_ANNOTATION)),
    purged: isMarked(cluster),
    jobPods: jobPods.length,
    claims: claims.length - going.length,
    claimsGoing: going.length,
  };
  const failure = facts.job === "Running" ? failureIn(jobPods) : undefined;
  // One that ended well is enough: the Job's controller takes a moment to see it.
  const isPodless = facts.job === "Running" && ofJob.every((pod) => text(pod, "status", "phase") === "Failed");
  const podless = isPodless ? ({ kind: "Job", namespace, name: purgeJobName(cluster) } as const) : undefined;
  return { facts, set, job, claims: claims.filter((claim) => !isGoing(claim)), failure, podless };
}

/** Never what another resource, that was there first, uses. */
function mayPurge(cluster: MetaMasterCluster, store: DeletionComponents["store"]): boolean {
  return (
    cluster.spec.deletionPolicy === "Delete" && invalidPrefix(cluster, store.all("MetaMasterCluster")) === undefined
  );
}

/** By its uid: whoever makes a resource from another one's copy has purged nothing. */
function isMarked({ metadata }: MetaMasterCluster): boolean {
  return metadata.uid !== undefined && metadata.annotations?.[PURGED_ANNOTATION] === metadata.uid;
}

function stateOf(job: LiveObject | undefined, digest: string | undefined): DeletionFacts["job"] {
  if (job === undefined) return "None";
  if (isGoing(job)) return "Going";
  if ((number(job, "status", "succeeded") ?? 0) > 0) return "Succeeded";
  const failed = list(job, "status", "conditions").some(
    (each) => text(each, "type") === "Failed" && text(each, "status") === "True",
  );
  if (failed) return "Failed";
  return text(job, "metadata", "annotations", PURGE_ANNOTATION) === digest ? "Running" : "Outdated";
}

/** One that ended does nothing any more; the Job's deletion takes it along. */
function isLive(pod: LiveObject): boolean {
  const phase = text(pod, "status", "phase");
  return phase !== "Succeeded" && phase !== "Failed";
}

function isGoing(object: LiveObject): boolean {
  return text(object, "metadata", "deletionTimestamp") !== undefined;
}

/** By label and by name, as the StatefulSet made it: nothing that a person has put there. */
function isOfMember({ metadata }: MetaMasterCluster, claim: LiveObject): boolean {
  const name = text(claim, "metadata", "name") ?? "";
  const prefix = `data-${metadata.name}-`;
  const labelled = text(claim, "metadata", "labels", CLUSTER_LABEL) === metadata.name;
  return labelled && name.startsWith(prefix) && /^[0-9]{1,4}$/.test(name.slice(prefix.length));
}

function failureIn(pods: readonly LiveObject[]): string | undefined {
  for (const pod of pods) {
    const failure = lastError(pod) ?? failureOf(pod);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

async function applyAll(manifests: readonly KubeManifest[], { store, writer }: DeletionComponents): Promise<void> {
  for (const manifest of manifests) {
    const { kind, metadata } = manifest;
    await writer.apply(manifest, store.get(kind, metadata.name, metadata.namespace));
  }
}

/** What has no owner, and the finalizer's last deeds. */
async function removeRest(
  cluster: MetaMasterCluster,
  { store, writer }: DeletionComponents,
  purged: boolean,
): Promise<void> {
  for (const { kind, metadata } of purgeNeeds(cluster)) {
    const live = store.get(kind, metadata.name, metadata.namespace);
    // What has an owner goes with it; beside a Job that was quick an owner that is seen may be taken away already.
    const stays = !purged && list(live, "metadata", "ownerReferences").length > 0;
    if (live !== undefined && !stays) await writer.remove(manifestOf(live));
  }
  // The members made it, and can't tell which of them is the last.
  const { name } = cluster.metadata;
  await writer.removeLabelled({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name, namespace: namespaceOf(cluster), labels: selectorLabels(cluster) },
  });
  const binding = store.get("ClusterRoleBinding", clusterRoleBindingName(cluster));
  if (binding !== undefined) await writer.remove(manifestOf(binding));
}

function whyOf(step: DeletionStep, cluster: MetaMasterCluster): string {
  const texts: Readonly<Record<Extract<DeletionStep, { do: "Wait" }>["for"], string>> = {
    members: "The members end.",
    purge: `${cluster.spec.bucket.url} is being emptied by the Job ${purgeJobName(cluster)}.`,
    job: `The Job ${purgeJobName(cluster)} ends.`,
    volumes: "The members' volumes go.",
  };
  switch (step.do) {
    case "Wait":
      return texts[step.for];
    case "RemoveSet":
      return texts.members;
    case "MakeJob":
      return texts.purge;
    case "RemoveJob":
      return texts.job;
    case "RemoveClaims":
    case "MarkPurged":
    case "Finish":
      break;
  }
  return texts.volumes;
}
