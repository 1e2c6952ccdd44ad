import type { Logger } from "../../base/log.js";
import type { ImageState } from "../../formats/image.js";
import { makeClaim } from "../../log/claim.js";
import { Collector } from "../../log/collector.js";
import type { Claim } from "../../log/log.js";
import type { PutTrouble } from "../../log/slot-put.js";
import { whereStillThere } from "../../log/still-there.js";
import type { MemberComponents, ShipperInput } from "../../member/context.js";
import { FileRecords } from "../../member/file-records.js";
import type { Master } from "../../member/master/master.js";
import type { Election } from "../../member/election/election.js";
import { LeaseElection } from "../../member/election/lease-election.js";
import { LogElection } from "../../member/election/log-election.js";
import { Member } from "../../member/member.js";
import { proven, type Proof } from "../../member/proof.js";
import { BucketRollCall } from "../../log/roll-call.js";
import type { RoleBoard } from "../../member/roles.js";
import { LocalReplica } from "../../replica/local-replica.js";
import type { Progress } from "../../replica/progress.js";
import type { Follower, Shipper } from "../../replica/replica.js";
import { PrimaryShipper } from "../../replica/ship/shipper.js";
import { StateStore } from "../../replica/state.js";
import type { ReplicaTools, RunIdentity } from "../../replica/tools.js";
import { leaseTimes } from "../config/lease-times.js";
import type { LoadedConfig } from "../config/load.js";
import type { MemberMetrics } from "../metrics/member-metrics.js";
import { CollectingShipper } from "./collecting-shipper.js";
import type { Kubernetes } from "./kubernetes.js";
import { replicaTools, type History } from "./history.js";
import { collectorSettings, layoutOf, memberSettings, reconcileSettings, shipSettings } from "./settings.js";
import type { System } from "./system.js";

export interface MemberParts {
  readonly config: LoadedConfig["config"];
  readonly system: System;
  readonly logger: Logger;
  readonly metrics: MemberMetrics;
  readonly progress: Progress;
  readonly history: History;
  readonly proof: Proof;
  readonly run: RunIdentity;
  /** With `election.type: Lease`. */
  readonly kubernetes: Kubernetes | undefined;
  readonly master: Master;
  readonly board: RoleBoard;
}

export interface ComposedMember {
  readonly member: Member;
  /** WAL bytes of the image that is followed; undefined while nothing is. */
  followedWalBytes(): number | undefined;
}

/** One member of real parts. */
export function composeMember(parts: MemberParts): ComposedMember {
  const { config, system, logger, metrics, history, proof, run, master } = parts;
  const { clock, random } = system;
  const layout = layoutOf(config);
  const tools = replicaTools(history, layout, parts);
  const replica = new LocalReplica(
    {
      tools,
      shelf: history.snapshots,
      store: new StateStore(system.fs, tools.folders),
      run,
      beforeRisk: (signal) => proven(proof, signal),
    },
    reconcileSettings(config),
  );
  let follower: Follower | undefined;
  const components: MemberComponents = {
    clock,
    random,
    logger,
    records: new FileRecords(system.fs, tools.folders.root, logger),
    reader: history.reader,
    claim: makeMemberClaim(parts),
    proof,
    rollCall: new BucketRollCall(history.store.steady),
    election: makeElection(parts),
    master,
    reconcile: (signal) => {
      follower = undefined;
      return replica.reconcile(signal);
    },
    makeFollower: (image) => (follower = replica.makeFollower(image)),
    sealAhead: (image, claim, epoch) => replica.sealAhead(image, claim, epoch),
    makeShipper: (input) => {
      follower = undefined;
      return makeShipper(parts, input, tools);
    },
    hooks: {
      failover: (record) => metrics.becamePrimary(record),
      quarantined: () => metrics.quarantined(),
    },
  };
  return {
    member: new Member(memberSettings(config, run.nonce), components, parts.board),
    followedWalBytes: () => (follower === undefined ? undefined : walBytes(follower.image)),
  };
}

function makeMemberClaim({ system, logger, history, run }: MemberParts): Claim {
  const { clock, random, compression } = system;
  const { cluster, store } = history;
  const claim = makeClaim(
    { cluster: cluster.uid, writer: { member: run.member, nonce: run.nonce } },
    {
      bucket: store.single,
      clock,
      random,
      compression,
      onTrouble: (trouble) => tellTrouble(logger, trouble),
    },
  );
  return whereStillThere({ bucket: store.single, clock, cluster }, claim);
}

function makeElection({ config, system, logger, run, kubernetes }: MemberParts): Election {
  const { clock, random } = system;
  const { member, election } = config;
  if (kubernetes === undefined) {
    const settings = { member, leaseMs: election.lease, onBucketLoss: election.onBucketLoss };
    return new LogElection(settings, { clock, random, logger });
  }
  const { leases, witness, podUid } = kubernetes;
  const settings = { member, self: { uid: podUid, nonce: run.nonce }, ...leaseTimes(election) };
  return new LeaseElection(settings, { clock, random, logger, store: leases, witness });
}

function makeShipper(parts: MemberParts, { writer, image }: ShipperInput, { bucket }: ReplicaTools): Shipper {
  const { system, logger, metrics, progress, history, config } = parts;
  const { fs, clock, random } = system;
  const { snapshots } = history;
  const components = { fs, clock, random, bucket, writer, logger, progress, metrics, image, snapshots };
  const shipper = new PrimaryShipper(shipSettings(config), components);
  const collector = new Collector(collectorSettings(config), {
    bucket,
    clock,
    logger,
    snapshots,
    writer,
    image: () => shipper.image,
    pinnedKeys: () => shipper.pinnedKeys(),
  });
  return new CollectingShipper(shipper, collector);
}

function tellTrouble(logger: Logger, trouble: PutTrouble | undefined): void {
  if (trouble === undefined) return;
  const { slot, error, tries, pauseMs } = trouble;
  logger[tries < 3 ? "debug" : "warn"](
    { slot, tries, pauseMs: Math.round(pauseMs), code: error.code },
    `slot ${slot} is not durable yet: ${error.message}`,
  );
}

function walBytes(image: ImageState): number {
  let bytes = 0;
  for (const [path, file] of image.files) if (file.kind === "append" && path.endsWith(".log")) bytes += file.size;
  return bytes;
}
