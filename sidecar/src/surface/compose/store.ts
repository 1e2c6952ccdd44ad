import { messageWithHint } from "../../base/errors.js";
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
  /** Why calls are being tried again, until one succeeds. */
  readonly trouble: () => string | undefined;
}

/** The first failures of a call are every day's business of a store. */
const TRIES_QUIET = 2;
const wellOutcomes: ReadonlySet<string> = new Set(["ok", "exists", "absent"]);

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
  let trouble: string | undefined;
  const onRetry = ({ operation, key, attempt, pauseMs, error }: Retry): void => {
    watcher?.retried(operation, error.code);
    const level = attempt <= TRIES_QUIET ? "debug" : "warn";
    if (attempt > TRIES_QUIET) trouble = messageWithHint(error);
    logger[level](
      { operation, key, attempt, pauseMs: Math.round(pauseMs), code: error.code },
      `${error.message} Trying again.`,
    );
  };
  const opened = await openBucket(bucketConfig(config), { clock, random, onRetry });
  const observer: BucketObserver = {
    onCall: (call) => {
      if (wellOutcomes.has(call.outcome)) trouble = undefined;
      watcher?.onCall(call);
    },
  };
  const single = observed(opened, { clock, observer });
  return { single, steady: retrying(single, { clock, random, onRetry }), onRetry, trouble: () => trouble };
}
