import { existsSync } from "node:fs";
import { aptInstall, onPath } from "../../tools/apt.js";

/** Debian packages by a program of each; a program that is there is taken, wherever it is from. */
const PACKAGES: Readonly<Record<string, string>> = {
  containerd: "containerd",
  runc: "runc",
  iptables: "iptables",
  nft: "nftables",
  conntrack: "conntrack",
  socat: "socat",
  ethtool: "ethtool",
  busybox: "busybox-static",
  openssl: "openssl",
  ip: "iproute2",
  nsenter: "util-linux",
  pgrep: "procps",
  gcc: "gcc",
};
const CNI = "/usr/lib/cni/bridge";

/** Throws with all that this machine lacks; Debian packages are installed first. */
export async function requireMachine(say: (line: string) => void): Promise<void> {
  const impossible = [
    process.platform === "linux" ? [] : ["it runs on Linux only"],
    process.getuid?.() === 0 ? [] : ["it needs root (namespaces, network links, cgroups)"],
    existsSync("/sys/fs/cgroup/freezer") ? [] : ["it needs cgroup v1 or hybrid: there is no /sys/fs/cgroup/freezer"],
  ].flat();
  if (impossible.length > 0) {
    throw new Error(`No local cluster on this machine: ${impossible.join("; ")}. With Docker here: PROVIDER=kind.`);
  }
  const lacking = missing();
  if (lacking.length === 0) return;
  say(`installing Debian packages: ${lacking.join(" ")} ...`);
  const problem = await aptInstall(lacking);
  const still = missing();
  if (still.length === 0) return;
  throw new Error(
    `No local cluster without Debian's ${still.join(" ")}: apt-get install them (${problem ?? "apt-get did not"})`,
  );
}

function missing(): string[] {
  const packages = Object.entries(PACKAGES).flatMap(([program, name]) => (onPath(program) === undefined ? [name] : []));
  return existsSync(CNI) ? packages : [...packages, "containernetworking-plugins"];
}
