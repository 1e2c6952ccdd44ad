import type { Cluster, Stage } from "./cluster.js";
import type { SeedOrigin } from "./machine.js";
import type { Profile } from "./profile.js";

/** What a story is told with. */
export interface Play {
  readonly stage: Stage;
  readonly profile: Profile;
  /** From the last fault to whatever must come of itself, at most. */
  readonly recoveryMs: number;
  /** `seed`: it begins with another one's state. */
  addCluster(prefix: string, letter: string, seed?: SeedOrigin): Cluster;
  /** Throws a violation if it is not reached; `mayEnd`: then the time is over, and that is all. */
  until(what: string, forMs: number, reached: () => boolean, mayEnd?: boolean): Promise<void>;
  /** No more faults: it acknowledges again, and at last all of its members agree. */
  liveOn(cluster: Cluster): Promise<void>;
}
