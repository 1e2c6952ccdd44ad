import { MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import { readCluster } from "../../log/cluster-identity.js";
import { BucketLogReader } from "../../log/log-reader.js";
import type { ClusterIdentity } from "../../log/log.js";
import { Snapshots } from "../../log/snapshots.js";
import type { Layout } from "../../replica/layout.js";
import { ImageLayout } from "../../replica/layout-map.js";
import { LocalFolders } from "../../replica/local-folders.js";
import type { Progress } from "../../replica/progress.js";
import type { ReplicaTools } from "../../replica/tools.js";
import type { LoadedConfig } from "../config/load.js";
import { fetchSettings } from "./settings.js";
import { openStore, type Store } from "./store.js";
import type { System } from "./system.js";

/** What is in a bucket, for reading. */
export interface History {
  readonly store: Store;
  readonly cluster: ClusterIdentity;
  readonly reader: BucketLogReader;
  readonly snapshots: Snapshots;
}

/** The history of the configured bucket, without any part in it; throws `HistoryMissing` if there is none. */
export async function openHistory(
  config: LoadedConfig["config"],
  system: System,
  logger: Logger,
  signal: AbortSignal,
): Promise<History> {
  const store = await openStore(config, system, logger);
  try {
    return historyOf(store, await expectCluster(store, signal), system, logger);
  } catch (error) {
    await store.single.close();
    throw error;
  }
}

async function expectCluster({ steady }: Store, signal: AbortSignal): Promise<ClusterIdentity> {
  const cluster = await readCluster(steady, signal);
  if (cluster === undefined) {
    throw new MetaMasterError("HistoryMissing", "invalid", `There is no cluster in ${steady.url}.`, {
      hint: "Check `bucket.url`; a cluster's history begins with the first `metamaster run`.",
    });
  }
  return cluster;
}

export function historyOf(store: Store, cluster: ClusterIdentity, system: System, logger: Logger): History {
  const { compression, clock } = system;
  const bucket = store.steady;
  const onCorrupt = (error: MetaMasterError): void =>
    logger.warn({ err: error }, `${error.message} It is fetched once more.`);
  return {
    store,
    cluster,
    reader: new BucketLogReader({ cluster, bucket, compression, onCorrupt }),
    snapshots: new Snapshots({ cluster: cluster.uid, bucket, clock, compression }),
  };
}

/** What restoring, following and reconciling take. */
export function replicaTools(
  history: History,
  layout: Layout,
  more: {
    readonly config: LoadedConfig["config"];
    readonly system: System;
    readonly logger: Logger;
    readonly progress: Progress;
  },
): ReplicaTools {
  return {
    fs: more.system.fs,
    clock: more.system.clock,
    bucket: history.store.steady,
    reader: history.reader,
    logger: more.logger,
    progress: more.progress,
    layout: new ImageLayout(layout),
    folders: new LocalFolders(layout.dataDirectory),
    fetch: fetchSettings(more.config),
  };
}
