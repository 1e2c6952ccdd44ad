import type { Json } from "../cluster/api-reader.js";
import type { Cluster } from "../cluster/cluster.js";
import { waitFor } from "../cluster/wait.js";
import { accessKey, secretKey, type StoreServer } from "../servers/server.js";
import { newBucket } from "../servers/stores.js";
import { IMAGE, MASTER_IMAGE } from "./images.js";

const SYSTEM = "metamaster-system";
const SECRET = "meta-bucket";
const WAIT_MS_MAX = 240_000;
const STEADY_MS = 4000;
const CALL_MS = 5000;
/** Of the sidecar. */
const HTTP_PORT = 8400;
/** Of the example master. */
export const PORT = 8080;

/** The operator, as a user installs or upgrades it. */
export async function installOperator(cluster: Cluster, image = IMAGE): Promise<void> {
  const [repository = "", tag = ""] = image.split(/:(?=[^:]+$)/);
  const all = [`image.repository=${repository}`, `image.tag=${tag}`, "image.pullPolicy=Never"];
  const sets = all.flatMap((each) => ["--set", each]);
  await cluster.helm([
    "upgrade",
    "--install",
    "metamaster",
    "charts/metamaster",
    "-n",
    SYSTEM,
    "--create-namespace",
    "--wait",
    "--timeout",
    "180s",
    ...sets,
  ]);
}

/** Of the operator that leads: values by series, `name` or `name{label="value"}`. */
export async function operatorMetrics(cluster: Cluster): Promise<ReadonlyMap<string, number>> {
  const addresses = await cluster.kubectl(["get", "pods", "-n", SYSTEM, "-o", "jsonpath={.items[*].status.podIP}"]);
  for (const address of addresses.split(" ")) {
    const text = await (await fetch(`http://${address}:8080/metrics`)).text();
    const lines = text.split("\n").flatMap((line) => {
      const [, name, value] = /^([a-z_]+(?:\{.*\})?) ([0-9.e+]+)$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, Number(value)] as const];
    });
    const values = new Map(lines);
    if (values.get("metamaster_operator_leader") === 1) return values;
  }
  throw new Error(`no operator leads at ${addresses}`);
}

export interface BucketLocation {
  readonly url: string;
  readonly endpoint?: string | undefined;
}

export interface MetaOptions {
  readonly replicas?: number;
  /** More of the spec. */
  readonly spec?: object;
  readonly masterImage?: string;
  /** Default: a new one. */
  readonly bucket?: BucketLocation;
}

/** Of `GET /v1/status`, what the scenarios need. Times are ISO. */
interface MemberStatus {
  readonly started: string;
  readonly history: readonly { readonly role: string; readonly reason: string; readonly since: string }[];
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

interface Resource {
  readonly metadata: { readonly generation: number };
  readonly status?: {
    readonly primary?: string;
    readonly readyReplicas?: number;
    readonly replicas?: number;
    readonly observedGeneration?: number;
    readonly conditions?: readonly Condition[];
  };
}

interface ContainerStatus {
  readonly name: string;
  readonly restartCount: number;
}

interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly podIP?: string;
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

interface Member {
  readonly uid: string;
  readonly node: string;
  readonly restarts: number;
}

/** One MetaMasterCluster of the example master, and what can be asked of it. */
export class Meta {
  readonly cluster: Cluster;
  readonly name: string;
  #options: MetaOptions & { readonly bucket: BucketLocation };

  private constructor(cluster: Cluster, name: string, options: MetaOptions & { readonly bucket: BucketLocation }) {
    this.cluster = cluster;
    this.name = name;
    this.#options = options;
  }

  /** Not applied yet. */
  static async make(cluster: Cluster, store: StoreServer, name: string, options: MetaOptions = {}): Promise<Meta> {
    const found = await cluster.kubectl(["get", "secret", SECRET, "--ignore-not-found", "-o", "name"]);
    if (found.trim() === "") await putSecret(cluster, secretKey);
    return new Meta(cluster, name, { ...options, bucket: options.bucket ?? (await newBucket(store)) });
  }

  get bucket(): BucketLocation {
    return this.#options.bucket;
  }

  /** From the next `apply` on. */
  change(options: MetaOptions): void {
    this.#options = { ...this.#options, ...options };
  }

  manifest(changes: object = {}): object {
    const { replicas = 3, spec = {}, masterImage = MASTER_IMAGE } = this.#options;
    const security = {
      runAsUser: 65532,
      runAsGroup: 65532,
      runAsNonRoot: true,
      fsGroup: 65532,
      seccompProfile: { type: "RuntimeDefault" },
    };
    const master = {
      name: "master",
      image: masterImage,
      imagePullPolicy: "Never",
      args: ["--db", "/data/meta", "--port", `${PORT}`, "--host", "0.0.0.0"],
      ports: [{ name: "http", containerPort: PORT }],
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    };
    return {
      apiVersion: "metamaster.io/v1alpha1",
      kind: "MetaMasterCluster",
      metadata: { name: this.name },
      spec: {
        replicas,
        bucket: { ...this.#options.bucket, region: "us-east-1", credentials: { secretRef: { name: SECRET } } },
        template: { spec: { securityContext: security, affinity: apart(this.name), containers: [master] } },
        databases: [{ name: "meta", path: "meta" }],
        volumeClaimTemplate: { spec: { resources: { requests: { storage: "1Gi" } } } },
        failover: { leaseDuration: "6s", renewDeadline: "4s", retryPeriod: "1s", restartGrace: "10s" },
        sidecar: { imagePullPolicy: "Never" },
        ...spec,
        ...changes,
      },
    };
  }

  async apply(changes: object = {}): Promise<void> {
    await this.cluster.kubectl(["apply", "-f", "-"], JSON.stringify(this.manifest(changes)));
  }

  async get(): Promise<Json> {
    return await this.cluster.api.get("mmc", this.name);
  }

  /** `True AllMembersReady` */
  async condition(type: string): Promise<string> {
    const found = await this.#condition(type);
    return `${found?.status ?? ""} ${found?.reason ?? ""}`;
  }

  /** What a person reads. */
  async message(type: string): Promise<string> {
    return (await this.#condition(type))?.message ?? "";
  }

  async #condition(type: string): Promise<Condition | undefined> {
    return conditionOf(await this.#resource(), type);
  }

  async #resource(): Promise<Resource> {
    return (await this.get()) as unknown as Resource;
  }

  /** Name of the primary's pod, by the status. */
  async primary(): Promise<string> {
    return (await this.#resource()).status?.primary ?? "";
  }

  /** By the label that the sidecars set: it needs no operator. */
  async labelled(): Promise<readonly { readonly name: string; readonly address: string }[]> {
    return primariesOf(await this.#pods());
  }

  /** All members wanted follow a primary, nothing is being changed, and it stays so: the status follows what happens by a moment. Gives the primary. */
  async settled(replicas: number): Promise<string> {
    let before = "";
    let sinceMs = 0;
    return await waitFor(`${this.name} has ${replicas} members`, WAIT_MS_MAX, async () => {
      const pods = await this.#pods();
      const primary = settledIn(await this.#resource(), pods, replicas);
      const now = primary === undefined ? "" : JSON.stringify([primary, ...membersOf(pods)]);
      if (now !== before) sinceMs = performance.now();
      before = now;
      return primary !== undefined && performance.now() - sinceMs > STEADY_MS ? primary : undefined;
    });
  }

  async primaryOtherThan(name: string): Promise<string> {
    return await waitFor(`another member than ${name} is primary`, WAIT_MS_MAX, async () => {
      const primary = await this.primary();
      return primary !== "" && primary !== name ? primary : undefined;
    });
  }

  /** By the label: somebody else says that it is primary. */
  async untilAnotherThan(name: string): Promise<void> {
    await waitFor(`another than ${name} is primary`, WAIT_MS_MAX, async () => {
      const found = await this.labelled();
      return found.some((each) => each.name !== name) ? true : undefined;
    });
  }

  /** Of each pod, by name: its UID and how often its containers were restarted. */
  async pods(): Promise<ReadonlyMap<string, Member>> {
    return membersOf(await this.#pods());
  }

  /** Of all pods that have one. */
  async addresses(): Promise<readonly string[]> {
    return (await this.#pods()).flatMap(({ status }) => status.podIP ?? []);
  }

  async #pods(): Promise<readonly Pod[]> {
    return (await this.cluster.api.list("pod", `metamaster.io/cluster=${this.name}`)) as unknown as Pod[];
  }

  /** Of a container of ours in a pod. */
  async restarts(pod: string, container: string): Promise<number> {
    const { status } = (await this.cluster.api.get("pod", pod)) as unknown as Pod;
    return status.initContainerStatuses?.find(({ name }) => name === container)?.restartCount ?? 0;
  }

  /** What the sidecar of a pod says of itself. */
  async memberStatus(pod: string): Promise<MemberStatus> {
    const { status } = (await this.cluster.api.get("pod", pod)) as unknown as Pod;
    const answer = await fetch(`http://${status.podIP ?? ""}:${HTTP_PORT}/v1/status`, {
      signal: AbortSignal.timeout(CALL_MS),
    });
    return (await answer.json()) as MemberStatus;
  }

  /** Gone with all its pods; its volumes, too, if told so. */
  async remove(volumes = true): Promise<void> {
    await this.cluster.kubectl(["delete", "mmc", this.name, "--ignore-not-found", "--timeout=180s"]);
    await waitFor("its pods are gone", WAIT_MS_MAX, async () => ((await this.pods()).size === 0 ? true : undefined));
    if (volumes)
      await this.cluster.kubectl(["delete", "pvc", "-l", `metamaster.io/cluster=${this.name}`, "--timeout=120s"]);
  }
}

function conditionOf({ status }: Resource, type: string): Condition | undefined {
  return status?.conditions?.find((each) => each.type === type);
}

function primariesOf(pods: readonly Pod[]): { readonly name: string; readonly address: string }[] {
  return pods
    .filter(({ metadata }) => metadata.labels["metamaster.io/role"] === "primary")
    .flatMap(({ metadata, status }) =>
      status.podIP === undefined ? [] : [{ name: metadata.name, address: status.podIP }],
    );
}

function membersOf(pods: readonly Pod[]): Map<string, Member> {
  return new Map(
    pods.map(({ metadata, spec, status }) => {
      const all = [...(status.containerStatuses ?? []), ...(status.initContainerStatuses ?? [])];
      const restarts = all.reduce((sum, { restartCount }) => sum + restartCount, 0);
      return [metadata.name, { uid: metadata.uid, node: spec.nodeName ?? "", restarts }];
    }),
  );
}

/** The primary, if all members wanted follow it and nothing is being changed. */
function settledIn(resource: Resource, pods: readonly Pod[], replicas: number): string | undefined {
  const { status, metadata } = resource;
  const all = status?.readyReplicas === replicas && status.replicas === replicas;
  const { status: progressing, reason } = conditionOf(resource, "Progressing") ?? {};
  const stable = progressing === "False" && reason === "Stable";
  if (!all || !stable || status.observedGeneration !== metadata.generation) return undefined;
  if (replicas === 0) return status.primary ?? "none";
  // An operator that was cut off left an old status: what the members say of themselves must agree.
  const says = primariesOf(pods);
  return says.length === 1 && says[0]?.name === status.primary ? status.primary : undefined;
}

/** One member a node, as far as there are nodes. */
function apart(name: string): object {
  const podAffinityTerm = {
    topologyKey: "kubernetes.io/hostname",
    labelSelector: { matchLabels: { "metamaster.io/cluster": name } },
  };
  return { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm }] } };
}

export async function putSecret(cluster: Cluster, secret: string): Promise<void> {
  const stringData = { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secret };
  const manifest = { apiVersion: "v1", kind: "Secret", metadata: { name: SECRET }, stringData };
  await cluster.kubectl(["apply", "-f", "-"], JSON.stringify(manifest));
}
