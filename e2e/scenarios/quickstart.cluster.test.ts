import { expect } from "@jest/globals";
import type { Cluster } from "../cluster/cluster.js";
import { waitFor } from "../cluster/wait.js";
import { fencesOf, textOf } from "../docs/documents.js";
import { secretKey } from "../servers/server.js";
import { newBucket } from "../servers/stores.js";
import { IMAGE, MASTER_IMAGE } from "./images.js";
import { putSecret } from "./product.js";
import { stage } from "./stage.js";

// The README's own commands on an empty cluster. What a reader has to put in is put in: images, bucket, endpoint; and `-w` is left out.
const WAIT_MS_MAX = 240_000;

let cluster: Cluster;
let manifest: string;

const on = stage(2, async (up) => {
  ({ cluster } = up);
  const { url, endpoint = "" } = await newBucket(up.store);
  await putSecret(cluster, secretKey);
  manifest = replaced(textOf("examples/quickstart.yaml"), [
    ["image: metamaster-kv-master:latest", `image: ${MASTER_IMAGE}`],
    ["url: s3://my-bucket/meta", `url: ${url}`],
    ["region: eu-central-1", `region: us-east-1\n    endpoint: ${endpoint}`],
    ["storage: 10Gi", "storage: 1Gi"],
  ]);
});

function replaced(text: string, changes: readonly (readonly [string, string])[]): string {
  return changes.reduce((all, [from, to]) => {
    if (!all.includes(from)) throw new Error(`the example has no ${from} any more`);
    return all.replace(from, to);
  }, text);
}

interface Line {
  readonly words: readonly string[];
  readonly comment: string;
}

function commands(): readonly Line[] {
  const fence = fencesOf("README.md").find(({ text }) => text.startsWith("helm install metamaster"));
  if (fence === undefined) throw new Error("the README has no block that begins with helm install");
  return fence.text.split("\n").map((line) => {
    const [command = "", comment = ""] = line.split("#");
    return { words: command.trim().split(/\s+/), comment: comment.trim() };
  });
}

async function follow({ words: [program, ...args], comment }: Line): Promise<void> {
  const line = args.join(" ");
  if (program === "helm") {
    const [repository = "", tag = ""] = IMAGE.split(/:(?=[^:]+$)/);
    const sets = [`image.repository=${repository}`, `image.tag=${tag}`, "image.pullPolicy=Never"];
    await cluster.helm([...args, ...sets.flatMap((each) => ["--set", each])]);
  } else if (line === "apply -f examples/quickstart.yaml") {
    await cluster.kubectl(["apply", "-f", "-"], manifest);
  } else if (line === "get mmc -w") {
    const shown = await untilReady(3);
    expect(shown.split("\n")[0]?.trim().split(/\s+/)).toEqual(comment.split(/\s+/));
  } else {
    await cluster.kubectl(args);
  }
}

async function untilReady(count: number): Promise<string> {
  return await waitFor(`${count} of ${count} are ready`, WAIT_MS_MAX, async () => {
    const shown = await cluster.kubectl(["get", "mmc"]);
    return new RegExp(`^meta +meta-\\d +${count} +${count} +<1s +1 `, "m").test(shown) ? shown : undefined;
  });
}

on("the README's commands, on an empty cluster: three members, then five, as they are shown", async () => {
  const lines = commands();
  expect(lines.map(({ words }) => words[0])).toEqual(["helm", "kubectl", "kubectl", "kubectl"]);
  for (const line of lines) await follow(line);
  await untilReady(5);
  const conditions = await cluster.kubectl([
    "get",
    "mmc",
    "meta",
    "-o",
    "jsonpath={range .status.conditions[*]}{.type}={.status} {end}",
  ]);
  const primary = await cluster.kubectl(["get", "mmc", "meta", "-o", "jsonpath={.status.primary}"]);
  const status = await cluster.kubectl(["exec", primary, "-c", "metamaster", "--", "metamaster", "status"]);
  expect(status).toMatch(/^role +Primary/m);
  expect(conditions.trim()).toBe(
    "Ready=True PrimaryElected=True Replicating=True BucketReachable=True Progressing=False Degraded=False",
  );
});
