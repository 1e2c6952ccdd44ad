import { readFile, stat } from "node:fs/promises";
import { messageOf, MetaMasterError } from "../base/errors.js";

/** How the API server is reached, and as whom. */
export interface KubeAccess {
  /** https://host:port */
  readonly url: string;
  /** Of this pod. */
  readonly namespace: string;
  /** PEM of what signed the server's certificate; asked for before each call, as it may be rotated. */
  ca(): Promise<string>;
  token(): Promise<string>;
}

/** Where the kubelet puts a pod's credentials (kubernetes.io/docs/tasks/run-application/access-api-from-pod). */
const mounted = "/var/run/secrets/kubernetes.io/serviceaccount";
const fileBytesMax = 1 << 20;

/** As every pod is told it. Throws `KubeNotInCluster`. */
export async function inClusterAccess(
  environment: Readonly<Record<string, string | undefined>>,
  directory = mounted,
): Promise<KubeAccess> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = environment;
  if (host === undefined || host === "") {
    throw notInCluster("the variable KUBERNETES_SERVICE_HOST is not set");
  }
  const url = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  if (!URL.canParse(url)) throw notInCluster(`${url} is no address`);
  const [ca, token] = [new RereadFile(`${directory}/ca.crt`), new RereadFile(`${directory}/token`)];
  const namespace = (await new RereadFile(`${directory}/namespace`).read()).trim();
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(namespace)) {
    throw notInCluster(`${directory}/namespace holds no name of a namespace`);
  }
  // What is missing is said now.
  await Promise.all([ca.read(), token.read()]);
  return { url, namespace, ca: () => ca.read(), token: async () => (await token.read()).trim() };
}

/** Read again whenever it was replaced: the kubelet rotates tokens. */
class RereadFile {
  readonly #path: string;
  #seen = "";
  #text = "";

  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<string> {
    try {
      const { ino, mtimeMs, size } = await stat(this.#path);
      const seen = `${ino} ${mtimeMs} ${size}`;
      if (size > fileBytesMax) throw new Error(`it has ${size} bytes`);
      if (seen !== this.#seen) {
        this.#text = await readFile(this.#path, "utf8");
        this.#seen = seen;
      }
      return this.#text;
    } catch (error) {
      throw notInCluster(`${this.#path} can't be read (${messageOf(error)})`);
    }
  }
}

function notInCluster(why: string): MetaMasterError {
  return new MetaMasterError("KubeNotInCluster", "invalid", `This process is in no Kubernetes pod: ${why}.`, {
    hint: "Run it in a pod with a service account whose token is mounted, or elect through the log (`election.type: Log`).",
  });
}
