import { LeaseDesk } from "../src/member/election/lease-parts.js";
import { withFaults, type Mutation } from "./mutation.js";
import { noFaults } from "./network.js";
import { overriding, patched } from "./patching.js";
import type { FaultWeights } from "./fault-kinds.js";
import type { Profile } from "./profile.js";

/** Whoever writes the lease writes over whatever is there. */
export function updateUnconditionally(): Mutation {
  return {
    adjust: (profile) => byLease(profile, { cut: 2, freezeSidecar: 2 }),
    leases: (store) =>
      overriding(store, {
        update: async (_from, record, signal) => {
          const now = await store.read(signal);
          return await (now === undefined ? store.create(record, signal) : store.update(now, record, signal));
        },
      }),
  };
}

/** A renewal counts from its answer, not from when it was sent. */
export function leaseFromAnswer(): Mutation {
  return {
    // Frozen between the server's deed and the answer, for longer than the lease.
    adjust: (profile) => ({
      ...byLease(profile, { freeze: 3, cut: 2 }),
      network: { ...noFaults, delayMsMax: 150 },
      chaosMs: 30 * profile.leaseMs,
      faultEveryMs: profile.leaseMs / 2,
    }),
    install: () =>
      patched(
        LeaseDesk.prototype,
        "attempt",
        (attempt) =>
          function (this: LeaseDesk) {
            const { clock } = this;
            const { stamp } = attempt.call(this);
            return {
              stamp,
              get sentMs() {
                return clock.monotonicMs();
              },
            };
          },
      ),
  };
}

/** The times in the record are believed, and compared with the wall clock here. */
export function leaseByRecordTimes(): Mutation {
  return {
    adjust: (profile) => byLease(profile, { clock: 3, cut: 1 }),
    witness: (witness, store, { clock, leaseMs }) => ({
      ...witness,
      evidence: async (_holder, signal) => {
        const stored = await store.read(signal);
        return stored !== undefined && Date.parse(stored.record.renewTime) + leaseMs < clock.wallMs();
      },
    }),
  };
}

/** Now and then somebody of whom nothing can be heard is taken for dead. */
export function goneIsEvidence(): Mutation {
  return {
    adjust: (profile) => byLease(profile, { cut: 2, freeze: 2 }),
    witness: (witness, _store, { random }) => ({ ...witness, evidence: async () => random.chance(0.15) }),
  };
}

/** A master that was started is taken for well, and the lease renewed for it. */
export function leaseRenewedWhileDead(takesItForWell: () => Mutation): Mutation {
  return { ...takesItForWell(), adjust: (profile) => byLease(profile, { killMaster: 3, hang: 1 }) };
}

function byLease(profile: Profile, faults: Partial<FaultWeights>): Profile {
  return { ...withFaults(profile, faults), election: "Lease" };
}
