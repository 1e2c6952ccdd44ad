import { expect } from "@jest/globals";
import type { Cluster } from "../cluster/cluster.js";
import { waitFor } from "../cluster/wait.js";
import type { StoreServer } from "../servers/server.js";
import { Client, writing } from "./client.js";
import { IMAGE, NEXT_IMAGE, NEXT_MASTER_IMAGE } from "./images.js";
import { installOperator, Meta } from "./product.js";
import { stage } from "./stage.js";

// What is refused, what is held back, and what is rolled out: what a person reads then says what to do.
const WAIT_MS_MAX = 240_000;
const NODES = [1, 2];

let cluster: Cluster;
let store: StoreServer;
let meta: Meta;

const on = stage(NODES.length, async (up) => {
  ({ cluster, store } = up);
  await installOperator(cluster);
  meta = await Meta.make(cluster, store, "meta", { replicas: 2 });
  await meta.apply();
  await meta.settled(2);
});

async function untilCondition(of: Meta, type: string, wanted: string): Promise<string> {
  await waitFor(`${of.name}: ${type} is ${wanted}`, WAIT_MS_MAX, async () => {
    const found = await of.condition(type);
    if (found !== wanted) throw new Error(`${found}: ${await of.message(type)}`);
    return true;
  });
  return await of.message(type);
}

async function podCount(name: string): Promise<number> {
  const names = await cluster.kubectl(["get", "pods", "-l", `metamaster.io/cluster=${name}`, "-o", "name"]);
  return names.split("\n").filter((each) => each !== "").length;
}

on("what can't be carried out is refused at apply, in words that say what to do; nothing is changed", async () => {
  const before = await meta.pods();
  const refused: readonly (readonly [object, RegExp])[] = [
    [{ bucket: { url: "s3://elsewhere/meta" } }, /bucket.url can't be changed: .*make another resource/],
    [{ bucket: { url: "elsewhere" } }, /spec.bucket.url/],
    [{ replicas: -1 }, /spec.replicas/],
    [{ failover: { leaseDuration: "6s", renewDeadline: "6s" } }, /renewDeadline must be at most four fifths/],
    [{ databases: [] }, /spec.databases/],
    [{ switchover: { target: "meta-1", maxLag: "soon" } }, /must be a duration such as/],
  ];
  for (const [changes, words] of refused) await expect(meta.apply(changes)).rejects.toThrow(words);
  await meta.settled(2);
  expect([...(await meta.pods())]).toEqual([...before]);
});

on("a resource on the prefix of another one is told whose it is, and nothing of it is started", async () => {
  const before = await meta.pods();
  await writing(meta, "one prefix for two", async (client) => {
    const second = await Meta.make(cluster, store, "second", { bucket: meta.bucket });
    await second.apply();
    const message = await untilCondition(second, "Ready", "False SpecInvalid");
    expect(message).toMatch(
      /^spec\.bucket\.url s3:\S+ is, holds or lies in that of default\/meta: .* prefix of its own/,
    );
    await client.writes();
    expect(await podCount("second")).toBe(0);
    await second.remove();
  });
  expect([...(await meta.pods())]).toEqual([...before]);
});

on("a new image of the master is rolled out: every pod is a new one, and no row is lost", async () => {
  const before = await meta.pods();
  meta.change({ masterImage: NEXT_MASTER_IMAGE });
  await writing(meta, "new image", async () => {
    await meta.apply();
    await waitFor("all pods are new", WAIT_MS_MAX, async () => {
      const after = await meta.pods();
      return after.size === 2 && [...after].every(([name, { uid }]) => uid !== before.get(name)?.uid)
        ? true
        : undefined;
    });
    await meta.settled(2);
  });
  const path = "jsonpath={.items[*].spec.containers[0].image}";
  const images = await cluster.kubectl(["get", "pods", "-l", "metamaster.io/cluster=meta", "-o", path]);
  expect(images.split(" ")).toEqual([NEXT_MASTER_IMAGE, NEXT_MASTER_IMAGE]);
});

on("helm upgrades the operator to another image, and no member is restarted", async () => {
  const before = await meta.pods();
  await writing(meta, "upgrade", async () => {
    await installOperator(cluster, NEXT_IMAGE);
    await waitFor("it tells of the older sidecars", WAIT_MS_MAX, async () =>
      (await meta.message("Progressing")).includes(`The members run the sidecar ${IMAGE}`) ? true : undefined,
    );
    await meta.settled(2);
  });
  const path = "jsonpath={.items[*].spec.template.spec.containers[0].image}";
  const images = await cluster.kubectl(["get", "deployment", "-n", "metamaster-system", "-o", path]);
  expect(images).toBe(NEXT_IMAGE);
  expect([...(await meta.pods())]).toEqual([...before]);
});

on("a declared switchover waits for a target that is too far behind, says so, and is made when it is not", async () => {
  const primary = await meta.primary();
  const target = primary === "meta-0" ? "meta-1" : "meta-0";
  const where = (await meta.pods()).get(target)?.node ?? "";
  const node = NODES.map((index) => cluster.node(index)).find(({ name }) => name === where);
  if (node === undefined) throw new Error(`${target} is on no node`);
  await writing(meta, "held back", async (client) => {
    await node.cut("host");
    try {
      await waitFor(`${target} lags`, WAIT_MS_MAX, async () => ((await lagOf(target)) > 5 ? true : undefined));
      await meta.apply({ switchover: { target, maxLag: "1s" } });
      const message = await untilCondition(meta, "Progressing", "True SwitchingOver");
      expect(message).toMatch(new RegExp(`${target} is .* behind, switchover.maxLag allows 1 s`));
      await client.writes();
      expect(await meta.primary()).toBe(primary);
    } finally {
      await node.join();
    }
    await waitFor(`${target} is primary`, WAIT_MS_MAX, async () =>
      (await meta.primary()) === target ? true : undefined,
    );
  });
  await meta.apply();
  await meta.settled(2);
});

async function lagOf(name: string): Promise<number> {
  const { status } = (await meta.get()) as { status?: { members?: { name: string; lagSeconds?: number }[] } };
  return status?.members?.find((each) => each.name === name)?.lagSeconds ?? 0;
}

on(
  "volumes of another cluster on a prefix are refused; deleted and applied again on their own they go on",
  async () => {
    const client = new Client(meta);
    await client.writes();
    await client.end();
    const other = await Meta.make(cluster, store, "other", { replicas: 1 });
    await other.apply();
    await other.settled(1);
    await other.remove();
    const own = meta.bucket;
    await meta.remove(false);

    meta.change({ bucket: other.bucket });
    await meta.apply();
    const message = await untilCondition(meta, "Degraded", "True MemberHalted");
    expect(message).toMatch(/meta-\d is Halted \(.*belongs to .*; what to do: Point `bucket` at this cluster's prefix/);
    expect(await meta.labelled()).toEqual([]);
    await meta.remove(false);

    meta.change({ bucket: own });
    await meta.apply();
    await meta.settled(2);
    expect(await client.missing("retained")).toEqual([]);
  },
);
