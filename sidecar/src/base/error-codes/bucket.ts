import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const bucketErrorCodes: ErrorCodes = {
  BucketAccessDenied: {
    kind: "invalid",
    meaning: "The store refused the credentials, or they don't allow the operation.",
    remedy:
      "Check the credentials that the store's SDK finds (environment, profile, workload identity) and grant the permission that the message names.",
  },
  BucketCallInvalid: {
    kind: "invalid",
    meaning: "A call of ours broke the bucket's own rules (a limit, a range).",
    remedy: "This is a defect of MetaMaster: report it with the log.",
  },
  BucketClosed: {
    kind: "invalid",
    meaning: "A bucket was used after it was closed.",
    remedy: "Harmless while stopping; otherwise a defect of MetaMaster: report it.",
  },
  BucketFull: {
    kind: "transient",
    meaning: "The store, or the disk below a file bucket, has no space left.",
    remedy: "It is tried again. Give the store space; nothing is acknowledged by a barrier meanwhile.",
  },
  BucketKeyInvalid: {
    kind: "invalid",
    meaning: "A key is outside of what every store can hold, or is a folder of another key.",
    remedy: "Give MetaMaster a prefix of its own in the bucket.",
  },
  BucketNotFound: {
    kind: "invalid",
    meaning: "The bucket does not exist.",
    remedy: "Create it, or correct `bucket.url` (and `bucket.region`, `bucket.endpoint`).",
  },
  BucketRequestInvalid: {
    kind: "invalid",
    meaning: "The store refused a request as malformed.",
    remedy:
      "Check region, endpoint and `bucket.forcePathStyle`; if they are right the store lacks something MetaMaster needs.",
  },
  BucketSlowBody: {
    kind: "transient",
    meaning: "The bytes of an object came too slowly.",
    remedy: "It is tried again. If it lasts, the network to the store is too slow or loses packets.",
  },
  BucketTimeout: {
    kind: "transient",
    meaning: "The store did not answer in time.",
    remedy: "It is tried again. If it lasts: is the store reachable from this machine, and is it overloaded?",
  },
  BucketTlsInvalid: {
    kind: "invalid",
    meaning: "The store's certificate can't be trusted, or the CA file can't be read.",
    remedy: "Set `bucket.caFile` to the PEM file of the CA that signed the store's certificate.",
  },
  BucketUnavailable: {
    kind: "transient",
    meaning: "The store answered with an error of its own, throttled, or the connection broke.",
    remedy: "It is tried again. If it lasts, look at the store's own health.",
  },
  BucketUnsafe: {
    kind: "invalid",
    meaning: "The start-up probe found that the store doesn't keep a promise MetaMaster's safety rests on.",
    remedy:
      "Use a store (or a version of it) whose create-if-absent is atomic and whose reads see every write at once.",
  },
  BucketUrlInvalid: {
    kind: "invalid",
    meaning: "`bucket.url` or `bucket.endpoint` can't be used.",
    remedy: "Give s3://bucket/prefix, gs://bucket/prefix or file:///absolute/folder, without credentials in it.",
  },
  ObjectTooLarge: {
    kind: "corrupt",
    meaning: "An object is larger than anything MetaMaster could have written there.",
    remedy: "Something else wrote it, or it was damaged: look at it before going on.",
  },
  SourceChanged: {
    kind: "invalid",
    meaning: "A file changed or shrank while it was being uploaded.",
    remedy: "It is tried again from a new cut; if it lasts, something besides the master writes to its directory.",
  },
};
