import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { parse } from "yaml";

const CALL_MS_MAX = 10_000;

/** Where the API has what kubectl calls so. */
const KINDS = {
  clusterrolebinding: "apis/rbac.authorization.k8s.io/v1 clusterrolebindings",
  configmap: "api/v1 configmaps",
  event: "api/v1 events",
  job: "apis/batch/v1 jobs",
  lease: "apis/coordination.k8s.io/v1 leases",
  node: "api/v1 nodes",
  mmc: "apis/metamaster.io/v1alpha1 metamasterclusters",
  pod: "api/v1 pods",
  pdb: "apis/policy/v1 poddisruptionbudgets",
  pvc: "api/v1 persistentvolumeclaims",
  role: "apis/rbac.authorization.k8s.io/v1 roles",
  rolebinding: "apis/rbac.authorization.k8s.io/v1 rolebindings",
  secret: "api/v1 secrets",
  service: "api/v1 services",
  serviceaccount: "api/v1 serviceaccounts",
  statefulset: "apis/apps/v1 statefulsets",
} as const;

/** In no namespace. */
const GLOBAL: ReadonlySet<string> = new Set(["clusterrolebinding", "node"]);

export type Kind = keyof typeof KINDS;
export type Json = Record<string, unknown>;

interface Credentials {
  readonly server: string;
  readonly ca: Buffer;
  readonly cert?: Buffer | undefined;
  readonly key?: Buffer | undefined;
  readonly token?: string | undefined;
}

/**
 * Reads objects as an administrator, by calls of this process: a kubectl takes a tenth of a second of a processor, and who looks several times a second takes it from what he looks at.
 * What is changed is changed by kubectl, as a person would.
 */
export class ApiReader {
  readonly #kubeconfig: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 });
  #credentials: Promise<Credentials> | undefined;

  constructor(kubeconfig: string) {
    this.#kubeconfig = kubeconfig;
  }

  /** Throws if it is not there, as for whatever else is refused. */
  async get(kind: Kind, name: string, namespace = "default"): Promise<Json> {
    const found = await this.find(kind, name, namespace);
    if (found === undefined) throw new Error(`there is no ${kind} ${namespace}/${name}`);
    return found;
  }

  /** Undefined if it is not there. */
  async find(kind: Kind, name: string, namespace = "default"): Promise<Json | undefined> {
    return await this.#read(`${pathOf(kind, namespace)}/${encodeURIComponent(name)}`);
  }

  /** `labels`: a selector, as kubectl takes it. */
  async list(kind: Kind, labels = "", namespace = "default"): Promise<readonly Json[]> {
    const query = labels === "" ? "" : `?labelSelector=${encodeURIComponent(labels)}`;
    const found = await this.#read(pathOf(kind, namespace) + query);
    if (found === undefined) throw new Error(`the API server knows no ${kind}`);
    return found["items"] as readonly Json[];
  }

  /** Of a Lease; "": nobody. */
  async holder(lease: string): Promise<string> {
    const { spec } = (await this.get("lease", lease)) as { spec?: { holderIdentity?: string } };
    return spec?.holderIdentity ?? "";
  }

  close(): void {
    this.#agent.destroy();
  }

  async #read(path: string): Promise<Json | undefined> {
    this.#credentials ??= credentialsOf(this.#kubeconfig);
    const credentials = await this.#credentials;
    const { code, text } = await answerOf(this.#agent, credentials, path).catch((error: unknown) => {
      // The API server was started anew since this connection was made.
      if (error instanceof StaleConnection) return answerOf(this.#agent, credentials, path);
      throw error;
    });
    if (code === 404) return undefined;
    if (code !== 200) throw new Error(`GET ${path}: ${code} ${text.slice(0, 1000)}`);
    return JSON.parse(text) as Json;
  }
}

class StaleConnection extends Error {}

function pathOf(kind: Kind, namespace: string): string {
  const [group, plural] = KINDS[kind].split(" ");
  return GLOBAL.has(kind) ? `/${group}/${plural}` : `/${group}/namespaces/${namespace}/${plural}`;
}

function answerOf(
  agent: Agent,
  { server, token, ca, cert, key }: Credentials,
  path: string,
): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const headers = {
      accept: "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
    const options = { agent, ca, cert, key, headers, timeout: CALL_MS_MAX };
    const call = request(`${server}${path}`, options, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.once("error", reject);
      answer.once("end", () => resolve({ code: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    call.once("timeout", () => call.destroy(new Error(`GET ${path}: no answer within ${CALL_MS_MAX / 1000} s`)));
    call.once("error", (error) =>
      reject(call.reusedSocket && Reflect.get(error, "code") === "ECONNRESET" ? new StaleConnection() : error),
    );
    call.end();
  });
}

/** Of its only cluster and user. */
async function credentialsOf(kubeconfig: string): Promise<Credentials> {
  const { clusters, users } = parse(await readFile(kubeconfig, "utf8")) as {
    clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
    users: { user: { token?: string; "client-certificate-data"?: string; "client-key-data"?: string } }[];
  };
  const [cluster, user] = [clusters[0]?.cluster, users[0]?.user];
  if (cluster === undefined || user === undefined) throw new Error(`${kubeconfig} names no cluster and user`);
  return {
    server: cluster.server,
    ca: Buffer.from(cluster["certificate-authority-data"], "base64"),
    cert: decoded(user["client-certificate-data"]),
    key: decoded(user["client-key-data"]),
    token: user.token,
  };
}

function decoded(text: string | undefined): Buffer | undefined {
  return text === undefined ? undefined : Buffer.from(text, "base64");
}
