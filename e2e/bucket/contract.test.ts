import { describe, jest, test } from "@jest/globals";
import { bucketContract } from "../../sidecar/src/bucket/testing/bucket-contract.js";
import { serverNames, whyMissing } from "../servers/catalog.js";
import { StoreServer } from "../servers/server.js";
import { newBucket, open } from "../servers/stores.js";

// Real servers on a machine that may be busy; no test measures time.
jest.setTimeout(60_000);

for (const name of serverNames) {
  const missing = whyMissing(name);
  if (missing !== undefined) {
    describe(name, () => test.skip(`skipped: ${missing}`, () => undefined));
    continue;
  }
  bucketContract(
    name,
    async () => {
      const server = await StoreServer.start(name);
      // Fewer sockets than unread bodies in the contract: one that keeps its socket would stop the rest.
      const config = { ...(await newBucket(server)), maxSockets: 16 };
      const bucket = await open(config);
      const other = await open(config);
      return {
        bucket,
        other,
        dispose: async () => {
          await Promise.all([bucket.close(), other.close()]);
          await server.stop();
        },
      };
    },
    { largeBytes: 40_000_001, manyObjects: 1_250 },
  );
}
