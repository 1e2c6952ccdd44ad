import { Buffers } from "../src/base/buffers.js";
import { isKind } from "../src/base/errors.js";
import { bytesSource } from "../src/bucket/byte-source.js";
import { decodeEntry, decodeEntryHeader, encodeEntry } from "../src/formats/entry-codec.js";
import { LOG_PREFIX, type Operation, type ReadEntry } from "../src/formats/entry.js";
import { GroupAssembler } from "../src/formats/image-fold.js";
import { WalCursor } from "../src/formats/rocksdb/wal-cursor.js";
import { ShippedDatabase } from "../src/replica/ship/database.js";
import { Holds } from "../src/replica/ship/holds.js";
import { inlineCompression } from "./compression.js";
import { adoptBesideHistory, beginWithNothing } from "./adoption-mutations.js";
import { companionsComeLater, companionsOutsideTheCut } from "./companion-mutations.js";
import {
  goneIsEvidence,
  leaseByRecordTimes,
  leaseFromAnswer,
  leaseRenewedWhileDead,
  updateUnconditionally,
} from "./lease-mutations.js";
import { withFaults, type Mutation } from "./mutation.js";
import {
  believeAnEmptyLog,
  purgeByBeginning,
  purgeForgetsEarlierTries,
  purgeIdentityFirst,
  purgeWithoutEnd,
  purgeWithoutLooking,
  purgeWithoutWaiting,
} from "./purge-mutations.js";
import {
  seedEveryMember,
  seedKeepsOthersState,
  seedNewestInstead,
  seedOrBeginEmpty,
  seedTrustsHalf,
  seedWritesToSource,
} from "./seed-mutations.js";
import { overriding, patched, patchedGetter, withPutIfAbsent } from "./patching.js";
import type { Profile } from "./profile.js";

/** An append that only looks whether the slot is free. */
function appendWithoutPutIfAbsent(): Mutation {
  return {
    bucket: (bucket) =>
      withPutIfAbsent(bucket, async (key, body, call) => {
        if ((await bucket.head(key, call)) !== undefined) return "exists";
        await bucket.put(key, bytesSource(body), call);
        return "created";
      }),
  };
}

/** Whoever follows stands, whatever the start-up probe will say. */
function standUnproven(): Mutation {
  return { components: (components) => ({ ...components, proof: { within: async () => true } }) };
}

/** What is tried again has another time in it. */
function retryOtherBytes(): Mutation {
  return {
    bucket: (bucket) => {
      const tried = new Set<string>();
      return withPutIfAbsent(bucket, async (key, body, call) => {
        const again = tried.has(key) && key.startsWith(LOG_PREFIX);
        tried.add(key);
        if (!again) return await bucket.putIfAbsent(key, body, call);
        const { header, operations } = await decodeEntry(body, key, inlineCompression);
        const later = { ...header, wallTimeMs: header.wallTimeMs + 1 };
        const { bytes } = await encodeEntry({ header: later, operations }, inlineCompression);
        await bucket.putIfAbsent(key, bytes, call);
        return "created";
      });
    },
  };
}

/** After an answer that did not come, what is found in the slot is taken for one's own. */
function assumeOwnPut(): Mutation {
  return {
    adjust: (profile) => ({ ...withFaults(profile, { cut: 3, freeze: 2 }), network: losingAnswers(profile) }),
    bucket: (bucket) => {
      const doubtful = new Set<string>();
      return withPutIfAbsent(bucket, async (key, body, call) => {
        try {
          const outcome = await bucket.putIfAbsent(key, body, call);
          return doubtful.has(key) ? "created" : outcome;
        } catch (error) {
          if (isKind(error, "transient")) doubtful.add(key);
          throw error;
        }
      });
    },
  };
}

/** The end is found for the claim, but what lies before it was not applied: for many looks in a row nothing is read. */
function claimWithoutReading(): Mutation {
  return {
    follower: (follower) => {
      let looks = 0;
      return overriding(follower, {
        poll: async (signal) => (looks++ % 40 < 8 ? await follower.poll(signal) : []),
      });
    },
    claim: (claim, reader) => async (from, epoch, signal) => {
      let end = from;
      for (;;) {
        const entry = await reader.next(end, signal);
        if (entry === undefined) return await claim(end, epoch, signal);
        // An image without a claim of the log is refused when the disk is sealed.
        if (entry.header.kind === "claim") return { outcome: "lost" };
        end = entry.position;
      }
    },
  };
}

/**
 * After a reopen WAL goes on being shipped with no checkpoint before it. Three things see to that one, so three are taken away: the hold that the restart raises, the
 * hold of sequences that go back, and that a new MANIFEST binds.
 */
function shipBeforeCheckpointAfterReopen(): Mutation {
  return {
    adjust: manyReopens,
    install: () => {
      const undoRaise = patched(
        Holds.prototype,
        "raise",
        (raise) =>
          function (this: Holds, hold) {
            if (hold.reason === "Start") raise.call(this, hold);
          },
      );
      const undoBinds = patchedGetter(ShippedDatabase.prototype, "binds", () => false);
      return () => {
        undoBinds();
        undoRaise();
      };
    },
  };
}

/** WAL is shipped past edits of the MANIFEST that it does not hold the data of. */
function shipPastBindingEdits(): Mutation {
  return {
    adjust: (profile) => {
      const plain = seldomCheckpoints(withFaults(profile, { crash: 1, wipe: 3 }));
      const { workload, process } = plain.master;
      const ingesting = { ...workload, ingests: true, addsFamilies: true, forgetsOnReopen: false };
      return { ...plain, master: { workload: ingesting, process: { ...process, jobEveryMs: 100, writeEveryMs: 30 } } };
    },
    install: () => patchedGetter(ShippedDatabase.prototype, "binds", () => false),
  };
}

/** The collector forgets which slots are claims. */
function trimClaims(): Mutation {
  return { adjust: longLived, collectorImage: (image) => ({ ...image, claims: [] }) };
}

/** The time between dooming and deleting is told by the wall clock. */
function graceByWallClock(): Mutation {
  return {
    adjust: (profile) => ({ ...longLived(profile), faults: { clock: 1 }, faultEveryMs: 15_000 }),
    collectorClock: (clock) => overriding(clock, { monotonicMs: () => clock.wallMs() }),
  };
}

/** A bit flips, and nobody looks at checksums. */
function applyUnverified(): Mutation {
  return {
    reader: (reader, { random }) =>
      overriding(reader, {
        next: async (position, signal) => {
          const entry = await reader.next(position, signal);
          return entry === undefined || !random.chance(0.02) ? entry : damaged(entry);
        },
      }),
  };
}

function damaged(entry: ReadEntry): ReadEntry {
  const operations = entry.operations.map((operation): Operation => {
    if (operation.type !== "append") return operation;
    const bytes = operation.bytes.slice();
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    return { ...operation, bytes };
  });
  return { ...entry, operations };
}

/** The master is dead, and leadership is kept. */
function renewWhileDead(): Mutation {
  return {
    adjust: (profile) => withFaults(profile, { killMaster: 3, hang: 1 }),
    ...takesItForWell(),
  };
}

/** A master that was started is well until it is told to end. */
function takesItForWell(): Mutation {
  return {
    master: (master) => {
      let started = false;
      return overriding(master, {
        get running() {
          return started;
        },
        start: async (epoch, leaseMs) => {
          started = true;
          await master.start(epoch, leaseMs);
        },
        kill: async (withinMs) => {
          started = false;
          await master.kill(withinMs);
        },
        stop: async (how) => {
          started = false;
          return await master.stop(how);
        },
        healthy: async () => ({ ok: true, reason: "said without asking" }),
        exited: () => (started ? new Promise(() => {}) : master.exited()),
      });
    },
  };
}

/** Whatever cluster the log is of, it is followed; and claimed under one's own uid. */
function adoptForeignUid(): Mutation {
  return {
    adjust: (profile) => ({ ...withFaults(profile, { crash: 3, wipe: 1 }), foreigner: true }),
    readsAs: async (cluster, bucket, signal) => {
      const { objects } = await bucket.list(LOG_PREFIX, { limit: 1, signal });
      const key = objects[0]?.key;
      const bytes = key === undefined ? undefined : await bucket.get(key, { maxBytes: 1e8, signal });
      return bytes === undefined ? cluster : { ...cluster, uid: decodeEntryHeader(bytes, "the first").cluster };
    },
  };
}

/** A group that its writer did not finish is finished by the next one. */
function groupsOutliveClaims(): Mutation {
  const pending = new WeakMap<GroupAssembler, ReadEntry[]>();
  return {
    adjust: manyGroups,
    install: () => {
      const undoPush = patched(
        GroupAssembler.prototype,
        "push",
        () =>
          function (this: GroupAssembler, entry) {
            const { kind, more } = entry.header;
            if (kind === "claim") return [];
            if (kind !== "wal" && kind !== "checkpoint") return [entry];
            const group = [...(pending.get(this) ?? []), entry];
            pending.set(this, more ? group : []);
            return more ? [] : group;
          },
      );
      const undoOpen = patchedGetter(
        GroupAssembler.prototype,
        "open",
        (group) => (pending.get(group) ?? []).length > 0,
      );
      return () => {
        undoOpen();
        undoPush();
      };
    },
  };
}

/** A barrier says yes before anything is durable. */
function acknowledgeAtOnce(): Mutation {
  return {
    shipper: (shipper) =>
      overriding(shipper, { barrier: async () => ({ position: shipper.status.durable, waitedMs: 0 }) }),
  };
}

/**
 * Leadership is believed to last while nothing says otherwise. (Counting it from the answer instead of the sending, a smaller mistake, is covered by the
 * margins of the election: a sixth of the lease, and the time a candidate takes.)
 */
function leaseWithoutProof(): Mutation {
  return {
    adjust: (profile) => withFaults(profile, { cut: 1 }),
    writer: (writer, { clock }) =>
      overriding(writer, {
        get lastSentMs() {
          return clock.monotonicMs();
        },
      }),
  };
}

/** Leases are reckoned by the wall clock, which somebody may set. */
function leaseByWallClock(): Mutation {
  return {
    adjust: (profile) => withFaults(profile, { clock: 4, cut: 1 }),
    clock: (clock) => overriding(clock, { monotonicMs: () => clock.wallMs() }),
  };
}

/** A candidate waits for half of what it should. */
function impatientCandidate(): Mutation {
  return {
    election: (election, { clock, leaseMs }) => {
      let lastMs = clock.monotonicMs();
      return overriding(election, {
        observed: (entry, atMs) => {
          lastMs = clock.monotonicMs();
          election.observed(entry, atMs);
        },
        candidacy: (nowMs) => {
          const rightly = election.candidacy(nowMs);
          if (rightly !== undefined || clock.monotonicMs() - lastMs < leaseMs / 2) return rightly;
          return { reason: "LeaseExpired", detectMs: 0, leaseMs: leaseMs / 2 };
        },
      });
    },
  };
}

/** Nothing but the sidecar itself ends the master. */
function noWatchdog(): Mutation {
  return {
    adjust: (profile) => withFaults(profile, { freezeSidecar: 1 }),
    master: (master) =>
      overriding(master, { start: (epoch) => master.start(epoch, Infinity), extend: () => undefined }),
  };
}

/** Nothing is ever made durable on the member's own disk. */
function forgetToSync(): Mutation {
  return {
    adjust: (profile) => ({
      ...withFaults(profile, { power: 4, wipe: 1 }),
      chaosMs: 10 * profile.leaseMs,
      faultEveryMs: profile.leaseMs / 4,
      pauseMsMax: profile.leaseMs / 2,
    }),
    fs: (fs) =>
      overriding(fs, {
        syncDirectory: () => Promise.resolve(),
        open: async (path, mode, permissions) => {
          const file = await fs.open(path, mode, permissions);
          return overriding(file, { sync: () => Promise.resolve() });
        },
      }),
  };
}

/** WAL is shipped to the last byte, whether a record ends there or not. */
function shipHalfRecords(): Mutation {
  return {
    adjust: (profile) => {
      const torn = withMaster(withFaults(profile, { crash: 2, wipe: 2, freeze: 1 }), { tornShare: 0.5 });
      const { master } = torn;
      const workload = { ...master.workload, refusesTornTail: true };
      return { ...torn, master: { workload, process: { ...master.process, writeEveryMs: 100, stepMsMax: 200 } } };
    },
    install: () => patchedGetter(WalCursor.prototype, "wholeEnd", (cursor) => cursor.nextOffset),
  };
}

/** Memory is lent to the next entry while the last one's is still being sent. */
function lendWhatIsInUse(): Mutation {
  return {
    adjust: (profile) => ({ ...withFaults(profile, { cut: 2 }), network: losingAnswers(profile) }),
    install: () =>
      patched(
        Buffers.prototype,
        "take",
        (take) =>
          function (this: Buffers, length) {
            const loan = take.call(this, length);
            loan.give();
            return { ...loan, give: () => undefined };
          },
      ),
  };
}

function longLived(profile: Profile): Profile {
  const { retention, ship, master } = profile;
  return {
    ...profile,
    chaosMs: 90_000,
    faultEveryMs: 8000,
    pauseMsMax: 5000,
    ship: { ...ship, checkpointIntervalMs: 2000, baseAfterSlots: 5 },
    retention: { ...retention, snapshots: 1, windowMs: 0, intervalMs: 1000 },
    master: { ...master, process: { ...master.process, writeEveryMs: 600, jobEveryMs: 2000 } },
  };
}

function manyGroups(profile: Profile): Profile {
  const { ship } = profile;
  const rows = withMaster(profile, {});
  const { master } = rows;
  return {
    ...rows,
    ship: { ...ship, entryBodyBytesMax: 16_384 },
    faultEveryMs: 300,
    master: { ...master, workload: { ...master.workload, hugeShare: 0.5, hugeBytes: 60_000 } },
  };
}

function losingAnswers({ network }: Profile): Profile["network"] {
  return { ...network, lostAnswerShare: 0.15, lateShare: 0.05, lateMsMax: 5000, deadlineMs: 200 };
}

function manyReopens(profile: Profile): Profile {
  const plain = seldomCheckpoints(withMaster(profile, { walStyle: "Plain" }));
  const { master } = plain;
  const workload = { ...master.workload, forgetsOnReopen: true, ingests: false, note: false };
  const process = { ...master.process, barrierShare: 0.1, writeEveryMs: 30 };
  const reopening = { ...workload, addsFamilies: false };
  return { ...plain, faults: { killMaster: 5, wipe: 2 }, master: { workload: reopening, process } };
}

/** One database, and only what must be a checkpoint is one. */
function seldomCheckpoints(profile: Profile): Profile {
  const { ship, master } = profile;
  const workload = { ...master.workload, databases: master.workload.databases.slice(0, 1), checkpoints: false };
  return {
    ...profile,
    faultEveryMs: profile.leaseMs / 2,
    ship: { ...ship, maxDelayMs: 50, checkpointIntervalMs: 60_000, checkpointWalBytes: 1e9 },
    master: { ...master, workload },
  };
}

function withMaster(profile: Profile, change: Partial<Profile["master"]["workload"]["databases"][number]>): Profile {
  const { master } = profile;
  const databases = master.workload.databases.map((database) => ({ ...database, ...change }));
  return { ...profile, master: { ...master, workload: { ...master.workload, databases } } };
}

/** Bugs that can be planted, each made anew for every run. */
export const mutations: Readonly<Record<string, () => Mutation>> = {
  appendWithoutPutIfAbsent,
  standUnproven,
  retryOtherBytes,
  assumeOwnPut,
  claimWithoutReading,
  shipBeforeCheckpointAfterReopen,
  shipPastBindingEdits,
  companionsOutsideTheCut,
  companionsComeLater,
  trimClaims,
  graceByWallClock,
  applyUnverified,
  renewWhileDead,
  adoptForeignUid,
  adoptBesideHistory,
  beginWithNothing,
  groupsOutliveClaims,
  acknowledgeAtOnce,
  leaseWithoutProof,
  leaseByWallClock,
  impatientCandidate,
  noWatchdog,
  forgetToSync,
  shipHalfRecords,
  lendWhatIsInUse,
  updateUnconditionally,
  leaseFromAnswer,
  leaseByRecordTimes,
  goneIsEvidence,
  purgeWithoutEnd,
  purgeIdentityFirst,
  purgeWithoutLooking,
  purgeWithoutWaiting,
  purgeForgetsEarlierTries,
  purgeByBeginning,
  believeAnEmptyLog,
  seedEveryMember,
  seedNewestInstead,
  seedOrBeginEmpty,
  seedWritesToSource,
  seedKeepsOthersState,
  seedTrustsHalf,
  leaseRenewedWhileDead: () => leaseRenewedWhileDead(takesItForWell),
};
