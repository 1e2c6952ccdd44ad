import type { SeededRandom } from "../random.js";
import type { DatabaseSettings } from "./database.js";
import type { ProcessSettings } from "./process.js";
import type { WorkloadSettings } from "./workload.js";

export interface MasterProfile {
  readonly workload: WorkloadSettings;
  readonly process: ProcessSettings;
}

/** What kind of a master this simulation runs. */
export function masterProfile(random: SeededRandom, dataDirectory: string, slow = false): MasterProfile {
  const journalAndState = random.chance(0.3);
  const shared = {
    manifestBytesMax: random.pick([400, 1500, 1_000_000]),
    flushesOnOpen: random.chance(0.6),
    atomicFlush: random.chance(0.3),
    tornShare: random.pick([0, 0.1, 0.5]),
    syncShare: random.pick([0, 0.3, 1]),
  };
  const path = (index: number): string => `${dataDirectory}/db${index}`;
  const separateWal = random.chance(0.2);
  const walStyle = random.weighted({ Plain: 6, Recycled: 1, Compressed: 1 });
  const databases: DatabaseSettings[] = [
    { ...shared, path: path(0), walPath: separateWal ? `${path(0)}/wal` : path(0), walDisabled: false, walStyle },
  ];
  if (journalAndState)
    databases.push({ ...shared, path: path(1), walPath: path(1), walDisabled: true, walStyle: "Plain" });
  const ingests = !journalAndState && random.chance(0.4);
  const forgets = !journalAndState && !ingests && walStyle === "Plain" && random.chance(0.3);
  return {
    workload: {
      dataDirectory,
      databases,
      ingests,
      addsFamilies: !journalAndState && random.chance(0.5),
      checkpoints: journalAndState && random.chance(0.7),
      note: !forgets && random.chance(0.3),
      noteBytes: random.chance(0.1) ? 300_000 : 0,
      refusesTornTail: random.chance(0.4),
      hugeShare: random.pick([0, 0, 0.02]),
      hugeBytes: 20_000,
      forgetsOnReopen: forgets,
    },
    process: {
      writeEveryMs: random.pick([40, 120, 400]) * (slow ? 10 : 1),
      jobEveryMs: random.pick([100, 300, 1000]) * (slow ? 10 : 1),
      stepMsMax: random.pick([1, 5, 20]),
      barrierShare: random.pick([0.2, 0.6, 1]),
      stopMsMax: random.pick([5, 50, 1000]),
      flushesOnStop: random.chance(0.5),
    },
  };
}
