import { generateKeyPairSync } from "node:crypto";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { freePort } from "../../servers/free-port.js";
import { runClient } from "../client.js";
import { ApiReader } from "../api-reader.js";
import { podOf, type Cluster, type ClusterNode, type Cut, type Frozen } from "../cluster.js";
import { collectObjects, Problems } from "../collect.js";
import { etcdFlags } from "../flags.js";
import { writeImages } from "../image.js";
import { writeKubeconfig } from "../kubeconfig.js";
import { buildPrograms, type Program } from "../programs.js";
import { waitFor } from "../wait.js";
import { Authority } from "./certificates.js";
import { Machine } from "./machine.js";
import { nodeSettings } from "./node-settings.js";
import { requireMachine } from "./requirements.js";
import * as settings from "./settings.js";

const PROGRAMS = ["kube", "coredns", "helm", "pause"] as const satisfies readonly Program[];
const READY_MS_MAX = 180_000;
const NODES_MAX = 9;

/** Kubernetes itself on this machine, without Docker: see README.md. */
export class LocalCluster implements Cluster {
  readonly provider = "local";
  readonly apiServer: Cluster["apiServer"] = {
    crash: () => this.#up.machine.do("stop", "kube-apiserver"),
    boot: () => this.#startApiServer(),
  };
  readonly #say: (line: string) => void;
  #programs: Record<(typeof PROGRAMS)[number], string> | undefined;
  #running: Running | undefined;

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  get kubeconfig(): string {
    return join(this.#up.machine.folder, "admin.conf");
  }

  get api(): ApiReader {
    return this.#up.api;
  }

  get hostAddress(): string {
    return this.#up.machine.addresses.host;
  }

  async build(): Promise<void> {
    await requireMachine(this.#say);
    this.#programs = await buildPrograms(PROGRAMS, this.#say);
  }

  async up(nodes: number): Promise<void> {
    if (this.#running !== undefined) throw new Error("this cluster is up: take it down first");
    if (!Number.isInteger(nodes) || nodes < 1 || nodes > NODES_MAX) throw new Error(`nodes: 1 to ${NODES_MAX}`);
    if (this.#programs === undefined) await this.build();
    const machine = await Machine.take(this.#built.kube);
    const authority = new Authority(join(machine.folder, "pki"));
    const etcd = `http://127.0.0.1:${await freePort()}`;
    const api = new ApiReader(join(machine.folder, "admin.conf"));
    this.#running = { machine, authority, nodes, etcd, api };
    try {
      await this.#prepare();
      await this.#startPrograms();
    } catch (error) {
      const names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns", "node1"];
      const words = await machine.lastWords(names);
      const problems = new Problems();
      await problems.note(this.down());
      const all = [`The local cluster did not come up. ${messageOf(error)}`, words, ...problems.lines];
      throw new Error(all.join("\n"), { cause: error });
    }
  }

  async load(tar: string): Promise<void> {
    const { machine, nodes } = this.#up;
    // One after the other: unpacking is bound by the disk.
    for (let i = 1; i <= nodes; i++) await machine.do("load", i, tar);
  }

  node(index: number): ClusterNode {
    const { machine, nodes } = this.#up;
    if (!Number.isInteger(index) || index < 1 || index > nodes) throw new Error(`there are the nodes 1 to ${nodes}`);
    return {
      name: `node${index}`,
      crash: async () => {
        await machine.do("thaw", index);
        await machine.do("stop", `node${index}`);
      },
      boot: () => machine.boot(index),
      freeze: () => machine.do("freezer", index, "FROZEN"),
      thaw: () => machine.do("freezer", index, "THAWED"),
      stopKubelet: () => machine.do("kubelet_signal", index, "STOP"),
      startKubelet: () => machine.do("kubelet_signal", index, "CONT"),
      cut: (from: Cut = "everything") =>
        from === "everything" ? machine.do("unplug", index) : machine.do("unplug_from", index, from),
      join: () => machine.do("plug", index),
    };
  }

  async freezePod(namespace: string, name: string): Promise<Frozen> {
    const { machine } = this.#up;
    const { uid, node } = await podOf(this, namespace, name);
    const index = node.replace(/^node/, "");
    await machine.do("pod_freezer", index, uid, "FROZEN");
    return { thaw: () => machine.do("pod_freezer", index, uid, "THAWED") };
  }

  async kubectl(args: readonly string[], stdin = ""): Promise<string> {
    return runClient([this.#built.kube, "kubectl"], this.kubeconfig, args, stdin);
  }

  async helm(args: readonly string[]): Promise<string> {
    return runClient([this.#built.helm], this.kubeconfig, args);
  }

  async collect(folder: string): Promise<void> {
    const problems = new Problems();
    const { machine, nodes } = this.#up;
    await problems.note(mkdir(folder, { recursive: true }));
    await problems.note(cp(join(machine.folder, "log"), join(folder, "control-plane"), { recursive: true }));
    for (let i = 1; i <= nodes; i++) {
      // With the logs of its pods. `containers` holds links into them.
      const options = { recursive: true, filter: (path: string) => !path.endsWith("/log/containers") };
      await problems.note(cp(join(machine.folder, `node${i}`, "log"), join(folder, `node${i}`), options));
    }
    await collectObjects((args) => this.kubectl(args), folder, problems);
    await problems.write(folder);
  }

  async down(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    running?.api.close();
    await running?.machine.release();
  }

  get #up(): Running {
    if (this.#running === undefined) throw new Error("this cluster is not up");
    return this.#running;
  }

  get #built(): Record<(typeof PROGRAMS)[number], string> {
    if (this.#programs === undefined) throw new Error("this cluster is not built");
    return this.#programs;
  }

  /** Keys, files, network: all that needs no running program. */
  async #prepare(): Promise<void> {
    const { machine, authority, nodes } = this.#up;
    const { host, firstService } = machine.addresses;
    await authority.create();
    const services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    const names = [...services, "kubernetes.default.svc.cluster.local", "localhost"].map((name) => `DNS:${name}`);
    await Promise.all([
      authority.issue("apiserver", "/CN=kube-apiserver", [...names, `IP:${host}`, `IP:${firstService}`]),
      this.#identity("admin", "/O=system:masters/CN=admin"),
      this.#identity("controller-manager", "/CN=system:kube-controller-manager"),
      this.#identity("scheduler", "/CN=system:kube-scheduler"),
      this.#identity("proxy", "/CN=system:kube-proxy"),
    ]);
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pem = privateKey.export({ type: "sec1", format: "pem" });
    await writeFile(authority.path("service-accounts.key"), pem, { mode: 0o600 });
    await writeFile(join(machine.folder, "resolv.conf"), "");
    await writeFile(
      join(machine.folder, "Corefile"),
      settings.corefile(machine.addresses, join(machine.folder, "admin.conf")),
    );
    await this.#writePauseImage();
    await machine.do("network", nodes);
    for (let i = 1; i <= nodes; i++) await this.#prepareNode(i);
  }

  /** A certificate and the kubeconfig that uses it. */
  async #identity(name: string, subject: string): Promise<void> {
    const { machine, authority } = this.#up;
    await authority.issue(name, subject);
    const certificate = { certificate: await authority.read(`${name}.crt`), key: await authority.read(`${name}.key`) };
    const server = `https://${machine.addresses.host}:6443`;
    await writeKubeconfig(this.#config(name), { server, ca: await authority.read("ca.crt"), certificate });
  }

  #config(name: string): string {
    return join(this.#up.machine.folder, `${name}.conf`);
  }

  async #prepareNode(index: number): Promise<void> {
    const { machine, authority } = this.#up;
    const name = `node${index}`;
    const folder = join(machine.folder, name);
    await mkdir(join(folder, "log"), { recursive: true });
    await this.#identity(name, `/O=system:nodes/CN=system:node:${name}`);
    const files = nodeSettings(machine.addresses, {
      index,
      folder,
      ca: authority.path("ca.crt"),
      proxyKubeconfig: this.#config("proxy"),
      resolvConf: join(machine.folder, "resolv.conf"),
      cgroup: `${machine.prefix}${index}`,
    });
    for (const [file, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await writeFile(join(folder, file), content);
    }
  }

  async #writePauseImage(): Promise<void> {
    const root = await mkdtemp(join(tmpdir(), "metamaster-image-"));
    try {
      await cp(this.#built.pause, join(root, "pause"));
      const tar = join(this.#up.machine.folder, "pause.tar");
      const config = { Entrypoint: ["/pause"] };
      await writeImages([{ names: ["kube.local/pause:1"], layers: [root], config }], tar);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  }

  async #startPrograms(): Promise<void> {
    const { machine, authority, nodes, etcd } = this.#up;
    const { addresses, folder } = machine;
    const { kube, coredns } = this.#built;
    const pki = (file: string) => authority.path(file);
    const peer = `http://127.0.0.1:${await freePort()}`;
    await machine.start("etcd", [kube, "etcd", ...etcdFlags(join(folder, "etcd"), etcd, peer)]);
    await this.#startApiServer();
    for (let i = 1; i <= nodes; i++) await machine.boot(i);
    await this.#answers("the API server", ["get", "--raw", "/readyz"]);
    // Not before: both give up when the API server's own roles are not there yet.
    const manager = settings.managerFlags(addresses, this.#config("controller-manager"), pki);
    await machine.start("kube-controller-manager", [kube, "kube-controller-manager", ...manager]);
    const scheduler = settings.schedulerFlags(addresses, this.#config("scheduler"));
    await machine.start("kube-scheduler", [kube, "kube-scheduler", ...scheduler]);
    await machine.start("coredns", [coredns, "-conf", join(folder, "Corefile")]);
    await mkdir(join(folder, "volumes"));
    const volumes = [`--kubeconfig=${this.kubeconfig}`, `--dir=${join(folder, "volumes")}`];
    await machine.start("volumes", [kube, "volumes", ...volumes]);
    await this.kubectl(["apply", "-f", "-"], JSON.stringify(settings.storageClasses));
    await waitFor(`${nodes} nodes Ready`, READY_MS_MAX, async () => {
      const lines = (await this.kubectl(["get", "nodes", "--no-headers"])).split("\n");
      return lines.filter((line) => / Ready /.test(line)).length === nodes || undefined;
    });
    await this.#answers("the default service account", ["get", "serviceaccount", "default"]);
    await waitFor(
      "DNS",
      READY_MS_MAX,
      async () => (await fetch(`http://${addresses.host}:8181/ready`)).ok || undefined,
    );
  }

  async #startApiServer(): Promise<void> {
    const { machine, authority, etcd } = this.#up;
    const apiServer = settings.apiServerFlags(machine.addresses, etcd, (file) => authority.path(file));
    await machine.start("kube-apiserver", [this.#built.kube, "kube-apiserver", ...apiServer]);
  }

  async #answers(what: string, args: readonly string[]): Promise<void> {
    await waitFor(what, READY_MS_MAX, () => this.kubectl([...args, "--request-timeout=10s"]));
  }
}

interface Running {
  readonly machine: Machine;
  readonly authority: Authority;
  readonly nodes: number;
  /** Its address on loopback. */
  readonly etcd: string;
  readonly api: ApiReader;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
