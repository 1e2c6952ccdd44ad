import { jest } from "@jest/globals";
import { bucketContract } from "../../sidecar/src/bucket/testing/bucket-contract.js";
import { eachStore, storeSubject } from "./store-subject.js";

// Real servers on a machine that may be busy; no test measures time.
jest.setTimeout(60_000);

eachStore((name) =>
  // Fewer sockets than unread bodies in the contract: one that keeps its socket would stop the rest.
  bucketContract(name, () => storeSubject(name, { maxSockets: 16 }), { largeBytes: 40_000_001, manyObjects: 1_250 }),
);
