import type { Cluster } from "../cluster/cluster.js";
import { MASTER_IMAGE } from "./images.js";

const MOUNT_MS_MAX = 60_000;
const FILLER = "/small/volume/filler";

/** One small volume on each node, in memory, for claims of the storage class `name`: filled up and freed at will. */
export class SmallVolumes {
  readonly storageClass: string;
  readonly #cluster: Cluster;
  readonly #nodes: readonly string[];

  private constructor(cluster: Cluster, name: string, nodes: readonly string[]) {
    this.#cluster = cluster;
    this.storageClass = name;
    this.#nodes = nodes;
  }

  static async make(
    cluster: Cluster,
    name: string,
    { nodes, mebibytes }: { readonly nodes: readonly string[]; readonly mebibytes: number },
  ): Promise<SmallVolumes> {
    const volumes = new SmallVolumes(cluster, name, nodes);
    const mounters = nodes.map((node) => mounter(name, node, mebibytes));
    await cluster.kubectl(["apply", "-f", "-"], listOf(mounters));
    for (const node of nodes) {
      const ready = ["wait", "--for=condition=Ready", `pod/${podOn(name, node)}`, `--timeout=${MOUNT_MS_MAX}ms`];
      await cluster.kubectl(ready);
    }
    // Only what is mounted may be bound.
    await cluster.kubectl(
      ["apply", "-f", "-"],
      listOf([storageClass(name), ...nodes.map((node) => volumeOn(name, node, mebibytes))]),
    );
    return volumes;
  }

  /** To the last byte. */
  async fill(node: string): Promise<void> {
    // It ends with an error, as it should.
    await this.#on(node, `dd if=/dev/zero of=${FILLER} bs=64k 2>/dev/null; [ -s ${FILLER} ]`);
  }

  async free(node: string): Promise<void> {
    await this.#on(node, `rm ${FILLER}`);
  }

  /** After whoever claimed them is gone. */
  async remove(): Promise<void> {
    const volumes = this.#nodes.map((node) => `pv/${podOn(this.storageClass, node)}`);
    await this.#cluster.kubectl(["delete", `storageclass/${this.storageClass}`, ...volumes, "--timeout=60s"]);
    for (const node of this.#nodes) {
      await this.#on(node, "umount /small/volume");
      await this.#cluster.kubectl(["delete", "pod", podOn(this.storageClass, node), "--force", "--grace-period=0"]);
    }
  }

  async #on(node: string, script: string): Promise<void> {
    await this.#cluster.kubectl(["exec", podOn(this.storageClass, node), "--", "/bin/sh", "-c", script]);
  }
}

function listOf(items: readonly object[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

function podOn(name: string, node: string): string {
  return `${name}-${node}`;
}

/** Where a node keeps what need not outlive it: each has a directory of its own there, on both providers. */
function folderOf(name: string): string {
  return `/run/${name}`;
}

/** Mounts it, for the node too, and stays for what is to be done in it. */
function mounter(name: string, node: string, mebibytes: number): object {
  const mount = `mkdir -p /small/volume && mount -t tmpfs -o size=${mebibytes}m,mode=0777 small /small/volume`;
  const container = {
    name: "mount",
    image: MASTER_IMAGE,
    imagePullPolicy: "Never",
    command: ["/bin/sh", "-c", `${mount} && exec sleep 86400`],
    securityContext: { privileged: true, runAsUser: 0, runAsGroup: 0 },
    readinessProbe: {
      exec: { command: ["/bin/grep", "-q", " /small/volume tmpfs", "/proc/mounts"] },
      periodSeconds: 1,
    },
    volumeMounts: [{ name: "small", mountPath: "/small", mountPropagation: "Bidirectional" }],
  };
  const volumes = [{ name: "small", hostPath: { path: folderOf(name), type: "DirectoryOrCreate" } }];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: podOn(name, node) },
    spec: { nodeName: node, restartPolicy: "Never", containers: [container], volumes },
  };
}

function storageClass(name: string): object {
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name },
    provisioner: "kubernetes.io/no-provisioner",
    volumeBindingMode: "WaitForFirstConsumer",
  };
}

function volumeOn(name: string, node: string, mebibytes: number): object {
  const here = { key: "kubernetes.io/hostname", operator: "In", values: [node] };
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: podOn(name, node) },
    spec: {
      capacity: { storage: `${mebibytes}Mi` },
      accessModes: ["ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Retain",
      storageClassName: name,
      local: { path: `${folderOf(name)}/volume` },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [here] }] } },
    },
  };
}
