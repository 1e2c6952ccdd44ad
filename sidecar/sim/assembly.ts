import type { Clock } from "../src/base/clock.js";
import { isKind, messageOf, MetaMasterError } from "../src/base/errors.js";
import type { FileSystem } from "../src/base/file-system.js";
import type { Logger } from "../src/base/log.js";
import type { Processes } from "../src/base/processes.js";
import type { Bucket } from "../src/bucket/bucket.js";
import { retrying } from "../src/bucket/retry.js";
import type { WriterId } from "../src/formats/entry.js";
import type { LeaseStore } from "../src/kube/leases.js";
import { makeClaim } from "../src/log/claim.js";
import { Collector } from "../src/log/collector.js";
import { openCluster, readCluster } from "../src/log/cluster-identity.js";
import { BucketLogReader } from "../src/log/log-reader.js";
import { BucketRollCall } from "../src/log/roll-call.js";
import { putDefaults, type PutSettings } from "../src/log/slot-put.js";
import { whereStillThere } from "../src/log/still-there.js";
import { Snapshots } from "../src/log/snapshots.js";
import { FileRecords } from "../src/member/file-records.js";
import type { Election } from "../src/member/election/election.js";
import type { LeaseWitness } from "../src/member/election/lease-candidate.js";
import { LeaseElection } from "../src/member/election/lease-election.js";
import { LogElection } from "../src/member/election/log-election.js";
import type { Master } from "../src/member/master/master.js";
import { Member } from "../src/member/member.js";
import { proven } from "../src/member/proof.js";
import type { MemberComponents, ShipperInput } from "../src/member/context.js";
import type { MemberEnd } from "../src/member/context.js";
import { defaultMemberSettings, type MemberSettings } from "../src/member/settings.js";
import { DirectoryLock } from "../src/replica/directory-lock.js";
import { ImageLayout } from "../src/replica/layout-map.js";
import type { Layout } from "../src/replica/layout.js";
import { LocalFolders } from "../src/replica/local-folders.js";
import { LocalReplica } from "../src/replica/local-replica.js";
import { quarantineDefaults } from "../src/replica/quarantine.js";
import type { Follower, Shipper } from "../src/replica/replica.js";
import { noMetrics } from "../src/replica/ship/settings.js";
import type { SnapshotShelf } from "../src/replica/restore-target.js";
import { seed as seedDirectory, SeedFolders, type SeedParts, type SeedSource } from "../src/replica/seed.js";
import { PrimaryShipper } from "../src/replica/ship/shipper.js";
import { StateStore } from "../src/replica/state.js";
import type { ReplicaTools } from "../src/replica/tools.js";
import { CollectingShipper } from "../src/surface/compose/collecting-shipper.js";
import { EntryMemory } from "../src/formats/entry-codec.js";
import { inlineCompression } from "./compression.js";
import type { Mutation, MutationParts } from "./mutation.js";
import type { Profile } from "./profile.js";
import { SimulatedProof } from "./proof.js";
import type { SeededRandom } from "./random.js";

export interface AssemblyParts {
  readonly name: string;
  readonly nonce: string;
  readonly bootId: string;
  readonly pid: number;
  readonly isAlive: (pid: number) => boolean;
  readonly profile: Profile;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly random: SeededRandom;
  readonly fs: FileSystem;
  /** One attempt a call. */
  readonly bucket: Bucket;
  /** Of the pod. */
  readonly uid: string;
  readonly leases: LeaseStore;
  readonly witness: LeaseWitness;
  readonly master: Master;
  readonly logger: Logger;
  readonly mutation: Mutation;
  readonly signal: AbortSignal;
  /** Another cluster's prefix, and what is to be made of it. */
  readonly seed: { readonly source: SeedSource; readonly bucket: Bucket } | undefined;
  /** The directory holds the state of another cluster, where it did not before. */
  readonly onSeeded: () => void;
  /** A follower looked at the end and has nothing under way: the disk is the image at `slot`. */
  readonly onIdle: (slot: number) => void;
  /** A master is about to open what the disk holds: the image at `slot`, or more of it. */
  readonly onSealed: (slot: number, ahead: boolean) => void;
  /** A claim is made before the bucket was found to keep its promises. */
  readonly onUnproven: () => void;
}

export interface Assembled {
  readonly member: Member;
  run(signal: AbortSignal): Promise<MemberEnd>;
}

function bootstrapOf({
  profile: { adopts },
  seed,
}: Pick<AssemblyParts, "profile" | "seed">): MemberSettings["bootstrap"] {
  return adopts === undefined && seed === undefined ? "New" : "Adopt";
}

function memberSettings(parts: AssemblyParts): MemberSettings {
  const { name, nonce, profile } = parts;
  const { leaseMs } = profile;
  const defaults = defaultMemberSettings({ member: name, nonce }, leaseMs);
  return {
    ...defaults,
    bootstrap: bootstrapOf(parts),
    health: { intervalMs: leaseMs / 8, timeoutMs: leaseMs / 8, failureThreshold: 3 },
    failover: { restartGraceMs: 2 * leaseMs, openTimeoutMs: 8 * leaseMs },
    stop: { graceMs: leaseMs, shipTimeoutMs: 2 * leaseMs },
    switchover: { reservedMs: leaseMs, answerMs: leaseMs },
    killWithinMs: leaseMs / 2,
    saveIntervalMs: leaseMs,
    retry: { minMs: 20, maxMs: leaseMs },
  };
}

function electionOf(parts: AssemblyParts, mutated: MutationParts): Election {
  const { name, nonce, uid, profile, clock, random, logger, mutation } = parts;
  const { leaseMs, onBucketLoss } = profile;
  if (profile.election === "Log") {
    return new LogElection({ member: name, leaseMs, onBucketLoss }, { clock, random, logger });
  }
  const store = mutation.leases?.(parts.leases) ?? parts.leases;
  const witness = mutation.witness?.(parts.witness, store, mutated) ?? parts.witness;
  const times = { leaseMs, renewDeadlineMs: (leaseMs * 2) / 3, retryPeriodMs: (leaseMs * 2) / 15 };
  const settings = { member: name, self: { uid, nonce }, ...times };
  return new LeaseElection(settings, { clock, random: random.stream("lease"), logger, store, witness });
}

function steady(bucket: Bucket, clock: Clock, { random, profile }: AssemblyParts): Bucket {
  return retrying(bucket, {
    clock,
    random,
    policy: {
      attempt: { callMs: 600, minBytesPerSecond: 1_000_000 },
      totalMs: 2 * profile.leaseMs,
      firstPauseMs: 10,
      maxPauseMs: 300,
    },
    onRetry: () => undefined,
  });
}

/** Before there is a member, as `metamaster run` does it: what waiting may cure is waited for. */
async function seedFirst(parts: AssemblyParts, tools: ReplicaTools, shelf: SnapshotShelf, clock: Clock): Promise<void> {
  const { name, logger, seed, signal, mutation } = parts;
  if (seed === undefined) return;
  const { source } = seed;
  const bucket = steady(seed.bucket, clock, parts);
  const plain: SeedParts = {
    member: name,
    logger,
    tools,
    shelf,
    source,
    openSource: async (_, layout, openSignal) => {
      const cluster = await readCluster(bucket, openSignal);
      if (cluster === undefined) throw new MetaMasterError("HistoryMissing", "invalid", "there is no cluster");
      const reader = new BucketLogReader({ cluster, bucket, compression: inlineCompression });
      const folders = new LocalFolders(layout.dataDirectory);
      return {
        tools: { ...tools, bucket, reader, layout: new ImageLayout(layout), folders },
        shelf: new Snapshots({ cluster: cluster.uid, bucket, clock, compression: inlineCompression }),
        close: async () => undefined,
      };
    },
  };
  const { seeded } = new SeedFolders(tools.folders);
  const before = await tools.fs.stat(seeded);
  const run = mutation.seed?.(seedDirectory) ?? seedDirectory;
  for (;;) {
    try {
      await run(plain, signal);
      if (before === undefined && (await tools.fs.stat(seeded)) !== undefined) parts.onSeeded();
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (!isKind(error, "transient")) throw error;
      logger.warn({ err: error }, `the history can't begin yet: ${messageOf(error)}`);
      await clock.sleep(parts.profile.leaseMs / 2, signal);
    }
  }
}

/** Builds one member of the product's own parts, as `main` does, over simulated ones. */
export async function assemble(parts: AssemblyParts): Promise<Assembled> {
  const { random, logger, mutation, signal, profile, layout, nonce, name, bootId } = parts;
  const clock = mutation.clock?.(parts.clock) ?? parts.clock;
  const fs = mutation.fs?.(parts.fs) ?? parts.fs;
  const bucket = mutation.bucket?.(parts.bucket) ?? parts.bucket;
  const retried = steady(bucket, clock, parts);
  const folders = new LocalFolders(layout.dataDirectory);
  const self = { pid: parts.pid, startTime: String(parts.pid), bootId };
  const processes: Processes = { self, isAlive: async ({ pid }) => parts.isAlive(pid) };
  const lock = await DirectoryLock.acquire(fs, folders, processes, nonce, logger);
  const store = new StateStore(fs, folders);
  const before = await store.read();
  const uid = before.found === "state" ? before.state.cluster : undefined;
  const cluster = await openCluster({ bucket: retried, clock, random }, { uid }, signal);
  const readsAs = (await mutation.readsAs?.(cluster, retried, signal)) ?? cluster;
  const mutated: MutationParts = { bucket: retried, clock, leaseMs: profile.leaseMs, random };
  const realReader = new BucketLogReader({ cluster: readsAs, bucket: retried, compression: inlineCompression });
  const reader = mutation.reader?.(realReader, mutated) ?? realReader;
  const snapshots = new Snapshots({ cluster: readsAs.uid, bucket: retried, clock, compression: inlineCompression });
  const tools: ReplicaTools = {
    fs,
    clock,
    bucket: retried,
    reader,
    logger,
    progress: { report: () => undefined },
    layout: new ImageLayout(layout),
    folders,
    fetch: { rangeBytes: 4096, parallelRanges: 4, parallelFiles: 2 },
  };
  await seedFirst(parts, tools, snapshots, clock);
  const proof = new SimulatedProof(parts.clock, random.stream("proof"), profile.leaseMs);
  const replica = new LocalReplica(
    {
      tools,
      shelf: snapshots,
      store,
      run: { member: name, nonce, bootId },
      beforeRisk: (inner) => proven(proof, inner),
    },
    { bootstrap: bootstrapOf(parts), quarantine: quarantineDefaults },
  );
  const put: PutSettings = { ...putDefaults, tryMs: 400, pauseMaxMs: 200 };
  const writer: WriterId = { member: name, nonce };
  const realClaim = makeClaim(
    { cluster: cluster.uid, writer },
    {
      bucket,
      clock,
      random,
      compression: inlineCompression,
      // Used again and again, as the large entries of a real log are.
      memory: new EntryMemory(16_384, 1),
      onTrouble: () => undefined,
    },
    put,
  );
  const silenceMs = profile.purge === undefined ? {} : { silenceMs: profile.purge.silenceMs };
  const sureClaim = (mutation.whereStillThere ?? whereStillThere)({ bucket, clock, cluster, ...silenceMs }, realClaim);
  const claim = mutation.claim?.(sureClaim, reader) ?? sureClaim;
  const election = electionOf({ ...parts, clock }, mutated);
  const components: MemberComponents = {
    clock,
    random,
    logger,
    records: new FileRecords(fs, folders.root, logger),
    reader,
    claim: async (end, epoch, claimSignal) => {
      if (!proof.passed) parts.onUnproven();
      const result = await claim(end, epoch, claimSignal);
      if (result.outcome === "lost" || mutation.writer === undefined) return result;
      return { ...result, writer: mutation.writer(result.writer, mutated) };
    },
    proof,
    rollCall: new BucketRollCall(retried),
    election: mutation.election?.(election, mutated) ?? election,
    master: mutation.master?.(parts.master) ?? parts.master,
    reconcile: (reconcileSignal) => replica.reconcile(reconcileSignal),
    makeFollower: (image) => {
      const follower = replica.makeFollower(image);
      return watched(parts, mutation.follower?.(follower) ?? follower);
    },
    sealAhead: async (image, at, epoch) => {
      const sealed = await replica.sealAhead(image, at, epoch);
      parts.onSealed(at.slot, true);
      return sealed;
    },
    makeShipper: (input) => {
      const shipper: Shipper = makeShipper({ ...parts, fs, clock }, input, retried, snapshots);
      return mutation.shipper?.(shipper) ?? shipper;
    },
  };
  const settings = memberSettings(parts);
  const member = new Member(mutation.settings?.(settings) ?? settings, mutation.components?.(components) ?? components);
  return {
    member,
    run: async (runSignal) => {
      const end = await member.run(runSignal);
      await lock.release();
      return end;
    },
  };
}

function makeShipper(parts: AssemblyParts, input: ShipperInput, bucket: Bucket, snapshots: Snapshots): Shipper {
  const { fs, clock, random, logger, layout, profile, mutation } = parts;
  const { ship, retention } = profile;
  const shipper = new PrimaryShipper(
    {
      layout,
      wal: { maxDelayMs: ship.maxDelayMs, maxSpoolBytes: ship.maxSpoolBytes },
      checkpoint: { intervalMs: ship.checkpointIntervalMs, walBytes: ship.checkpointWalBytes },
      transfer: { parallel: ship.parallel },
      entryBodyBytesMax: ship.entryBodyBytesMax,
      baseAfterSlots: ship.baseAfterSlots,
      baseAfterBytes: ship.baseAfterBytes,
    },
    {
      fs,
      clock,
      random,
      bucket,
      writer: input.writer,
      logger,
      progress: { report: () => undefined },
      metrics: noMetrics,
      image: input.image,
      snapshots,
    },
  );
  const { snapshots: kept, windowMs, graceMs, intervalMs } = retention;
  const collector = new Collector(
    {
      retention: { snapshots: kept, windowMs, gracePeriodMs: graceMs },
      intervalMs,
      sweepIntervalMs: 4 * intervalMs,
      deletesPerRound: 20,
      parallelDeletes: 2,
    },
    {
      bucket,
      clock: mutation.collectorClock?.(clock) ?? clock,
      logger,
      snapshots,
      writer: input.writer,
      image: () => mutation.collectorImage?.(shipper.image) ?? shipper.image,
      pinnedKeys: () => shipper.pinnedKeys(),
    },
  );
  return new CollectingShipper(shipper, collector);
}

/** Tells when the follower's disk must equal its image. */
function watched(parts: AssemblyParts, follower: Follower): Follower {
  return {
    get image() {
      return follower.image;
    },
    get seen() {
      return follower.seen;
    },
    poll: async (signal) => {
      const entries = await follower.poll(signal);
      if (entries.length === 0) parts.onIdle(follower.image.position.slot);
      return entries;
    },
    save: () => follower.save(),
    seal: async (claim, epoch) => {
      const image = await follower.seal(claim, epoch);
      parts.onSealed(claim.slot, false);
      return image;
    },
  };
}
