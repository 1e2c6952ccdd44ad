import { KubeConfig } from "@kubernetes/client-node";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import { customResourceDefinition } from "../../../crds/src/crd.js";
import type { Json, Kind } from "../../../e2e/cluster/api-reader.js";
import { startApiServer, type ApiServer } from "../../../e2e/cluster/api-server.js";
import { untilEstablished } from "../../../e2e/cluster/established.js";
import { sharingConnections } from "../kube/connections.js";
import { Operator } from "../operator.js";
import { PlayedPods } from "./played-pods.js";

export type { Json };

const LOOKS = 300;
const LOOK_MS = 100;
const quickstart = parse(
  readFileSync(join(import.meta.dirname, "..", "..", "..", "examples", "quickstart.yaml"), "utf8"),
) as Json;

function at(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((found, step) => (found as Json | undefined)?.[step], value);
}

/** An API server, an operator that looks after it, and one resource with the pods that a test plays. */
export class OperatorStage {
  readonly server: ApiServer;
  readonly #config: KubeConfig;
  readonly #said: string[] = [];
  #count = 0;
  name = "";
  /** What the operator takes itself for. */
  leads = true;
  pods: PlayedPods;
  operator: Operator;

  private constructor(server: ApiServer) {
    this.server = server;
    this.#config = sharingConnections(new KubeConfig());
    this.#config.loadFromFile(server.kubeconfig);
    this.pods = new PlayedPods(server, "none");
    this.operator = this.#make();
  }

  static async start(): Promise<OperatorStage> {
    const server = await startApiServer();
    await server.kubectl(["create", "-f", "-"], JSON.stringify(customResourceDefinition()));
    await untilEstablished(server, "metamasterclusters.metamaster.io");
    return new OperatorStage(server);
  }

  /** A resource of its own, not applied yet. */
  async begin(): Promise<void> {
    this.#said.length = 0;
    this.leads = true;
    this.name = `meta${++this.#count}`;
    this.pods = new PlayedPods(this.server, this.name);
    this.operator = this.#make();
    await this.operator.start();
  }

  async end(): Promise<void> {
    await this.operator.stop();
    await this.server.kubectl(["delete", "mmc", "--all", "--all-namespaces", "--wait=false"]);
    const left = await this.server.kubectl(["get", "mmc", "-A", "-o", "jsonpath={.items[*].metadata.name}"]);
    for (const name of left.split(" ").filter((each) => each !== ""))
      await this.patch("mmc", { metadata: { finalizers: [] } }, name).catch(() => "");
    await this.server.kubectl(["delete", "pods,statefulsets", "--all", "--force", "--grace-period=0"]);
  }

  /** The quick start's, with other parts of its spec. */
  async apply(changes: Json = {}, name = this.name, namespace = "default"): Promise<void> {
    const copy = structuredClone(quickstart);
    copy["metadata"] = { name, namespace };
    copy["spec"] = { ...(copy["spec"] as Json), bucket: { url: `s3://my-bucket/${namespace}/${name}` }, ...changes };
    await this.server.kubectl(["apply", "-f", "-"], JSON.stringify(copy));
  }

  /** The master's container of the quick start, with more in it. */
  template(container: Json, pod: Json = {}): Json {
    const { template } = structuredClone(quickstart)["spec"] as { template: { spec: { containers: Json[] } & Json } };
    const [master] = template.spec.containers;
    return { template: { spec: { ...template.spec, ...pod, containers: [{ ...master, ...container }] } } };
  }

  async get(kind: Kind, which = this.name, namespace = "default"): Promise<Json> {
    return await this.server.api.get(kind, which, namespace);
  }

  async patch(kind: string, change: Json, which = this.name): Promise<void> {
    await this.server.kubectl(["patch", kind, which, "--type=merge", "-p", JSON.stringify(change)]);
  }

  async none(kind: Kind, which = this.name): Promise<boolean> {
    return (await this.server.api.find(kind, which)) === undefined;
  }

  /** Status, reason and message of a condition, in one line. */
  async condition(type: string, which = this.name, namespace = "default"): Promise<string> {
    const found = at(await this.get("mmc", which, namespace), "status.conditions") as Json[] | undefined;
    const { status, reason, message } = found?.find((each) => each["type"] === type) ?? {};
    return [status, reason, message].map((each) => (typeof each === "string" ? each : "")).join(" ");
  }

  /** What is done, and told by an event, stands in the status a moment later. */
  async untilCondition(type: string, says: RegExp): Promise<void> {
    let last = "";
    const holds = async (): Promise<boolean> => says.test((last = await this.condition(type)));
    await this.until(`${type} says ${String(says)}`, holds).catch((error: unknown) => {
      throw new Error(`${type} says ${last}`, { cause: error });
    });
  }

  /** Of the events about the resource. */
  async eventReasons(): Promise<string[]> {
    const about = `involvedObject.name=${this.name}`;
    const found = ["get", "events", "--field-selector", about, "-o", "jsonpath={.items[*].reason}"];
    return (await this.server.kubectl(found)).split(" ");
  }

  /** All of them follow the first, and the StatefulSet's controller has seen what there is. */
  async running(members: number, revision = "r1"): Promise<void> {
    await this.until("the StatefulSet is there", async () => !(await this.none("statefulset")));
    for (let ordinal = 0; ordinal < members; ordinal++) {
      this.pods.be(ordinal, ordinal === 0 ? "Primary" : "Standby", 9);
      await this.pods.make(ordinal, revision);
    }
    await this.seen(revision);
  }

  async seen(updateRevision: string): Promise<void> {
    const { generation } = (await this.get("statefulset"))["metadata"] as { generation: number };
    const status = { observedGeneration: generation, updateRevision, replicas: 0 };
    const patch = JSON.stringify({ status });
    await this.server.kubectl(["patch", "statefulset", this.name, "--subresource=status", "--type=merge", "-p", patch]);
  }

  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    for (let looks = 0; looks < LOOKS; looks++) {
      if (await holds().catch(() => false)) return;
      await sleep(LOOK_MS);
    }
    throw new Error(`waited in vain until ${what}\n${this.#said.join("\n")}`);
  }

  #make(): Operator {
    const say = (fields: object, message: string): void =>
      void this.#said.push(`${message} ${JSON.stringify(fields).slice(0, 2000)}`);
    const logger = { debug: () => undefined, info: say, warn: say, error: say };
    const settings = { image: "metamaster:test", namespace: undefined, clusterWide: true };
    const leads = (): boolean => this.leads;
    return new Operator(settings, this.#config, logger, (url) => this.pods.ask(url), leads);
  }
}
