import type { Logger } from "../../base/log.js";
import type { Bucket } from "../../bucket/bucket.js";
import { observed, type BucketObserver } from "../../bucket/observed.js";
import { openBucket } from "../../bucket/open.js";
import { retrying, type Retry } from "../../bucket/retry.js";
import type { LoadedConfig } from "../config/load.js";
import { bucketConfig } from "./settings.js";
import type { System } from "./system.js";

/** The bucket, twice: one try a call, for what decides itself what to try again; and with retries. */
export interface Store {
  readonly single: Bucket;
  readonly steady: Bucket;
  readonly onRetry: (retry: Retry) => void;
}

export interface StoreWatcher extends BucketObserver {
  retried(operation: string, code: string): void;
}

export async function openStore(
  config: LoadedConfig["config"],
  system: System,
  logger: Logger,
  watcher?: StoreWatcher,
): Promise<Store> {
  const { clock, random } = system;
  const onRetry = ({ operation, key, attempt, pauseMs, error }: Retry): void => {
    watcher?.retried(operation, error.code);
    // The first failures of a call are every day's business of a store.
    const level = attempt < 3 ? "debug" : "warn";
    logger[level](
      { operation, key, attempt, pauseMs: Math.round(pauseMs), code: error.code },
      `${error.message} Trying again.`,
    );
  };
  const opened = await openBucket(bucketConfig(config), { clock, random, onRetry });
  const single = watcher === undefined ? opened : observed(opened, { clock, observer: watcher });
  return { single, steady: retrying(single, { clock, random, onRetry }), onRetry };
}
