import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../servers/free-port.js";
import { Guarded } from "../servers/guarded.js";
import { ApiReader } from "./api-reader.js";
import { runClient } from "./client.js";
import { etcdFlags, flags } from "./flags.js";
import { writeKubeconfig } from "./kubeconfig.js";
import { buildPrograms } from "./programs.js";

const READY_MS_MAX = 120_000;
const ATTEMPTS = 3;

/**
 * A real etcd and kube-apiserver on free loopback ports, without root: for what talks to the API only (leases, informers, custom resources
 * with their CEL rules, RBAC, server-side apply). Nothing else of Kubernetes runs: no pod is started, no garbage is collected, a deleted
 * namespace stays `Terminating`, and no default service account appears.
 */
export class ApiServer {
  readonly url: string;
  /** For an administrator. */
  readonly kubeconfig: string;
  readonly token: string;
  /** What is in it, for who looks often. */
  readonly api: ApiReader;
  readonly #kube: string;
  readonly #folder: string;
  readonly #etcd: Guarded;
  readonly #command: readonly string[];
  #process: Guarded;
  #ca = "";

  private constructor(start: Started, kube: string) {
    this.url = start.url;
    this.token = start.token;
    this.kubeconfig = join(start.folder, "admin.conf");
    this.api = new ApiReader(this.kubeconfig);
    this.#kube = kube;
    this.#folder = start.folder;
    this.#etcd = start.etcd;
    this.#command = start.command;
    this.#process = start.apiServer;
  }

  static async start(): Promise<ApiServer> {
    const { kube } = await buildPrograms(["kube"], (line) => console.log(line));
    for (let attempt = 1; ; attempt++) {
      const started = await launch(kube);
      const server = new ApiServer(started, kube);
      try {
        await server.#ready();
        return server;
      } catch (error) {
        await server.stop();
        // Another process may take a port between our look and the server's bind.
        if (attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** PEM of what signed the server's certificate. */
  get ca(): string {
    return this.#ca;
  }

  /** Runs kubectl as an administrator; gives what it printed, throws what it complained of. */
  async kubectl(args: readonly string[], stdin = ""): Promise<string> {
    return runClient([this.#kube, "kubectl"], this.kubeconfig, args, stdin);
  }

  /** The path of a kubeconfig that acts as a service account, with no more rights than RBAC gives it. The account is created if needed. */
  async kubeconfigOf(namespace: string, serviceAccount: string): Promise<string> {
    const manifest = { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name: serviceAccount } };
    await this.kubectl(["apply", "-f", "-"], JSON.stringify(manifest));
    const token = await this.kubectl(["create", "token", "-n", namespace, serviceAccount, "--duration=24h"]);
    const path = join(this.#folder, `${namespace}.${serviceAccount}.conf`);
    await writeKubeconfig(path, { server: this.url, ca: this.#ca, token: token.trim(), namespace });
    return path;
  }

  /** SIGKILL; etcd and its data stay. Connections break, and new ones are refused. */
  async crash(): Promise<void> {
    await this.#process.stop("keep");
  }

  /** After `crash`: at the same address. */
  async boot(): Promise<void> {
    this.#process = await Guarded.start(this.#command, {}, join(this.#folder, "run"));
    await this.#ready();
  }

  /** SIGSTOP: connections stay open, and no call is answered. */
  freeze(): void {
    process.kill(this.#process.pid, "SIGSTOP");
  }

  thaw(): void {
    process.kill(this.#process.pid, "SIGCONT");
  }

  async stop(): Promise<void> {
    this.api.close();
    await this.#process.stop("remove");
    await this.#etcd.stop("remove");
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + READY_MS_MAX;
    let last = "no answer";
    while (this.#process.running && this.#etcd.running && performance.now() < deadline) {
      try {
        // It signs its own certificate when it first starts.
        this.#ca = await readFile(join(this.#folder, "run", "apiserver.crt"), "utf8");
        last = await status(`${this.url}/readyz`, this.#ca, this.token);
        if (last === "200") {
          await writeKubeconfig(this.kubeconfig, { server: this.url, ca: this.#ca, token: this.token });
          return;
        }
      } catch (error) {
        last = error instanceof Error ? error.message : String(error);
      }
      await sleep(50);
    }
    const output = `kube-apiserver:\n${this.#process.output}\netcd:\n${this.#etcd.output}`;
    throw new Error(`The API server at ${this.url} did not get ready (${last}). Their last output:\n${output}`);
  }
}

/** See `ApiServer`. Builds the programs first if need be, which takes minutes. Ends with `stop()`, or with this process however it ends. */
export async function startApiServer(): Promise<ApiServer> {
  return ApiServer.start();
}

interface Started {
  readonly folder: string;
  readonly url: string;
  readonly token: string;
  readonly etcd: Guarded;
  readonly apiServer: Guarded;
  readonly command: readonly string[];
}

async function launch(kube: string): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), "metamaster-apiserver-"));
  const etcdPort = await freePort();
  const peerPort = await freePort();
  const port = await freePort();
  const client = `http://127.0.0.1:${etcdPort}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const etcdCommand = [kube, "etcd", ...etcdFlags(join(folder, "etcd"), client, peer)];
  const token = randomBytes(16).toString("hex");
  await mkdir(join(folder, "run"));
  await writeFile(join(folder, "tokens.csv"), `${token},admin,admin,"system:masters"\n`, { mode: 0o600 });
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = join(folder, "service-accounts.key");
  await writeFile(key, keys.privateKey.export({ type: "sec1", format: "pem" }), { mode: 0o600 });
  const command = [
    kube,
    "kube-apiserver",
    ...flags({
      "etcd-servers": client,
      "secure-port": port,
      "bind-address": "127.0.0.1",
      "advertise-address": "127.0.0.1",
      "endpoint-reconciler-type": "none",
      "service-cluster-ip-range": "10.0.0.0/24",
      "cert-dir": join(folder, "run"),
      "authorization-mode": "RBAC",
      "token-auth-file": join(folder, "tokens.csv"),
      // Nothing makes the accounts that this plugin would want in every pod.
      "disable-admission-plugins": "ServiceAccount",
      "service-account-issuer": "https://kubernetes.default.svc",
      "service-account-key-file": key,
      "service-account-signing-key-file": key,
    }),
  ];
  // The guard of each removes its folder should this process die; the rest of the folder goes with etcd's.
  const etcd = await Guarded.start(etcdCommand, {}, folder);
  const apiServer = await Guarded.start(command, {}, join(folder, "run"));
  return { folder, url: `https://127.0.0.1:${port}`, token, etcd, apiServer, command };
}

/** The status code of a GET. */
function status(url: string, ca: string, token: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const call = request(url, { ca, headers, agent: false, timeout: 5_000 }, (answer) => {
      answer.resume();
      answer.once("error", reject);
      answer.once("end", () => resolve(String(answer.statusCode)));
    });
    call.once("timeout", () => call.destroy(new Error(`${url}: no answer within 5 s`)));
    call.once("error", reject);
    call.end();
  });
}
