import { z } from "zod";
import { duration, label, opaque, quantity, relativePath, rules, section, size, strings } from "./values.js";

/** Of the container that the operator adds. */
export const SIDECAR_CONTAINER = "metamaster";
/** Ends the master when the sidecar can't: a container beside it, so that what kills one leaves the other. */
export const WATCHDOG_CONTAINER = "metamaster-watchdog";
/** Of each member. */
export const DATA_VOLUME = "data";
export const MEMBERS_MAX = 99;
/** Of the sidecar, on the pod's address: reads only. */
export const HTTP_PORT = 8400;

const secretRef = z
  .object({ name: label("Name of a Secret in the resource's namespace.", 253) })
  .meta({ description: "A Secret in the resource's namespace." });

const bucket = z
  .object({
    url: z
      .string()
      .max(512)
      .regex(/^(s3|gs):\/\/[a-z0-9][a-z0-9._-]{1,220}(\/[A-Za-z0-9._/-]*)?$/)
      .meta({
        description:
          "Where the cluster's history is: `s3://bucket/prefix` or `gs://bucket/prefix`. One prefix for one resource; it never changes.",
        ...rules({
          rule: "self == oldSelf",
          message: "bucket.url can't be changed: the history is there; make another resource with bootstrap.from",
        }),
      }),
    region: z.string().max(64).optional().meta({ description: "S3 region; default: what the SDK finds." }),
    endpoint: z
      .string()
      .max(512)
      .regex(/^https?:\/\/[^\s/@]+$/)
      .optional()
      .meta({
        description:
          "Address of a store that is not the cloud's own, `http://host:port` or `https://host:port`, without credentials.",
      }),
    forcePathStyle: z
      .boolean()
      .optional()
      .meta({ description: "S3: `endpoint/bucket/key`. Default: true if there is an endpoint." }),
    credentials: z.object({ secretRef }).optional().meta({
      description:
        "Keys of the Secret: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if there is one, `AWS_SESSION_TOKEN`; for GCS `credentials.json`. Left out: workload identity by `serviceAccount.annotations`.",
    }),
    ca: z
      .object({
        secretRef,
        key: z.string().min(1).max(253).default("ca.crt").meta({ description: "Key in the Secret." }),
      })
      .optional()
      .meta({ description: "PEM of the CA that signed the store's certificate." }),
  })
  .meta({ description: "The object store that holds the cluster's history." });

// Rules of what was taken before stand with the field itself: the API server lets a value that stays as it is pass there, but not below what it preserves without knowing it.
export const HOST_NETWORK_MESSAGE = `template.spec.hostNetwork: the sidecar's port ${HTTP_PORT}, and what only the pod's own containers may call there, would be the node's: leave it out; clients reach the master through its Service, or through a hostPort of its container`;
export const PORT_MESSAGE = `containerPort ${HTTP_PORT} is the sidecar's in this pod: give the container another port`;

const ports = z
  .array(
    z
      .looseObject({
        containerPort: z.int().optional().meta({ description: "Number of the port.", format: "int32" }),
        protocol: z.string().max(8).optional().meta({ description: "Default: TCP." }),
      })
      .meta({ description: "A port, as in a pod.", "x-kubernetes-preserve-unknown-fields": true }),
  )
  .max(512)
  .optional()
  .meta({
    description: "Those of the master's container are the Services'.",
    ...rules({
      rule: `!self.exists(p, has(p.containerPort) && p.containerPort == ${HTTP_PORT} && (!has(p.protocol) || p.protocol == 'TCP'))`,
      message: PORT_MESSAGE,
    }),
  });

const container = z
  .looseObject({ name: label("Name of the container."), ports })
  .meta({ description: "A container, as in a pod.", "x-kubernetes-preserve-unknown-fields": true });

const OURS = "metamaster.io/";
const noneOfOurs = (field: string) =>
  rules({
    rule: `self.all(key, !key.startsWith('${OURS}'))`,
    message: `template.metadata.${field}: what begins with ${OURS} is the operator's and the sidecar's own, leave it out`,
  });

const template = z
  .object({
    metadata: z
      .object({
        labels: strings("Labels of the pods.", noneOfOurs("labels")).optional(),
        annotations: strings("Annotations of the pods.", noneOfOurs("annotations")).optional(),
      })
      .optional()
      .meta({ description: "Labels and annotations of the pods." }),
    spec: z
      .looseObject({
        containers: z
          .array(container)
          .min(1)
          .max(32)
          .meta({
            description: "The master's container and its companions.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
          }),
        initContainers: z
          .array(container)
          .max(32)
          .optional()
          .meta({
            description: "Run after the sidecar has let the pod go on: with `gate: HoldStart` only on the primary.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
          }),
        volumes: z
          .array(
            z
              .looseObject({ name: label("Name of the volume.") })
              .meta({ description: "A volume, as in a pod.", "x-kubernetes-preserve-unknown-fields": true }),
          )
          .max(64)
          .optional()
          .meta({
            description: "Besides the members' own, `data`.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
          }),
        hostNetwork: z
          .boolean()
          .optional()
          .meta({ description: "Only false.", ...rules({ rule: "!self", message: HOST_NETWORK_MESSAGE }) }),
        hostPID: z.boolean().optional().meta({ description: "Only false: see `shareProcessNamespace`." }),
        shareProcessNamespace: z
          .boolean()
          .optional()
          .meta({ description: "Only true: the sidecar ends the master through it." }),
        restartPolicy: z.string().max(32).optional().meta({ description: "Only Always." }),
        serviceAccountName: z.string().max(253).optional().meta({ description: "Not to be set." }),
        terminationGracePeriodSeconds: z.int().optional().meta({ description: "Not to be set.", format: "int64" }),
      })
      .meta({
        description: "A PodSpec.",
        "x-kubernetes-preserve-unknown-fields": true,
        ...rules(
          {
            rule: `!has(self.initContainers) || !self.initContainers.exists(c, c.name in ['${SIDECAR_CONTAINER}', '${WATCHDOG_CONTAINER}'])`,
            message: `template.spec.initContainers: the names ${SIDECAR_CONTAINER} and ${WATCHDOG_CONTAINER} are the sidecar's and its watchdog's, which the operator adds: name yours otherwise`,
          },
          {
            rule: `!has(self.volumes) || !self.volumes.exists(v, v.name == '${DATA_VOLUME}' || v.name.startsWith('${SIDECAR_CONTAINER}-'))`,
            message: `template.spec.volumes: ${DATA_VOLUME} is the member's own volume, which may be mounted without being named here, and ${SIDECAR_CONTAINER}-... are the sidecar's: name yours otherwise`,
          },
          {
            rule: "(!has(self.hostPID) || !self.hostPID) && (!has(self.shareProcessNamespace) || self.shareProcessNamespace)",
            message:
              "template.spec: the sidecar ends the master through the pod's own shared process namespace: leave out hostPID and shareProcessNamespace",
          },
          {
            rule: "!has(self.restartPolicy) || self.restartPolicy == 'Always'",
            message: "template.spec.restartPolicy must be Always: leave it out",
          },
          {
            rule: "!has(self.serviceAccountName)",
            message:
              "template.spec.serviceAccountName: the members have an account of their own, with the rights they need: leave it out, and put annotations for workload identity into serviceAccount.annotations",
          },
          {
            rule: "!has(self.terminationGracePeriodSeconds)",
            message:
              "template.spec.terminationGracePeriodSeconds is made of stop.grace and stop.shipTimeout: leave it out, and set those",
          },
        ),
      }),
  })
  .meta({
    description: "The pods, with the master's container; the operator adds the sidecar, the volume and the gate.",
  });

const databases = z
  .array(
    z
      .object({
        name: label("Its name in the bucket; never changes."),
        path: relativePath("The RocksDB directory, below `dataDirectory`."),
        walPath: relativePath("Its `wal_dir`, if that is another directory.").optional(),
      })
      .meta({ description: "One RocksDB." }),
  )
  .min(1)
  .max(16)
  .meta({
    description: "The RocksDB directories of the master, in the order in which it writes them.",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    ...rules(
      {
        rule: "self.all(a, self.exists_one(b, b.path == a.path))",
        message: "two databases can't have one path: give each its own directory",
      },
      {
        rule: "oldSelf.all(before, self.exists(now, now.name == before.name))",
        message:
          "a database can't be left out or renamed: the history holds it, and members would refuse to go on without it; make another resource",
      },
    ),
  });

const volumeClaimTemplate = z
  .object({
    metadata: z
      .object({
        labels: strings("Labels of the claims.").optional(),
        annotations: strings("Annotations of the claims.").optional(),
      })
      .optional()
      .meta({ description: "Labels and annotations of the claims." }),
    spec: z
      .object({
        storageClassName: z.string().max(253).optional().meta({ description: "Default: the cluster's default class." }),
        accessModes: z
          .array(z.enum(["ReadWriteOnce", "ReadWriteOncePod"]))
          .min(1)
          .max(1)
          .default(["ReadWriteOnce"])
          .meta({ description: "One pod at a time." }),
        resources: z
          .object({
            requests: z
              .object({ storage: quantity("Size of each member's volume; it may only grow.") })
              .meta({ description: "What is asked for." }),
          })
          .meta({ description: "As in a PersistentVolumeClaim." }),
      })
      .meta({
        description: "A PersistentVolumeClaimSpec.",
        ...rules(
          {
            rule: "quantity(string(self.resources.requests.storage)).compareTo(quantity(string(oldSelf.resources.requests.storage))) >= 0",
            message: "a volume can't shrink: give the size it has, or more",
          },
          {
            rule: "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            message: "storageClassName can't be changed: make another resource, or replace member by member by hand",
          },
        ),
      }),
  })
  .meta({ description: "Each member's volume. What is on it can always be had from the bucket." });

const failover = section(
  "Who is primary, and when another member takes over.",
  {
    leaseDuration: duration(
      "A standby waits this long without a sign of life before it takes over.",
      "1s",
      "10m",
    ).default("15s"),
    renewDeadline: duration("A primary that could not renew for so long ends its master.", "500ms", "10m").default(
      "10s",
    ),
    retryPeriod: duration("Between two tries.", "100ms", "1m").default("2s"),
    restartGrace: duration(
      "A master that crashed is restarted in place for so long before another member takes over.",
      "0s",
      "24h",
    ).default("30s"),
  },
  rules(
    // As the sidecar's own configuration has it: there are no products of durations here, so they are added up.
    {
      rule: "self.leaseDuration.matches('^([0-9]+[smh]|[0-9]+000ms)$')",
      message: "leaseDuration must be whole seconds: a Lease knows no others",
    },
    {
      rule: "duration(self.renewDeadline) + duration(self.renewDeadline) + duration(self.renewDeadline) + duration(self.renewDeadline) + duration(self.renewDeadline) <= duration(self.leaseDuration) + duration(self.leaseDuration) + duration(self.leaseDuration) + duration(self.leaseDuration)",
      message:
        "renewDeadline must be at most four fifths of leaseDuration: the rest is for the old master to end (unset: 10s of 15s, so give both)",
    },
    {
      rule: "duration(self.retryPeriod) + duration(self.retryPeriod) + duration(self.retryPeriod) <= duration(self.renewDeadline)",
      message:
        "retryPeriod must be at most a third of renewDeadline: one lost renewal must not end leadership (unset: 2s of 10s, so give both)",
    },
  ),
);

const health = z
  .object({
    exec: z
      .array(z.string().max(1024))
      .min(1)
      .max(32)
      .optional()
      .meta({ description: "A command in the sidecar that ends with 0 if the master is well." }),
    http: z
      .string()
      .max(512)
      .regex(/^https?:\/\/\S+$/)
      .optional()
      .meta({ description: "A URL that answers 2xx if the master is well." }),
    tcp: z
      .string()
      .max(253)
      .regex(/^\S+:[0-9]{1,5}$/)
      .optional()
      .meta({ description: "host:port that takes connections if the master is well." }),
    interval: duration("Between checks.", "100ms", "10m").default("2s"),
    timeout: duration("For one check.", "100ms", "10m").default("2s"),
    failureThreshold: z
      .int()
      .min(1)
      .max(100)
      .default(3)
      .meta({ description: "Failures in a row that make it unhealthy." }),
    startupTimeout: duration("From the master's start to its first good check.", "1s", "24h").default("2m"),
  })
  .optional()
  .meta({
    description: "How the master's health is checked. None: alive is healthy.",
    ...rules({
      rule: "(has(self.exec) ? 1 : 0) + (has(self.http) ? 1 : 0) + (has(self.tcp) ? 1 : 0) == 1",
      message: "give exactly one of exec, http and tcp",
    }),
  });

const bootstrap = section(
  "How the history begins.",
  {
    type: z.enum(["New", "Adopt"]).default("New").meta({
      description:
        "`New`: empty databases, or those of `from`. `Adopt`: databases that are on the first member's volume begin the history.",
    }),
    from: z
      .object({
        url: z
          .string()
          .max(512)
          .regex(/^(s3|gs):\/\/\S+$/)
          .meta({
            description: "Prefix of another cluster in the same store; it is only read, with the same credentials.",
          }),
        slot: z.int().min(0).optional().meta({ description: "The state at that slot; default: the newest." }),
      })
      .optional()
      .meta({
        description:
          "Begin with a copy of another cluster's state: the first pod restores it, the others follow that one.",
      }),
  },
  rules(
    {
      rule: "!has(self.from) || self.type == 'New'",
      message: "bootstrap.from needs type: New; Adopt takes what is on the volume",
    },
    { rule: "self == oldSelf", message: "bootstrap can't be changed: the history has begun; make another resource" },
  ),
);

const sidecar = section("The container that replicates.", {
  image: z.string().min(1).max(512).optional().meta({ description: "Default: the operator's own image." }),
  imagePullPolicy: z.enum(["Always", "IfNotPresent", "Never"]).optional().meta({ description: "As in a container." }),
  resources: opaque("As in a container.").optional(),
  watchdogResources: opaque(
    "Of the watchdog's container, as in a container: some 55 MB are in use, most of it the program's file. Default: small requests, no limits.",
  ).optional(),
  logLevel: z.enum(["Debug", "Info", "Warn", "Error"]).default("Info").meta({ description: "What is logged." }),
});

export const spec = z
  .object({
    replicas: z.int().min(0).max(MEMBERS_MAX).default(3).meta({
      description: "Members: one primary, the others standbys. Any number; 0 keeps only the bucket.",
      format: "int32",
    }),
    bucket,
    template,
    masterContainer: label("The container of `template` that is the master.").default("master"),
    dataDirectory: z
      .string()
      .max(512)
      .regex(/^\/[^\0]*[^/\0]$/)
      .default("/data")
      .meta({ description: "Where the member's volume is mounted in the master and the sidecar." }),
    databases,
    companions: z.array(z.string().min(1).max(512)).max(64).default([]).meta({
      description: "Files the master keeps beside its databases: paths or globs relative to `dataDirectory`.",
      "x-kubernetes-list-type": "set",
    }),
    volumeClaimTemplate,
    durability: z.enum(["Async"]).default("Async").meta({
      description:
        "The log follows by `wal.maxDelay`. A master that calls the barrier before it acknowledges has RPO 0 in any case.",
    }),
    wal: section("Shipping of the write-ahead log.", {
      maxDelay: duration("A WAL byte waits at most this long before it is sent.", "1ms", "1m").default("500ms"),
      maxSpool: size("Files kept only for shipping.").default("8GiB"),
    }),
    checkpoint: section("Checkpoints bound what a standby replays when it takes over.", {
      interval: duration("Between checkpoints.", "1s", "24h").default("5m"),
      walBytes: size("A checkpoint is due once this much WAL was shipped.").default("256MiB"),
    }),
    retention: section("What the bucket keeps.", {
      snapshots: z.int().min(1).max(1000).default(3).meta({ description: "Newest snapshots that are kept." }),
      window: duration("History that stays restorable to any point.", "0s", "8760h").default("24h"),
      gracePeriod: duration("Between naming what goes and deleting it.", "1s", "720h").default("1h"),
    }),
    failover,
    health,
    stop: section("A graceful stop.", {
      grace: duration("From SIGTERM to SIGKILL for the master.", "0s", "24h").default("30s"),
      shipTimeout: duration("For shipping the tail after the master has ended.", "0s", "24h").default("30s"),
    }),
    switchover: z
      .object({
        target: label("Name of the pod that is to be primary."),
        maxLag: duration("It waits until the target is no further behind than this.", "0s", "24h").default("10s"),
        requestedAt: z
          .string()
          .max(64)
          .optional()
          .meta({ description: "Anything, such as a time: another value asks for the same target again." }),
      })
      .optional()
      .meta({
        description:
          "A planned change of the primary: made once, and not again after a later failover. It is done when `status.switchover` shows it.",
      }),
    update: section("How a change of the template reaches the pods.", {
      policy: z.enum(["StandbysFirst", "OnDelete"]).default("StandbysFirst").meta({
        description:
          "`StandbysFirst`: one standby after the other, then a switchover, then the old primary. `OnDelete`: whoever deletes a pod.",
      }),
    }),
    bootstrap,
    deletionPolicy: z.enum(["Retain", "Delete"]).default("Retain").meta({
      description:
        "What becomes of the bucket's prefix and the members' volumes when the resource is deleted. `Delete`: once all members have ended, a Job empties the prefix (`metamaster purge`), then the volumes go; there is no way back but the bucket's own versions.",
    }),
    gate: z.enum(["HoldStart", "RoleAware"]).default("HoldStart").meta({
      description:
        "`HoldStart`: the master runs only on the primary. `RoleAware`: it runs everywhere and watches its role.",
    }),
    sidecar,
    serviceAccount: section("Identity of the pods.", {
      annotations: strings("Of the ServiceAccount: workload identity for the bucket.").default({}),
    }),
  })
  .meta({
    description: "What is wanted.",
    ...rules(
      {
        rule: "self.template.spec.containers.exists(c, c.name == self.masterContainer)",
        message:
          "template.spec.containers has no container with the name of masterContainer: name the master's container so, or set masterContainer",
      },
      {
        rule: `!self.template.spec.containers.exists(c, c.name in ['${SIDECAR_CONTAINER}', '${WATCHDOG_CONTAINER}'])`,
        message: `the container names ${SIDECAR_CONTAINER} and ${WATCHDOG_CONTAINER} are the sidecar's and its watchdog's, which the operator adds: name yours otherwise`,
      },
    ),
  });

export type Spec = z.output<typeof spec>;
