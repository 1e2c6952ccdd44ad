import { z } from "zod";
import { leaseMsMax } from "../../member/election/lease-times.js";
import { parseAddress, parseListenAddress, type Address } from "./address.js";
import {
  choice,
  duration,
  flag,
  integer,
  optionalDuration,
  optionalText,
  parsed,
  size,
  text,
} from "./settings-types.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

const isName = (value: string): boolean => /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(value);
const isDatabaseName = (value: string): boolean => /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/.test(value);
const isPath = (value: string): boolean => value.length > 0 && value.length <= 1024 && !value.includes("\0");
const isWebUrl = (value: string): boolean => URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
/** The rest (credentials, ports, names of buckets) is judged, and named, by the bucket itself. */
const isBucketUrl = (value: string): boolean => URL.canParse(value) && /^(s3|gs|file):$/.test(new URL(value).protocol);

/** A DNS subdomain, as Kubernetes names objects. */
export const isLeaseName = (value: string): boolean =>
  value.length <= 253 && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(value);
export const leaseNameText = "a name of a Kubernetes object: small letters, digits, '-' and '.'";

const path = "a path without NUL, up to 1024 characters";

const bucket = z
  .strictObject({
    url: text(
      {
        description: "Where the cluster's history is; one prefix for one cluster.",
        expected: "s3://bucket/prefix, gs://bucket/prefix or file:///absolute/folder",
      },
      isBucketUrl,
    ),
    region: optionalText(
      { description: "S3 region; default: what the SDK finds.", expected: "a region's name" },
      (value) => /^[a-z0-9-]{1,40}$/.test(value),
    ),
    endpoint: optionalText(
      {
        description: "Address of a store that is not the cloud's own (MinIO, Ceph ...).",
        expected: "http://host:port or https://host:port",
      },
      isWebUrl,
    ),
    forcePathStyle: z.boolean().optional().meta({
      description: "S3: `endpoint/bucket/key`. Default: true if there is an endpoint.",
      expected: "true or false",
    }),
    credentialsDirectory: optionalText(
      {
        description:
          "Folder with the credentials as files: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` (`AWS_SESSION_TOKEN`), or `credentials.json` for GCS; read anew when they change or are refused. Default: what the store's SDK finds.",
        expected: path,
      },
      isPath,
    ),
    caFile: optionalText(
      {
        description: "PEM file of the CA that signed the store's certificate; read anew when it changes.",
        expected: path,
      },
      isPath,
    ),
    checksums: choice("S3: whether the SDK adds checksums of its own; some stores refuse them.", "WhenRequired", [
      "WhenRequired",
      "WhenSupported",
    ]),
    authenticateCustomEndpoint: flag("GCS: send credentials to `endpoint` as well.", false),
    maxSockets: integer("Connections at a time.", 64, { min: 4, max: 1024 }),
    partSize: size("Larger objects are sent in parts of this size.", "8MiB", { min: 256 * 1024, max: GIB }),
    timeout: duration("For one small call.", "30s", { min: SECOND, max: 10 * MINUTE }),
    minRate: size("Slower bodies are given up, bytes a second.", "256KiB", { min: 1024, max: GIB }),
  })
  .meta({
    description:
      "The object store. Credentials are found by the store's own SDK (environment, profile, workload identity) or in files, never here.",
  });

const databases = z
  .array(
    z.strictObject({
      name: text(
        { description: "Its name in the bucket; never changes.", expected: "letters, digits, - and _, up to 63" },
        isDatabaseName,
      ),
      path: text({ description: "The RocksDB directory, below `dataDirectory` or absolute.", expected: path }, isPath),
      walPath: optionalText({ description: "Its `wal_dir`, if that is another directory.", expected: path }, isPath),
    }),
  )
  .min(1)
  .max(64)
  .meta({
    description: "The RocksDB directories of the master, in the order in which it writes them.",
    expected: "a list of 1 to 64 databases, each with `name` and `path`",
  });

const health = z
  .strictObject({
    exec: z.array(z.string().min(1)).min(1).optional().meta({
      description: "A command that ends with 0 if the master is well.",
      expected: 'a list: ["./check", "--fast"]',
    }),
    http: optionalText(
      { description: "A URL that answers 2xx if the master is well.", expected: "an http:// or https:// URL" },
      isWebUrl,
    ),
    tcp: parsed<Address>(
      { description: "An address that takes connections if the master is well.", expected: "host:port" },
      (value) => parseAddress(value, 1),
    ).optional(),
    interval: duration("Between checks.", "2s", { min: 100, max: 10 * MINUTE }),
    timeout: duration("For one check.", "2s", { min: 100, max: 10 * MINUTE }),
    failureThreshold: integer("Failures in a row that make it unhealthy.", 3, { min: 1, max: 100 }),
    startupTimeout: duration("From the master's start to its first good check.", "2m", { min: SECOND, max: DAY }),
  })
  .meta({ description: "How the master's health is checked; at most one of exec, http, tcp. None: alive is healthy." });

/** The one configuration: what a user writes in, what the product works with out. Durations become milliseconds, sizes bytes. */
export const configSchema = z.strictObject({
  cluster: text(
    {
      description: "Name of the cluster, for people and labels.",
      expected: "letters, digits, '.', '_', '-', up to 63",
    },
    isName,
  ),
  member: optionalText(
    {
      description: "Name of this member, unique in the cluster. Default: the host name.",
      expected: "letters, digits, '.', '_', '-', up to 63",
    },
    isName,
  ),
  dataDirectory: text(
    {
      description: "Directory of this member's data, relative to this file; `.metamaster/` lies in it.",
      expected: path,
    },
    isPath,
  ),
  bucket,
  databases,
  companions: z.array(z.string().min(1).max(1024)).max(256).prefault([]).meta({
    description: "Files the master keeps beside its databases: paths or globs relative to `dataDirectory`.",
    expected: "a list of paths or globs",
  }),
  durability: choice(
    "`Async`: the log follows by `wal.maxDelay`. A master that calls `POST /v1/barrier` before it acknowledges has RPO 0 in any case.",
    "Async",
    ["Async"],
  ),
  bootstrap: choice(
    "`Adopt`: databases that are here while the bucket has no history begin it; set it on every member, so that none without databases begins it.",
    "New",
    ["New", "Adopt"],
  ),
  bootstrapFrom: z
    .strictObject({
      url: text(
        {
          description: "Another cluster's prefix in the same store, with the same credentials; it is only read.",
          expected: "s3://bucket/prefix, gs://bucket/prefix or file:///absolute/folder",
        },
        isBucketUrl,
      ),
      member: text(
        {
          description: "The member that begins with it; the others follow that one.",
          expected: "letters, digits, '.', '_', '-', up to 63",
        },
        isName,
      ),
      slot: z
        .number()
        .int()
        .min(0)
        .optional()
        .meta({ description: "The state at that slot; default: the newest.", expected: "a whole number from 0 on" }),
    })
    .optional()
    .meta({
      description:
        "The history begins with a copy of another cluster's state; the same on every member. Of no effect once there is a history.",
    }),
  gate: choice(
    "`HoldStart`: the master runs only on the primary. `RoleAware`: it runs everywhere and watches `GET /v1/role`.",
    "HoldStart",
    ["HoldStart", "RoleAware"],
  ),
  watchdogSocket: optionalText(
    {
      description:
        "`metamaster sidecar`: where `metamaster watchdog` listens, in a container of its own. Default: the watchdog is a child of the sidecar, which may end with it.",
      expected: path,
    },
    isPath,
  ),
  wal: z
    .strictObject({
      maxDelay: duration("A WAL byte waits at most this long before it is sent.", "500ms", { min: 1, max: MINUTE }),
      maxSpool: size(
        "Files kept only for shipping; past it a checkpoint under way is begun anew, then WALs go and the next checkpoint heals.",
        "8GiB",
        {
          min: 16 * MIB,
        },
      ),
    })
    .prefault({})
    .meta({ description: "Shipping of the write-ahead log." }),
  checkpoint: z
    .strictObject({
      interval: duration("Between checkpoints.", "5m", { min: SECOND, max: DAY }),
      walBytes: size("A checkpoint is due once this much WAL was shipped.", "256MiB", { min: MIB }),
    })
    .prefault({})
    .meta({ description: "Checkpoints bound what a standby replays when it takes over." }),
  retention: z
    .strictObject({
      snapshots: integer("Newest snapshots that are kept.", 3, { min: 1, max: 1000 }),
      window: duration("History that stays restorable to any point.", "24h", { min: 0 }),
      gracePeriod: duration("Between naming what goes and deleting it.", "1h", { min: SECOND, max: 30 * DAY }),
    })
    .prefault({})
    .meta({ description: "What the bucket keeps." }),
  election: z
    .strictObject({
      type: choice(
        "`Log`: through the bucket, needs nothing else. `Lease`: through a Kubernetes Lease, in a pod. The same on all members.",
        "Log",
        ["Log", "Lease"],
      ),
      lease: duration(
        "A standby waits this long without a sign of life before it takes over. The same on all members; with `Lease` whole seconds.",
        "15s",
        {
          min: SECOND,
          max: leaseMsMax,
        },
      ),
      renewDeadline: optionalDuration(
        "`Lease`: without a renewal for so long the master is stopped; at most four fifths of `lease`. Default: two thirds of it.",
        { min: SECOND / 2, max: 8 * MINUTE },
      ),
      retryPeriod: optionalDuration(
        "`Lease`: between renewals, and between a standby's looks; at most a third of `renewDeadline`. Default: a fifth of it.",
        { min: 50, max: MINUTE },
      ),
      leaseName: optionalText(
        { description: "`Lease`: its name, in the pod's namespace. Default: `cluster`.", expected: leaseNameText },
        isLeaseName,
      ),
      podUid: optionalText(
        {
          description:
            "`Lease`: `metadata.uid` of this pod, from the downward API, most easily as METAMASTER_ELECTION_POD_UID.",
          expected: "a UID",
        },
        (value) => /^[A-Za-z0-9-]{1,64}$/.test(value),
      ),
      serviceAccount: text(
        { description: "`Lease`: folder with the pod's `token`, `ca.crt` and `namespace`.", expected: path },
        isPath,
      ).prefault("/var/run/secrets/kubernetes.io/serviceaccount"),
      onBucketLoss: choice(
        "`Log`: the bucket can't be written for two thirds of a lease. `Fence`: the master is stopped. `Hold`: it runs on, nothing is made durable.",
        "Fence",
        ["Fence", "Hold"],
      ),
    })
    .prefault({})
    .meta({ description: "Who becomes primary." }),
  failover: z
    .strictObject({
      restartGrace: duration(
        "A master that crashed is restarted in place for so long before another member takes over.",
        "30s",
        {
          min: 0,
          max: DAY,
        },
      ),
    })
    .prefault({})
    .meta({ description: "When the master fails." }),
  health: health.prefault({}),
  stop: z
    .strictObject({
      grace: duration("From SIGTERM to SIGKILL for the master.", "30s", { min: 0, max: DAY }),
      shipTimeout: duration("For shipping the tail after the master has ended.", "30s", { min: 0, max: DAY }),
    })
    .prefault({})
    .meta({ description: "A graceful stop." }),
  transfer: z
    .strictObject({
      parallel: integer("Tables moved at a time.", 4, { min: 1, max: 64 }),
    })
    .prefault({})
    .meta({ description: "Moving tables to and from the bucket." }),
  quarantine: z
    .strictObject({
      maxCount: integer("More than so many are said loudly.", 10, { min: 1, max: 10_000 }),
      maxBytes: size("More bytes than this are said loudly.", "10GiB", { min: MIB }),
      removeOldest: flag("Beyond that the oldest are removed, with a warning that says what they held.", false),
    })
    .prefault({})
    .meta({ description: "What a diverged member had beyond the log is put aside in `.metamaster/quarantine/`." }),
  http: z
    .strictObject({
      address: parsed<Address>(
        {
          description:
            "Where status, barrier and metrics are served; `*:port` is all addresses of both families, port 0 takes a free one.",
          expected: "host:port, e.g. 127.0.0.1:8401",
        },
        parseListenAddress,
      ).prefault("127.0.0.1:8401"),
    })
    .prefault({})
    .meta({ description: "The member's HTTP." }),
  log: z
    .strictObject({
      level: choice("What is logged.", "Info", ["Debug", "Info", "Warn", "Error"]),
      format: choice("`Auto`: readable on a terminal, JSON otherwise.", "Auto", ["Auto", "Json", "Pretty"]),
    })
    .prefault({})
    .meta({ description: "Logging, to standard error." }),
});

export type Config = z.output<typeof configSchema>;
