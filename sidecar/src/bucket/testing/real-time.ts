import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import type { Clock } from "../../base/clock.js";
import type { Random } from "../../base/random.js";

/** For tests against real files and servers. */
export const realClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  sleep: async (ms, signal) => {
    signal?.throwIfAborted();
    // Unlike our contract, node:timers wraps the reason in an AbortError.
    await setTimeout(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      throw signal?.aborted === true ? signal.reason : error;
    });
  },
};

export const realRandom: Random = {
  float: () => Math.random(),
  bytes: (count) => randomBytes(count),
};
