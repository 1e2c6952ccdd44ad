import { mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ApiServer } from "../cluster/api-server.js";
import { MemberProcess, until } from "./member-process.js";

export type Rule = Readonly<Record<"apiGroups" | "resources" | "verbs", readonly string[]>> & {
  readonly resourceNames?: readonly string[];
};

/** Members beside a real API server: each in a pod that is an object only, all with one service account's rights. */
export class PodObjects {
  readonly server: ApiServer;
  readonly #token: string;

  private constructor(server: ApiServer, token: string) {
    this.server = server;
    this.#token = token;
  }

  static async create(server: ApiServer, rules: readonly Rule[]): Promise<PodObjects> {
    const kubeconfig = await readFile(await server.kubeconfigOf("default", "member"), "utf8");
    const pods = new PodObjects(server, /token"?: "?([^"\s]+)/.exec(kubeconfig)?.[1] ?? "");
    await pods.allow(rules);
    await server.kubectl(["create", "rolebinding", "member", "--role=member", "--serviceaccount=default:member"]);
    return pods;
  }

  /** These rights and no others. */
  async allow(rules: readonly Rule[]): Promise<void> {
    const metadata = { name: "member", namespace: "default" };
    const role = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "Role", metadata, rules };
    await this.server.kubectl(["apply", "-f", "-"], JSON.stringify(role));
  }

  /** Makes the pod; gives its UID. */
  async make(name: string): Promise<string> {
    const metadata = { name, namespace: "default", labels: { "metamaster.io/cluster": "test" } };
    const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [{ name: "master", image: "x" }] } };
    await this.server.kubectl(["apply", "-f", "-"], JSON.stringify(pod));
    return await this.uidOf(name);
  }

  /** A member that takes itself to be in a new pod. */
  async member(root: string, name: string, lease: string): Promise<MemberProcess> {
    const uid = await this.make(name);
    const serviceAccount = join(root, `${name}-account`);
    mkdirSync(serviceAccount);
    writeFileSync(join(serviceAccount, "token"), this.#token);
    writeFileSync(join(serviceAccount, "ca.crt"), this.server.ca);
    writeFileSync(join(serviceAccount, "namespace"), "default");
    const { hostname, port } = new URL(this.server.url);
    const environment = {
      KUBERNETES_SERVICE_HOST: hostname,
      KUBERNETES_SERVICE_PORT: port,
      METAMASTER_ELECTION_TYPE: "Lease",
      METAMASTER_ELECTION_POD_UID: uid,
      METAMASTER_ELECTION_SERVICE_ACCOUNT: serviceAccount,
    };
    return new MemberProcess({ name, root, lease, environment });
  }

  /** Empty: there is no such pod. */
  async uidOf(pod: string): Promise<string> {
    return await this.server.kubectl(["get", "pod", pod, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"]);
  }

  async annotations(pod: string): Promise<Readonly<Record<string, string>>> {
    const text = await this.server.kubectl(["get", "pod", pod, "-o", "json"]);
    const { metadata } = JSON.parse(text) as { metadata: { annotations?: Record<string, string> } };
    return metadata.annotations ?? {};
  }

  async untilGone(pod: string, uid: string, context: () => string = () => ""): Promise<void> {
    await until(`pod ${pod} is deleted`, async () => ((await this.uidOf(pod)) === uid ? undefined : true), context);
  }

  async clear(): Promise<void> {
    await this.server.kubectl(["delete", "pods,leases", "--all", "--force", "--grace-period=0"]);
  }
}
