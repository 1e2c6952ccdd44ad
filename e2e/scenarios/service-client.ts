import { waitFor } from "../cluster/wait.js";
import { IMAGE } from "./images.js";
import { PORT, type Meta } from "./product.js";

const CALL_MS = 1000;
const PAUSE_MS = 50;
const LOOK_MS = 500;
const PREFIX = "service";

/** A connection for each row, as through a proxy: one that is kept open would stay with the pod that it was made to. */
const PROGRAM = `
const { request } = require("node:http");
const [, url] = process.argv;
const put = (key) => new Promise((resolve) => {
  const sent = request(url + key, { method: "PUT", agent: false, timeout: ${CALL_MS} }, (answer) => {
    answer.resume();
    answer.on("end", () => resolve(answer.statusCode === 200));
    answer.on("error", () => resolve(false));
  });
  sent.on("timeout", () => sent.destroy(new Error("no answer")));
  sent.on("error", () => resolve(false));
  sent.end(key);
});
(async () => {
  for (let row = 0; ; row++) {
    const key = "${PREFIX}" + String(row).padStart(9, "0");
    if (await put(key)) console.log(key);
    await new Promise((resolve) => setTimeout(resolve, ${PAUSE_MS}));
  }
})();
`;

/** A client as users have it: a pod that knows nothing but the name of the Service to the primary. */
export class ServiceClient {
  readonly #meta: Meta;
  readonly #name: string;

  private constructor(meta: Meta, name: string) {
    this.#meta = meta;
    this.#name = name;
  }

  static async start(meta: Meta): Promise<ServiceClient> {
    const name = `${meta.name}-client`;
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: {
        restartPolicy: "Never",
        terminationGracePeriodSeconds: 0,
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            name: "client",
            image: IMAGE,
            imagePullPolicy: "Never",
            command: ["/bin/node", "-e", PROGRAM, "--", `http://${meta.name}-primary:${PORT}/kv/`],
            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
          },
        ],
      },
    };
    await meta.cluster.kubectl(["apply", "-f", "-"], JSON.stringify(pod));
    return new ServiceClient(meta, name);
  }

  /** The keys that were acknowledged, so far. */
  async acknowledged(): Promise<readonly string[]> {
    const text = await this.#meta.cluster.kubectl(["logs", this.#name]);
    return text.split("\n").filter((line) => line.startsWith(PREFIX));
  }

  /** Resolves once rows are acknowledged again from now on. */
  async writes(count = 20): Promise<void> {
    const before = await waitFor("the client's pod runs", 120_000, () => this.acknowledged().catch(() => undefined));
    const more = async (): Promise<true | undefined> =>
      (await this.acknowledged()).length >= before.length + count ? true : undefined;
    await waitFor("rows are acknowledged through the Service", 120_000, more, LOOK_MS);
  }

  /** Ends, and gives the acknowledged rows that `keys` lacks. */
  async missing(keys: () => Promise<ReadonlySet<string>>): Promise<readonly string[]> {
    const acknowledged = await this.acknowledged();
    await this.end();
    const there = await keys();
    return acknowledged.filter((key) => !there.has(key));
  }

  async end(): Promise<void> {
    await this.#meta.cluster.kubectl(["delete", "pod", this.#name, "--ignore-not-found", "--timeout=60s"]);
  }
}
