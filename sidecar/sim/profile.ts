import type { FaultWeights } from "./fault-kinds.js";
import { noFaults, type NetworkFaults } from "./network.js";
import type { FileSystemTiming } from "./file-system.js";
import { masterProfile, type MasterProfile } from "./master/profile.js";
import type { SeededRandom } from "./random.js";

export const dataDirectory = "/data";

interface Adoption {
  /** Of the master that ran before. */
  readonly steps: number;
  /** Another member has databases too: others, or a copy of the same. */
  readonly second: "None" | "Others" | "Copy";
  /** So many uses of disk and bucket after its start the adopting sidecar dies. */
  readonly diesAt: number | undefined;
}

/** How a cluster is deleted. */
export interface PurgePlan {
  /** After the beginning, milliseconds. */
  readonly atMs: number;
  /** What is done to its members before. */
  readonly members: "Stopped" | "Killed" | "Alive";
  /** One of them is started all the same, so long after. */
  readonly revivesMs: number | undefined;
  readonly evenIfAlive: boolean;
  /** What is done where it is refused. */
  readonly refused: "GiveUp" | "Insist" | "Stop";
  /** It dies so many times, each time within so many requests. */
  readonly deaths: number;
  readonly diesWithin: number;
  /** Longer than any request takes to land. */
  readonly settleMs: number;
  /** Somewhat shorter: see src/log/still-there.ts. */
  readonly silenceMs: number;
  /** Another cluster begins below the same prefix. */
  readonly again: boolean;
}

/** How a cluster begins with the state of another one. */
export interface SeedPlan {
  /** After the beginning of the source, milliseconds. */
  readonly atMs: number;
  /** The newest state, or that share of the log; beyond 1 there is nothing yet. */
  readonly slotShare: number | undefined;
  /** What becomes of the source's members when the new cluster begins. */
  readonly source: "Lives" | "Stopped" | "Killed" | "Purged";
  /** What becomes of its prefix, when, and how long. Damage that is for ever is one that the new cluster must wait for. */
  readonly trouble: "None" | "Away" | "Damaged";
  readonly troubleMs: number;
  readonly mendMs: number | undefined;
  /** The one that is named comes so much later than the others. */
  readonly lateMs: number;
  /** It dies so many times, each time within so many uses of disk and bucket after its start. */
  readonly deaths: number;
  readonly diesWithin: number;
  /** Such a death is one of the whole machine. */
  readonly powerShare: number;
}

/** What a seed's story is about. */
export const families = ["Cluster", "Purge", "Seed"] as const;
export type Family = (typeof families)[number];

/** All that one seed fixes before anything runs. */
export interface Profile {
  readonly family: Family;
  /** With family `Purge`. */
  readonly purge: PurgePlan | undefined;
  /** With family `Seed`. */
  readonly seed: SeedPlan | undefined;
  readonly members: number;
  readonly leaseMs: number;
  readonly onBucketLoss: "Fence" | "Hold";
  /** `Lease`: through a simulated API server. */
  readonly election: "Log" | "Lease";
  readonly chaosMs: number;
  /** On average. */
  readonly faultEveryMs: number;
  /** How long a machine stands still at most, or stays away. */
  readonly pauseMsMax: number;
  /** Weights, instead of the dice's. */
  readonly faults?: Partial<FaultWeights>;
  /** Somebody comes whose `cluster.json` is another cluster's. */
  readonly foreigner: boolean;
  /** The first member has databases that are older than the cluster, and every member has `bootstrap: adopt`. */
  readonly adopts: Adoption | undefined;
  readonly network: NetworkFaults;
  readonly files: FileSystemTiming;
  readonly master: MasterProfile;
  readonly ship: {
    readonly maxDelayMs: number;
    readonly maxSpoolBytes: number;
    readonly checkpointIntervalMs: number;
    readonly checkpointWalBytes: number;
    readonly parallel: number;
    readonly entryBodyBytesMax: number;
    readonly baseAfterSlots: number;
    readonly baseAfterBytes: number;
  };
  readonly retention: {
    readonly snapshots: number;
    readonly windowMs: number;
    readonly graceMs: number;
    readonly intervalMs: number;
  };
}

/** Nothing may be deleted sooner than an end of the log is believed without a look behind it (replica/entry-stream.ts). */
const graceMsMin = 31_000;

export function profileOf(random: SeededRandom, family: Family = familyOf(random)): Profile {
  const plain = plainProfile(random);
  if (family === "Purge") return withPurge(plain, random.stream("purge"));
  return family === "Seed" ? withSeed(plain, random.stream("seed")) : plain;
}

function familyOf(random: SeededRandom): Family {
  return random.stream("family").weighted({ Cluster: 85, Purge: 8, Seed: 7 });
}

/** Everything that is late lands before a purge begins to delete, and some members sleep longer than that. */
function withPurge(profile: Profile, random: SeededRandom): Profile {
  const lateMsMax = Math.min(3000, profile.network.lateMsMax);
  const settleMs = lateMsMax + 1500;
  const members = random.weighted({ Stopped: 3, Killed: 2, Alive: 3 });
  return {
    ...profile,
    family: "Purge",
    onBucketLoss: random.pick(["Fence", "Hold"]),
    // Who sleeps, or does not hear of it, is what a purge has to fear.
    ...(random.chance(0.5)
      ? { faults: { cut: 4, freeze: 2, freezeSidecar: 1, stop: 1, crash: 1, switchover: 1 } }
      : {}),
    foreigner: false,
    adopts: undefined,
    chaosMs: Math.max(profile.chaosMs, 4 * profile.leaseMs),
    pauseMsMax: Math.max(profile.pauseMsMax, random.chance(0.5) ? 4 * settleMs : 0),
    network: { ...profile.network, lateMsMax },
    purge: {
      atMs: random.float() * 5 * profile.leaseMs,
      members,
      revivesMs: members !== "Alive" && random.chance(0.3) ? random.float() * 3 * settleMs : undefined,
      evenIfAlive: random.chance(members === "Alive" ? 0.6 : 0.2),
      refused: random.pick(["GiveUp", "Insist", "Stop"]),
      deaths: random.pick([0, 1, 2, 4]),
      diesWithin: random.pick([10, 40, 120]),
      settleMs,
      silenceMs: settleMs * 0.75,
      again: random.chance(0.6),
    },
  };
}

function withSeed(profile: Profile, random: SeededRandom): Profile {
  const { leaseMs, master } = profile;
  return {
    ...profile,
    family: "Seed",
    members: random.pick([1, 2, 3]),
    foreigner: false,
    adopts: undefined,
    chaosMs: random.between(3, 6) * leaseMs,
    // The rows of the beginning are to be found again.
    master: { ...master, workload: { ...master.workload, forgetsOnReopen: false } },
    seed: {
      atMs: random.between(2, 6) * leaseMs,
      slotShare: random.chance(0.4) ? random.float() * 1.1 : undefined,
      source: random.weighted({ Lives: 4, Stopped: 2, Killed: 1, Purged: 1 }),
      trouble: random.pick(["None", "Away", "Damaged"]),
      troubleMs: random.chance(0.5) ? 0 : random.float() * leaseMs,
      mendMs: random.chance(0.8) ? random.float() * 4 * leaseMs : undefined,
      lateMs: random.chance(0.5) ? random.float() * 3 * leaseMs : 0,
      deaths: random.pick([0, 1, 3, 6]),
      diesWithin: random.pick([60, 200, 500]),
      powerShare: random.pick([0, 0.3, 1]),
    },
  };
}

function plainProfile(random: SeededRandom): Profile {
  const leaseMs = random.pick([1000, 1000, 2000]);
  // Now and then slowly and for long, so that grace periods end and what was doomed is deleted.
  const long = random.chance(0.04);
  return {
    family: "Cluster",
    purge: undefined,
    seed: undefined,
    members: random.pick([3, 3, 3, 4, 5]),
    leaseMs,
    onBucketLoss: random.chance(0.9) ? "Fence" : "Hold",
    election: random.stream("election").chance(0.35) ? "Lease" : "Log",
    chaosMs: long ? random.between(60, 120) * 1000 : random.between(3, 7) * leaseMs,
    faultEveryMs: long ? 6000 : random.pick([0.3, 1, 3]) * leaseMs,
    pauseMsMax: long ? 45_000 : 3 * leaseMs,
    foreigner: random.chance(0.1),
    adopts: random.stream("adoption").chance(0.12) ? adoptionOf(random.stream("how it adopts")) : undefined,
    network: networkOf(random),
    files: {
      slowShare: random.pick([0, 0.02, 0.1]),
      slowMsMax: random.pick([1, 10]),
      watchDelayMsMax: 20,
      watchLostShare: 0.3,
    },
    master: masterProfile(random.stream("master"), dataDirectory, long),
    ship: {
      maxDelayMs: random.pick([5, 50, 200]),
      maxSpoolBytes: random.pick([1500, 20_000, 1e9]),
      checkpointIntervalMs: random.pick([300, 2000, 20_000]),
      checkpointWalBytes: random.pick([2000, 20_000, 1e6]),
      parallel: random.pick([1, 4]),
      entryBodyBytesMax: random.pick([16_384, 65_536, 8 * 1024 * 1024]),
      baseAfterSlots: random.pick([5, 50, 4096]),
      baseAfterBytes: random.pick([2000, 20_000, 1e9]),
    },
    retention: {
      snapshots: random.pick([1, 2, 3]),
      windowMs: random.pick([0, 2000]),
      graceMs: graceMsMin,
      intervalMs: random.pick([300, 2000]),
    },
  };
}

function adoptionOf(random: SeededRandom): Adoption {
  return {
    steps: random.between(80, 300),
    second: random.pick(["None", "Others", "Copy"]),
    diesAt: random.chance(0.7) ? random.between(0, 250) : undefined,
  };
}

function networkOf(random: SeededRandom): NetworkFaults {
  const kind = random.weighted({ good: 3, flaky: 4, awful: 2 });
  if (kind === "good") return noFaults;
  const much = kind === "awful" ? 4 : 1;
  const share = (most: number): number => random.float() * most * much;
  return {
    delayMsMax: random.pick([4, 20, 60]),
    listDelayMsMax: random.pick([8, 200]),
    failedShare: share(0.05),
    lostAnswerShare: share(0.03),
    lateShare: share(0.01),
    lateMsMax: random.pick([200, 3000, 20_000]),
    duplicatedShare: share(0.03),
    flippedShare: share(0.01),
    deadlineMs: random.pick([200, 600]),
  };
}
