import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const logErrorCodes: ErrorCodes = {
  ChainBroken: {
    kind: "corrupt",
    meaning: "An entry of the log follows another history than the one this member knows.",
    remedy:
      "The member compares its data with the bucket and restores what differs by itself; if it repeats, run `metamaster verify`.",
  },
  ClusterAlive: {
    kind: "conflict",
    meaning: "A cluster is not deleted because a member may still be running, here or in another Kubernetes cluster.",
    remedy:
      "Stop all members first, or let another cluster that uses the prefix keep it (`deletionPolicy: Retain`). If you know that none runs, or its data is not wanted: `metamaster purge --even-if-alive`, which fences it before anything is deleted.",
  },
  ClusterDeleted: {
    kind: "invalid",
    meaning: "The cluster is being deleted by `metamaster purge`, or was.",
    remedy:
      "Stop the member. If the purge was broken off, run it once more; a cluster that is begun anew below the prefix takes members with empty data directories.",
  },
  ClusterFileCorrupt: {
    kind: "corrupt",
    meaning: "The object `cluster.json` is damaged or isn't MetaMaster's.",
    remedy: "Bring it back from the bucket's versions, or give MetaMaster a prefix of its own.",
  },
  ClusterMissing: {
    kind: "invalid",
    meaning: "The bucket holds no cluster, but this member's data belongs to one.",
    remedy:
      "Check bucket and prefix. If the bucket's contents are lost: move `.metamaster/state.json` away and start one member with `bootstrap: adopt`.",
  },
  Fenced: {
    kind: "fenced",
    meaning: "Another member has taken over: this one can never write in its epoch again.",
    remedy: "Nothing needs to be done: the member follows the new primary.",
  },
  ForeignCluster: {
    kind: "invalid",
    meaning: "The bucket, or an object in it, belongs to another cluster than this member.",
    remedy:
      "Check bucket and prefix; give every cluster a prefix of its own. To join that cluster, move the member's data directory away first.",
  },
  LogGap: {
    kind: "corrupt",
    meaning: "An entry in the middle of the log is missing and no snapshot covers the hole.",
    remedy:
      "Bring the object back from the bucket's versions. Only MetaMaster may delete below `log/`: see who else did.",
  },
  LogKeyInvalid: {
    kind: "corrupt",
    meaning: "An object below `log/` has a name that is no slot.",
    remedy: "Something else wrote it: move it away.",
  },
  PurgeIncomplete: {
    kind: "conflict",
    meaning: "New objects appear below the prefix while it is being emptied.",
    remedy: "A process still writes there: stop it, then run the same `metamaster purge` once more.",
  },
  SlotVanished: {
    kind: "transient",
    meaning: "An object was there at one look and gone at the next.",
    remedy:
      "It is tried again. If it lasts, the store is not consistent, or something deletes objects below the prefix.",
  },
  SnapshotIncomplete: {
    kind: "conflict",
    meaning: "A snapshot was not written because what it needs is doomed or missing.",
    remedy: "The next checkpoint makes another one. If it lasts, report it.",
  },
  TrimRefused: {
    kind: "conflict",
    meaning: "Garbage that the log names was not deleted, because something needs it.",
    remedy: "It is looked at again. If it lasts: `retention` was raised meanwhile, or report it.",
  },
};
