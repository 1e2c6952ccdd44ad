import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ApiReader } from "../api-reader.js";
import { runClient } from "../client.js";
import { podOf, type Cluster, type ClusterNode, type Cut, type Frozen } from "../cluster.js";
import { collectObjects, Problems } from "../collect.js";

const run = promisify(execFile);
const CREATE_MS_MAX = 15 * 60_000;
const CALL_MS_MAX = 120_000;
/** Removes the cluster when its input ends: it was asked to, or whoever made the cluster is dead, even by SIGKILL. */
const GUARD =
  'trap "" INT TERM HUP; while read -r _; do :; done; kind delete cluster --name "$1" --kubeconfig "$2/kubeconfig"; rm -rf "$2"';
const MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const AWAY = "/etc/kubernetes/kube-apiserver.away";

/** Kubernetes in Docker: a control plane and as many workers as nodes are asked for. See README.md. */
export class KindCluster implements Cluster {
  readonly provider = "kind";
  readonly apiServer: Cluster["apiServer"] = {
    // Without its manifest kubelet does not start it again.
    crash: () =>
      this.#docker("exec", this.#controlPlane, "sh", "-c", `mv ${MANIFEST} ${AWAY} && pkill -KILL kube-apiserver`),
    boot: () => this.#docker("exec", this.#controlPlane, "mv", AWAY, MANIFEST),
  };
  readonly #name = `metamaster-${randomBytes(4).toString("hex")}`;
  #running: Running | undefined;

  get kubeconfig(): string {
    return join(this.#up.folder, "kubeconfig");
  }

  get api(): ApiReader {
    return this.#up.api;
  }

  get hostAddress(): string {
    return this.#up.host;
  }

  async build(): Promise<void> {
    const needed = [
      ["docker", "info"],
      ["kind", "version"],
      ["kubectl", "version", "--client"],
      ["helm", "version"],
    ] as const;
    for (const [program, ...args] of needed) {
      await run(program, args, { timeout: CALL_MS_MAX }).catch((error: unknown) => {
        throw new Error(`PROVIDER=kind needs a working "${program} ${args.join(" ")}": ${String(error)}`, {
          cause: error,
        });
      });
    }
  }

  async up(nodes: number): Promise<void> {
    if (this.#running !== undefined) throw new Error("this cluster is up: take it down first");
    const folder = await mkdtemp(join(tmpdir(), "metamaster-kind-"));
    const guard = spawn("/bin/sh", ["-c", GUARD, "guard", this.#name, folder], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    const api = new ApiReader(join(folder, "kubeconfig"));
    this.#running = { folder, guard, nodes, host: "", api };
    try {
      const workers = Array.from({ length: nodes }, () => ({ role: "worker" }));
      const config = {
        kind: "Cluster",
        apiVersion: "kind.x-k8s.io/v1alpha4",
        nodes: [{ role: "control-plane" }, ...workers],
      };
      await writeFile(join(folder, "kind.json"), JSON.stringify(config));
      const files = ["--config", join(folder, "kind.json"), "--kubeconfig", this.kubeconfig];
      await run("kind", ["create", "cluster", "--name", this.#name, ...files, "--wait", "5m"], {
        timeout: CREATE_MS_MAX,
      });
      // `--wait` waits for the control plane only.
      await this.kubectl(["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=180s"]);
      this.#running = { folder, guard, nodes, host: await gateway(), api };
    } catch (error) {
      await this.down();
      throw error;
    }
  }

  async load(tar: string): Promise<void> {
    await run("kind", ["load", "image-archive", tar, "--name", this.#name], { timeout: CREATE_MS_MAX });
  }

  node(index: number): ClusterNode {
    if (!Number.isInteger(index) || index < 1 || index > this.#up.nodes) {
      throw new Error(`there are the nodes 1 to ${this.#up.nodes}`);
    }
    const name = `${this.#name}-worker${index === 1 ? "" : index}`;
    return {
      name,
      crash: () => this.#docker("kill", name),
      boot: () => this.#docker("start", name),
      freeze: () => this.#docker("pause", name),
      thaw: () => this.#docker("unpause", name),
      stopKubelet: () => this.#docker("exec", name, "systemctl", "kill", "--signal=STOP", "kubelet"),
      startKubelet: () => this.#docker("exec", name, "systemctl", "kill", "--signal=CONT", "kubelet"),
      cut: (from: Cut = "everything") => this.#cut(name, from),
      join: () => this.#docker("exec", name, "sh", "-c", "iptables -F CUT 2>/dev/null || true"),
    };
  }

  async freezePod(namespace: string, name: string): Promise<Frozen> {
    const { uid, node } = await podOf(this, namespace, name);
    // cgroup v2; systemd's names have no hyphens.
    const group = `$(find /sys/fs/cgroup -type d -name '*pod${uid.replaceAll("-", "_")}.slice' | head -1)`;
    const set = (state: 0 | 1) => this.#docker("exec", node, "sh", "-c", `echo ${state} >"${group}/cgroup.freeze"`);
    await set(1);
    return { thaw: () => set(0) };
  }

  async kubectl(args: readonly string[], stdin = ""): Promise<string> {
    return runClient(["kubectl"], this.kubeconfig, args, stdin);
  }

  async helm(args: readonly string[]): Promise<string> {
    return runClient(["helm"], this.kubeconfig, args);
  }

  async collect(folder: string): Promise<void> {
    const problems = new Problems();
    await problems.note(mkdir(folder, { recursive: true }));
    const logs = ["export", "logs", join(folder, "logs"), "--name", this.#name];
    await problems.note(run("kind", logs, { timeout: CALL_MS_MAX }));
    await collectObjects((args) => this.kubectl(args), folder, problems);
    await problems.write(folder);
  }

  async down(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    if (running === undefined) return;
    running.api.close();
    const ended = once(running.guard, "exit");
    running.guard.stdin?.end();
    await ended;
    await rm(running.folder, { recursive: true, force: true });
  }

  get #up(): Running {
    if (this.#running === undefined) throw new Error("this cluster is not up");
    return this.#running;
  }

  get #controlPlane(): string {
    return `${this.#name}-control-plane`;
  }

  async #cut(node: string, from: Cut): Promise<void> {
    // Rules in a chain of their own, so that `join` can take them back; a network that is disconnected would give a new address.
    const chain = "iptables -N CUT 2>/dev/null && for c in INPUT OUTPUT FORWARD; do iptables -I $c -j CUT; done";
    const rules = {
      everything: "iptables -A CUT -i lo -j RETURN; iptables -A CUT -o lo -j RETURN; iptables -A CUT -j DROP",
      "api-server": `a=$(getent ahostsv4 ${this.#controlPlane} | cut -d' ' -f1 | head -1); ${drop("-d $a --dport 6443", "-s $a --sport 6443")}`,
      // Only connections that begin on the node.
      host: drop(
        `-d ${this.hostAddress} -m conntrack --ctdir ORIGINAL`,
        `-s ${this.hostAddress} -m conntrack --ctdir REPLY`,
      ),
    }[from];
    await this.#docker("exec", node, "sh", "-c", `${chain}; ${rules}`);
  }

  async #docker(...args: readonly string[]): Promise<void> {
    await run("docker", args, { timeout: CALL_MS_MAX });
  }
}

function drop(to: string, from: string): string {
  return `iptables -A CUT -p tcp ${to} -j DROP; iptables -A CUT -p tcp ${from} -j DROP`;
}

interface Running {
  readonly folder: string;
  readonly guard: ChildProcess;
  readonly nodes: number;
  readonly host: string;
  readonly api: ApiReader;
}

/** Of the network `kind`: the machine itself, as the nodes see it. */
async function gateway(): Promise<string> {
  const format = "{{range .IPAM.Config}}{{.Gateway}} {{end}}";
  const { stdout } = await run("docker", ["network", "inspect", "kind", "-f", format], { timeout: CALL_MS_MAX });
  const address = stdout.split(/\s+/).find((word) => /^\d+\.\d+\.\d+\.\d+$/.test(word));
  if (address === undefined) throw new Error(`Docker's network "kind" has no IPv4 gateway: ${stdout}`);
  return address;
}
