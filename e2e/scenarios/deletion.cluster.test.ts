import { expect } from "@jest/globals";
import { readCluster } from "../../sidecar/src/log/cluster-identity.js";
import type { Cluster } from "../cluster/cluster.js";
import { waitFor } from "../cluster/wait.js";
import { secretKey, type StoreServer } from "../servers/server.js";
import { open } from "../servers/stores.js";
import { Client } from "./client.js";
import { installOperator, Meta, putSecret } from "./product.js";
import { stage } from "./stage.js";

// What is left when a resource is deleted with its data: nothing.
const WAIT_MS_MAX = 240_000;
/** A changed Secret takes a minute or so to a pod, and the kubelet's pause between tries grows to five. */
const MENDED_MS_MAX = 480_000;
const NODES = 2;
const never = new AbortController().signal;

let cluster: Cluster;
let store: StoreServer;
let meta: Meta;

const on = stage(NODES, async (up) => {
  ({ cluster, store } = up);
  await installOperator(cluster);
  meta = await Meta.make(cluster, store, "meta", { replicas: 2, spec: { deletionPolicy: "Delete" } });
  await meta.apply();
  await meta.settled(2);
});

async function keys(): Promise<readonly string[]> {
  const bucket = await open(meta.bucket);
  try {
    return (await bucket.list("", {})).objects.map(({ key }) => key);
  } finally {
    await bucket.close();
  }
}

async function uid(): Promise<string | undefined> {
  const bucket = await open(meta.bucket);
  try {
    return (await readCluster(bucket, never))?.uid;
  } finally {
    await bucket.close();
  }
}

async function written(name: string): Promise<void> {
  const client = new Client(meta);
  try {
    await client.writes();
    expect(await client.missing(name)).toEqual([]);
  } finally {
    await client.end();
  }
}

async function expectNothingLeft(): Promise<void> {
  expect(await keys()).toEqual([]);
  const ours = "metamaster.io/cluster=meta";
  const kinds = "mmc,pods,pvc,jobs,statefulsets,configmaps,serviceaccounts,roles,rolebindings";
  await waitFor("what the resource owned is gone, too", WAIT_MS_MAX, async () => {
    const left = await cluster.kubectl(["get", kinds, "-l", ours, "-o", "name"]);
    if (left.trim() !== "") throw new Error(left);
    return true;
  });
  expect(await cluster.kubectl(["get", "mmc", "--ignore-not-found", "-o", "name"])).toBe("");
}

on("deleted with its data: bucket, volumes and resource are gone, and applied again it begins anew", async () => {
  await written("deleted with its data");
  const before = await uid();
  expect(before).toBeDefined();
  await cluster.kubectl(["delete", "mmc", "meta", "--timeout=240s"]);
  await expectNothingLeft();
  await meta.apply();
  await meta.settled(2);
  expect(await uid()).not.toBe(before);
  await written("begun anew");
});

on(
  "deleted in the foreground, with credentials that are refused: told, and finished once they are mended",
  async () => {
    await putSecret(cluster, "wrong");
    await cluster.kubectl(["delete", "mmc", "meta", "--cascade=foreground", "--wait=false"]);
    await waitFor("it says why it is stuck", WAIT_MS_MAX, async () => {
      if ((await meta.condition("Degraded")) !== "True PurgeFailed") throw new Error(await meta.message("Progressing"));
      return true;
    });
    expect(await meta.message("Degraded")).toMatch(
      /can't be emptied: .*what to do: .*set spec.deletionPolicy to Retain/,
    );
    expect((await keys()).length).toBeGreaterThan(3);
    await putSecret(cluster, secretKey);
    await waitFor("it is gone", MENDED_MS_MAX, async () => {
      if ((await cluster.api.find("mmc", "meta")) !== undefined)
        throw new Error(`${await meta.message("Degraded")} ${await meta.message("Progressing")}`);
      return true;
    });
    await expectNothingLeft();
  },
);
