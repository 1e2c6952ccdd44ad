import type { Clock } from "../src/base/clock.js";
import type { FileSystem } from "../src/base/file-system.js";
import type { Bucket } from "../src/bucket/bucket.js";
import type { ImageState } from "../src/formats/image.js";
import type { LeaseStore } from "../src/kube/leases.js";
import type { Claim, ClusterIdentity, LogReader, LogWriter } from "../src/log/log.js";
import type { PurgeComponents, PurgeSettings } from "../src/log/purge/purge.js";
import type { whereStillThere } from "../src/log/still-there.js";
import type { MemberComponents } from "../src/member/context.js";
import type { LeaseWitness } from "../src/member/election/lease-candidate.js";
import type { Election } from "../src/member/election/election.js";
import type { Master } from "../src/member/master/master.js";
import type { MemberSettings } from "../src/member/settings.js";
import type { seed } from "../src/replica/seed.js";
import type { Follower, Shipper } from "../src/replica/replica.js";
import type { Depot } from "./object-store.js";
import type { Family, Profile } from "./profile.js";
import type { SeededRandom } from "./random.js";

/** Of the process in which the bug is. */
export interface MutationParts {
  readonly bucket: Bucket;
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly random: SeededRandom;
}

type Seed = typeof seed;

/** A planted bug: parts of the real code, replaced or wrapped from outside. Nothing here: the code as it is. */
export interface Mutation {
  /** Circumstances in which the bug shows sooner; the code without it must bear them as well. */
  readonly adjust?: (profile: Profile) => Profile;
  /** `Cluster`, if nothing is said. */
  readonly family?: Family;
  /** Changes the code itself; returns what undoes it. */
  readonly install?: () => () => void;
  readonly fs?: (fs: FileSystem) => FileSystem;
  readonly bucket?: (bucket: Bucket) => Bucket;
  /** The identity by which this process reads the log. */
  readonly readsAs?: (cluster: ClusterIdentity, bucket: Bucket, signal: AbortSignal) => Promise<ClusterIdentity>;
  readonly reader?: (reader: LogReader, parts: MutationParts) => LogReader;
  readonly claim?: (claim: Claim, reader: LogReader) => Claim;
  readonly writer?: (writer: LogWriter, parts: MutationParts) => LogWriter;
  readonly shipper?: (shipper: Shipper) => Shipper;
  readonly follower?: (follower: Follower) => Follower;
  readonly leases?: (store: LeaseStore) => LeaseStore;
  readonly witness?: (witness: LeaseWitness, store: LeaseStore, parts: MutationParts) => LeaseWitness;
  readonly election?: (election: Election, parts: MutationParts) => Election;
  readonly master?: (master: Master) => Master;
  readonly settings?: (settings: MemberSettings) => MemberSettings;
  readonly components?: (components: MemberComponents) => MemberComponents;
  /** Of the whole process. */
  readonly clock?: (clock: Clock) => Clock;
  readonly collectorClock?: (clock: Clock) => Clock;
  /** Of the process that deletes the cluster. */
  readonly purgeBucket?: (bucket: Bucket, depot: Depot) => Bucket;
  readonly purgeSettings?: (settings: PurgeSettings) => PurgeSettings;
  readonly purgeComponents?: (components: PurgeComponents) => PurgeComponents;
  /** How a member sees to it that its cluster was not deleted. */
  readonly whereStillThere?: typeof whereStillThere;
  /** How a directory is filled with another cluster's state. */
  readonly seed?: (seed: Seed) => Seed;
  /** What garbage is reckoned from. */
  readonly collectorImage?: (image: ImageState) => ImageState;
}

export const noMutation: Mutation = {};

/** These faults alone, and the lease kept by the book. */
export function withFaults(profile: Profile, faults: NonNullable<Profile["faults"]>): Profile {
  return { ...profile, onBucketLoss: "Fence", faultEveryMs: profile.leaseMs / 2, faults };
}
