import { afterAll, beforeAll } from "@jest/globals";
import type { Cluster } from "../cluster/cluster.js";
import { clusterOf } from "../cluster/provider.js";
import { scenario } from "../cluster/scenario.js";
import { StoreServer } from "../servers/server.js";
import { loadImages } from "./images.js";

/** Everything that is needed, built on a machine that never did. */
const BUILD_MS_MAX = 50 * 60_000;
const END_MS_MAX = 120_000;

export interface Stage {
  readonly cluster: Cluster;
  readonly store: StoreServer;
}

/** For a file of scenarios: a cluster of its own with the images on its nodes, and an object store beside it. `begin`: what else is there before the first. Gives what adds a scenario. */
export function stage(
  nodes: number,
  begin: (stage: Stage) => Promise<void>,
): (name: string, body: () => Promise<void>) => void {
  let cluster: Cluster;
  let store: StoreServer;
  beforeAll(async () => {
    cluster = clusterOf();
    await cluster.build();
    await cluster.up(nodes);
    await loadImages(cluster);
    store = await StoreServer.start("versitygw", cluster.hostAddress);
    await begin({ cluster, store });
  }, BUILD_MS_MAX);
  afterAll(async () => {
    await cluster?.down();
    await store?.stop();
  }, END_MS_MAX);
  return (name, body) => scenario(() => cluster, name, body);
}
