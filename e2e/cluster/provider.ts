import type { Cluster } from "./cluster.js";
import { KindCluster } from "./kind/kind.js";
import { LocalCluster } from "./local/local.js";

/** By `PROVIDER`: `local` (the default) or `kind`. */
export function clusterOf(provider = process.env["PROVIDER"] ?? "local"): Cluster {
  if (provider === "local") return new LocalCluster((line) => console.log(line));
  if (provider === "kind") return new KindCluster();
  throw new Error(`PROVIDER=${provider}: there are local and kind`);
}
