import { join } from "node:path";
import type { Addresses } from "./settings.js";

export interface NodeFiles {
  readonly index: number;
  /** The node's folder. */
  readonly folder: string;
  /** PEM files and kubeconfigs. */
  readonly ca: string;
  readonly proxyKubeconfig: string;
  /** An empty file: pods get no resolver of this machine. */
  readonly resolvConf: string;
  /** Of the node, in every hierarchy. */
  readonly cgroup: string;
}

/** The configuration files of a node, by name below its folder. */
export function nodeSettings(addresses: Addresses, node: NodeFiles): Record<string, string> {
  return {
    "containerd.toml": containerd(node),
    "cni/kube.conflist": JSON.stringify(cni(addresses, node)),
    "kubelet.json": JSON.stringify(kubelet(addresses, node)),
    "proxy.json": JSON.stringify(proxy(addresses, node)),
  };
}

function containerd(node: NodeFiles): string {
  const unused = ["aufs", "btrfs", "devmapper", "zfs"].map((name) => `"io.containerd.snapshotter.v1.${name}"`);
  return `version = 2
disabled_plugins = [${unused.join(", ")}]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "kube.local/pause:1"
  restrict_oom_score_adj = true # there may be no CAP_SYS_RESOURCE
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${join(node.folder, "cni")}"
`;
}

function cni(addresses: Addresses, node: NodeFiles): object {
  const ranges = [[{ subnet: addresses.podsOf(node.index) }]];
  const ipam = { type: "host-local", ranges, routes: [{ dst: "0.0.0.0/0" }] };
  return {
    cniVersion: "0.4.0",
    name: "kube",
    plugins: [
      { type: "bridge", bridge: "cni0", isGateway: true, hairpinMode: true, ipam },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

function kubelet(addresses: Addresses, node: NodeFiles): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: addresses.node(node.index),
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: node.ca },
    },
    authorization: { mode: "Webhook" },
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${node.cgroup}`,
    clusterDNS: [addresses.host],
    clusterDomain: "cluster.local",
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    evictionHard: {
      "memory.available": "100Mi",
      "nodefs.available": "1%",
      "imagefs.available": "1%",
      "nodefs.inodesFree": "1%",
    },
    failSwapOn: false,
    // Images come from files and can't be pulled again.
    imageGCHighThresholdPercent: 100,
    nodeStatusUpdateFrequency: "4s",
    nodeLeaseDurationSeconds: 16,
    resolvConf: node.resolvConf,
    // So long a changed Secret may take to the pods that have it; a minute, if nobody says so.
    syncFrequency: "15s",
  };
}

function proxy(addresses: Addresses, node: NodeFiles): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    clusterCIDR: addresses.pods,
    clientConnection: { kubeconfig: node.proxyKubeconfig },
    // The limit is the machine's, not a namespace's.
    conntrack: { maxPerCore: 0 },
  };
}
