import { CLUSTER_KEY, LOG_PREFIX } from "../src/formats/entry.js";
import { checkStillThere } from "../src/log/cluster-identity.js";
import type { Mutation } from "./mutation.js";
import { overriding, withPutIfAbsent } from "./patching.js";
import type { Profile, PurgePlan } from "./profile.js";

/** Nothing is put behind the newest entry. */
export function purgeWithoutEnd(): Mutation {
  return {
    family: "Purge",
    adjust: (profile) => purging(profile, { evenIfAlive: true }),
    purgeBucket: (bucket) =>
      withPutIfAbsent(bucket, async (key, body, call) =>
        key.startsWith(LOG_PREFIX) ? "created" : await bucket.putIfAbsent(key, body, call),
      ),
  };
}

/** The identity goes before the rest: of what a dead purge leaves nobody knows whose it is. */
export function purgeIdentityFirst(): Mutation {
  return {
    family: "Purge",
    adjust: (profile) => purging(profile, { evenIfAlive: true, deaths: 4 }),
    purgeBucket: (bucket) => {
      let first = true;
      return overriding(bucket, {
        delete: async (key, call) => {
          if (first) await bucket.delete(CLUSTER_KEY, call);
          first = false;
          await bucket.delete(key, call);
        },
      });
    },
  };
}

/** Whether anybody lives is looked at for a moment only. */
export function purgeWithoutLooking(): Mutation {
  return {
    family: "Purge",
    adjust: (profile) => purging(profile, { members: "Alive", evenIfAlive: false, atMs: 2 * profile.leaseMs }),
    purgeSettings: (settings) => ({ ...settings, leaseMs: settings.leaseMs / 20, lookMs: settings.lookMs / 20 }),
  };
}

/** What is under way when the log is closed is not waited for. */
export function purgeWithoutWaiting(): Mutation {
  return {
    family: "Purge",
    adjust: (profile) => {
      const quick = purging(profile, { members: "Killed", revivesMs: undefined, evenIfAlive: true, deaths: 0 });
      const { network } = quick;
      const late = { ...network, lostAnswerShare: 0, failedShare: 0, lateShare: 0.2 };
      return { ...quick, network: { ...late, lateMsMax: 1000, deadlineMs: 200 } };
    },
    purgeSettings: (settings) => ({ ...settings, settleMs: 0 }),
  };
}

/** A delete that was tried again has been carried out, and that is all. */
export function purgeForgetsEarlierTries(): Mutation {
  return {
    family: "Purge",
    adjust: (profile) => {
      const quick = purging(profile, { members: "Killed", revivesMs: undefined, evenIfAlive: true, again: true });
      const { network } = quick;
      return { ...quick, network: { ...network, lateShare: 0.1, lateMsMax: 3000, deadlineMs: 200 } };
    },
    purgeComponents: (components) => ({ ...components, triedAgain: () => 0 }),
  };
}

/** A prefix is taken for the beginning of names, not for a folder. */
export function purgeByBeginning(): Mutation {
  return {
    family: "Purge",
    adjust: (profile) => purging(profile, { evenIfAlive: true }),
    purgeBucket: (bucket, { objects }) =>
      overriding(bucket, {
        delete: async (key, call) => {
          await bucket.delete(key, call);
          const same = objects.entries().filter(([full]) => full.startsWith("meta") && full.endsWith(`/${key}`));
          for (const [full] of same) await objects.delete(full, {});
        },
      }),
  };
}

/** What is put into an empty slot is in the history: nobody looks whether there is one. */
export function believeAnEmptyLog(): Mutation {
  return {
    family: "Purge",
    adjust: (profile) => {
      const quick = purging(profile, { members: "Alive", evenIfAlive: true, settleMs: 2000, silenceMs: 1500 });
      const asleep = { ...quick, pauseMsMax: 12_000, onBucketLoss: "Hold", faultEveryMs: 300 } as const;
      return { ...asleep, network: { ...quick.network, lateMsMax: 500 }, faults: { cut: 4, freeze: 1, switchover: 1 } };
    },
    whereStillThere:
      ({ bucket, cluster }, claim) =>
      async (end, epoch, signal) => {
        await checkStillThere(bucket, cluster, signal);
        return await claim(end, epoch, signal);
      },
  };
}

function purging(profile: Profile, change: Partial<PurgePlan>): Profile {
  const { purge } = profile;
  return purge === undefined ? profile : { ...profile, purge: { ...purge, ...change } };
}
