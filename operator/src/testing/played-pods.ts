import type { ApiServer } from "../../../e2e/cluster/api-server.js";
import type { MemberDocument } from "../controller/member-status.js";

type Role = MemberDocument["role"];

/** Pods of an API server beside which no kubelet and no controller runs: made, told to be somewhere, and given a role by the test. */
export class PlayedPods {
  readonly #server: ApiServer;
  readonly #cluster: string;
  readonly #documents = new Map<string, MemberDocument>();

  constructor(server: ApiServer, cluster: string) {
    this.#server = server;
    this.#cluster = cluster;
  }

  async make(ordinal: number, revision: string, nodeName?: string): Promise<void> {
    const name = `${this.#cluster}-${ordinal}`;
    const labels = { "metamaster.io/cluster": this.#cluster, "controller-revision-hash": revision };
    const node = nodeName === undefined ? {} : { nodeName };
    const spec = { containers: [{ name: "master", image: "none" }], ...node };
    await this.#server.kubectl(
      ["apply", "-f", "-"],
      JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name, labels }, spec }),
    );
    const status = { phase: "Running", podIP: `10.0.0.${ordinal + 1}`, podIPs: [{ ip: `10.0.0.${ordinal + 1}` }] };
    await this.#server.kubectl([
      "patch",
      "pod",
      name,
      "--subresource=status",
      "--type=merge",
      "-p",
      JSON.stringify({ status }),
    ]);
  }

  /** With a pod of that name comes whoever asks. */
  be(ordinal: number, role: Role, slot: number, epoch = 1): void {
    const ship =
      role === "Primary" ? { durableLagSeconds: 0, lastCheckpointSlot: slot, lastCheckpointWallMs: 0 } : undefined;
    this.#documents.set(`http://10.0.0.${ordinal + 1}:8400`, {
      role,
      reason: "played",
      epoch,
      since: "2026-01-01T00:00:00.000Z",
      position: { slot },
      ...(ship === undefined ? {} : { ship }),
    });
  }

  readonly ask = async (url: string): Promise<MemberDocument | undefined> => this.#documents.get(url);
}
