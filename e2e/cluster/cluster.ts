import type { ApiReader } from "./api-reader.js";

/** A Kubernetes cluster whose nodes can be made to fail. Every wait in it is bounded; every error says what to do. */
export interface Cluster {
  readonly provider: "local" | "kind";
  /** A file, for an administrator; there after `up`. */
  readonly kubeconfig: string;
  /** What is in it, for who looks often. After `up`. */
  readonly api: ApiReader;
  /** Where pods reach servers that the test process runs on this machine; they must listen there, not only on loopback. After `up`. */
  readonly hostAddress: string;
  /** Taken away by `crash`, given back by `boot`, at the same address and with all that it knew. */
  readonly apiServer: { crash(): Promise<void>; boot(): Promise<void> };

  /** Makes sure that everything needed is on this machine: minutes the first time, nothing later. */
  build(): Promise<void>;
  /** An empty cluster of nodes `1..nodes`, all Ready, with DNS and the default storage class. */
  up(nodes: number): Promise<void>;
  /** Puts an image (a tar as `docker save` writes it) on every node. Pods name it as the tar does, with `imagePullPolicy: Never`. */
  load(tar: string): Promise<void>;
  /** From 1. */
  node(index: number): ClusterNode;
  /** All processes of one pod stop, and go on by `thaw` as if nothing had been. */
  freezePod(namespace: string, name: string): Promise<Frozen>;
  /** Runs kubectl as an administrator; gives what it printed, throws what it complained of. */
  kubectl(args: readonly string[], stdin?: string): Promise<string>;
  helm(args: readonly string[]): Promise<string>;
  /** Logs, events and objects, as far as they can be had, into a folder. Never throws: what could not be had stands in `problems.txt`. */
  collect(folder: string): Promise<void>;
  /** Nothing is left. Also happens when this process dies, however it does. */
  down(): Promise<void>;
}

export interface Frozen {
  thaw(): Promise<void>;
}

/** What a node, and its pods with it, may be cut off from. `host`: the servers of the test process, at `hostAddress`. */
export type Cut = "everything" | "api-server" | "host";

export interface ClusterNode {
  /** As the API server names it. */
  readonly name: string;
  /** All processes die at once, pods included; the disk stays. */
  crash(): Promise<void>;
  boot(): Promise<void>;
  /** All processes stop, pods included, and go on by `thaw` as if nothing had been. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** The kubelet alone stands still: nobody starts, probes or ends containers, which go on; until `startKubelet`. */
  stopKubelet(): Promise<void>;
  startKubelet(): Promise<void>;
  /** The processes go on, packets don't; `join` ends every cut. */
  cut(from?: Cut): Promise<void>;
  join(): Promise<void>;
}

/** Which pod a name stands for now, and where it runs. */
export async function podOf(
  cluster: Cluster,
  namespace: string,
  name: string,
): Promise<{ readonly uid: string; readonly node: string }> {
  const path = "jsonpath={.metadata.uid} {.spec.nodeName}";
  const [uid = "", node = ""] = (await cluster.kubectl(["get", "pod", "-n", namespace, name, "-o", path])).split(" ");
  if (uid === "" || node === "") throw new Error(`the pod ${namespace}/${name} is on no node`);
  return { uid, node };
}

/** What the API server says of it: `True`, `False`, or `Unknown` of one that is silent. */
export async function nodeReady(cluster: Cluster, { name }: ClusterNode): Promise<string> {
  const { status } = (await cluster.api.get("node", name)) as {
    status?: { conditions?: { readonly type: string; readonly status: string }[] };
  };
  return status?.conditions?.find(({ type }) => type === "Ready")?.status ?? "";
}
