import { z } from "zod";

export const conditionTypes = [
  "Ready",
  "PrimaryElected",
  "Replicating",
  "BucketReachable",
  "Progressing",
  "Degraded",
] as const;
export type ConditionType = (typeof conditionTypes)[number];

/** Stable: alerts and scripts may depend on them. */
export const conditionReasons = {
  Ready: {
    AllMembersReady:
      "A primary serves, and every wanted member follows it: wanted by the spec before, while `Degraded` says `SpecInvalid` or `ApplyRefused`.",
    NoPrimary: "Nobody is primary.",
    MembersMissing: "A primary serves; fewer members follow than are wanted.",
    ScaledToZero: "No member is wanted, and none is there; the history is in the bucket.",
    ScalingToZero: "No member is wanted, and some have not ended yet.",
    SpecInvalid: "The spec can't be carried out, and no member is there; the message names the field.",
  },
  PrimaryElected: {
    Elected: "One member is primary.",
    Electing: "A member is about to take over.",
    NoCandidate: "No member can become primary.",
    ScaledToZero: "No member is wanted.",
  },
  Replicating: {
    Following: "Every standby follows the log, or none is wanted.",
    NoStandby: "A primary serves, and nobody follows it, though standbys are wanted.",
    Lagging: "A standby is further behind than a checkpoint's interval.",
    NotShipping: "The primary's writes do not become durable.",
    NoPrimary: "Nobody is primary.",
  },
  BucketReachable: {
    Reachable: "The primary's calls to it succeed, or a standby's while nobody is primary.",
    PrimaryCutOff: "The primary can't reach it, and others can; the message says who, and what to do.",
    Unreachable: "The bucket can't be reached; the master runs on, nothing is acknowledged.",
    Denied: "The bucket refuses the credentials.",
    Unknown: "No member says how the bucket is.",
  },
  Progressing: {
    Stable: "Nothing is being changed.",
    Scaling: "Members are being added or taken away.",
    Updating: "Pods are being replaced by the template's new version.",
    Resizing: "Members' volumes are growing; the message says what they wait for.",
    SwitchingOver: "The primary is being changed as asked.",
    Deleting: "The resource is being deleted.",
  },
  Degraded: {
    AsExpected: "Nothing is wrong.",
    SpecInvalid:
      "The spec can't be carried out; the message names the field. Members that run go on: status, drains and the replacement of dead pods need nothing of it.",
    MemberHalted: "A member has halted and waits for a decision.",
    MemberFailing:
      "A member's pod can't be made, its containers don't start or end again and again, or it tells of trouble, such as a bucket that is out of reach.",
    ApplyRefused:
      "An object that the spec asks for can't be made or changed: the API server refuses it, or one of that name belongs to somebody else. The message says which and why. Members that run go on.",
    VolumeCantGrow:
      "Members' volumes are smaller than is wanted, and Kubernetes does not let them grow (most often the storage class lacks `allowVolumeExpansion`), or the storage itself does not; the message says why.",
    PurgeFailed:
      "The resource is being deleted with `deletionPolicy: Delete`, and the bucket's prefix can't be emptied; the message says why and what to do.",
    FailoverRecent: "The primary was lost within the last minutes.",
  },
} as const satisfies Readonly<Record<ConditionType, Readonly<Record<string, string>>>>;

const time = (description: string) => z.string().max(64).meta({ description, format: "date-time" });

const condition = z
  .object({
    type: z
      .string()
      .max(316)
      .meta({ description: conditionTypes.join(", ") }),
    status: z.enum(["True", "False", "Unknown"]).meta({ description: "As in Kubernetes' own conditions." }),
    reason: z.string().min(1).max(1024).meta({ description: "One word for programs." }),
    message: z.string().max(32_768).meta({ description: "For people: what is wrong and what to do." }),
    lastTransitionTime: time("Of the status."),
    observedGeneration: z.int().min(0).optional().meta({ description: "The spec that it is about.", format: "int64" }),
  })
  .meta({ description: "One of the resource's conditions." });

const position = {
  slot: z.int().min(-1).meta({ description: "Slot of the log; -1: none.", format: "int64" }),
};

const member = z
  .object({
    name: z.string().max(63).meta({ description: "Name of the pod." }),
    role: z
      .enum(["Unknown", "Syncing", "Standby", "Promoting", "Primary", "Fencing", "Halted"])
      .meta({ description: "What it says it is." }),
    ...position,
    lagSeconds: z.number().min(0).optional().meta({ description: "Behind the primary." }),
    since: time("It has had this role since.").optional(),
    message: z.string().max(1024).optional().meta({ description: "What troubles it, and what to do." }),
  })
  .meta({ description: "One member." });

const lastFailover = z
  .object({
    from: z.string().max(63).optional().meta({ description: "The primary before." }),
    to: z.string().max(63).meta({ description: "The primary after." }),
    cause: z.string().max(256).meta({ description: "Why." }),
    epoch: z.int().min(1).meta({ description: "The epoch that began.", format: "int64" }),
    time: time("When it was over."),
    milliseconds: z
      .record(z.string(), z.number())
      .meta({ description: "Its time, split: detect, lease, drain, claim, open, firstWrite.", maxProperties: 16 }),
  })
  .meta({ description: "The last change of the primary." });

export const status = z
  .object({
    conditions: z
      .array(condition)
      .max(16)
      .optional()
      .meta({
        description: "See below for types and reasons.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
      }),
    observedGeneration: z
      .int()
      .min(0)
      .optional()
      .meta({ description: "The spec that was acted upon.", format: "int64" }),
    replicas: z.int().min(0).optional().meta({ description: "Pods there are.", format: "int32" }),
    readyReplicas: z
      .int()
      .min(0)
      .optional()
      .meta({ description: "Members that are primary or follow it.", format: "int32" }),
    selector: z.string().max(1024).optional().meta({ description: "Of the pods; for the scale sub-resource." }),
    primary: z.string().max(63).optional().meta({ description: "Name of the primary's pod." }),
    epoch: z.int().min(0).optional().meta({ description: "Of the primary.", format: "int64" }),
    durable: z.object(position).optional().meta({ description: "What is in the bucket." }),
    lag: z
      .string()
      .max(32)
      .optional()
      .meta({ description: "How far durability is behind the primary's disk, as text." }),
    members: z
      .array(member)
      .max(128)
      .optional()
      .meta({ description: "Each member.", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
    lastSnapshot: z
      .object({ ...position, time: time("When it was made.").optional() })
      .optional()
      .meta({ description: "The newest snapshot." }),
    lastFailover: lastFailover.optional(),
    switchover: z
      .object({
        target: z.string().max(63).meta({ description: "As asked for." }),
        requestedAt: z.string().max(64).optional().meta({ description: "As asked for." }),
        time: time("When the target was seen to be primary."),
      })
      .optional()
      .meta({ description: "The switchover of the spec, once it was made." }),
  })
  .meta({ description: "What is." });

export type Status = z.output<typeof status>;
export type Condition = z.output<typeof condition>;
export type MemberStatus = z.output<typeof member>;
