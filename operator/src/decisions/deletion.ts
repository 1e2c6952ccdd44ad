/** What is left of a resource that is being deleted. */
export interface DeletionFacts {
  /** Of the bucket's prefix and the volumes. */
  readonly policy: "Retain" | "Delete";
  readonly set: "There" | "Going" | "Gone";
  /** Pods of members. */
  readonly members: number;
  /** The Job that empties the prefix. `Outdated`: made from another spec or by another operator. */
  readonly job: "None" | "Running" | "Succeeded" | "Failed" | "Outdated" | "Going";
  /** It is written down, on the resource, that prefix and volumes are gone: what is looked at is always a moment old, and a Job that was taken away must not be made again. */
  readonly purged: boolean;
  /** Its pods. */
  readonly jobPods: number;
  /** Volumes of the members that nobody has asked to go yet. */
  readonly claims: number;
  readonly claimsGoing: number;
}

export type DeletionStep =
  | { readonly do: "RemoveSet" | "MakeJob" | "RemoveJob" | "RemoveClaims" | "MarkPurged" | "Finish" }
  | { readonly do: "Wait"; readonly for: "members" | "purge" | "job" | "volumes" };

const wait = (what: Extract<DeletionStep, { do: "Wait" }>["for"]): DeletionStep => ({ do: "Wait", for: what });

/**
 * The one thing to do now. Members end first, in order, so that their tail is in the bucket whatever becomes of it; the prefix goes before the volumes, as what is on them may
 * be all that is left if it can't be emptied and the policy is changed to Retain.
 */
export function deletionStep(facts: DeletionFacts): DeletionStep {
  const { policy, set, members, job, purged, jobPods, claims, claimsGoing } = facts;
  if (set === "There") return { do: "RemoveSet" };
  if (set === "Going" || members > 0) return wait("members");
  if (policy === "Retain") {
    if (job !== "None" && job !== "Going") return { do: "RemoveJob" };
    return job === "Going" || jobPods > 0 ? wait("job") : { do: "Finish" };
  }
  if (purged) return { do: job === "None" || job === "Going" ? "Finish" : "RemoveJob" };
  switch (job) {
    case "None":
      // Of one that was taken away because it was outdated or had failed.
      return jobPods > 0 ? wait("job") : { do: "MakeJob" };
    case "Outdated":
    case "Failed":
      return { do: "RemoveJob" };
    case "Going":
      return wait("job");
    case "Running":
      return wait("purge");
    case "Succeeded":
      break;
  }
  if (claims > 0) return { do: "RemoveClaims" };
  return claimsGoing > 0 ? wait("volumes") : { do: "MarkPurged" };
}
