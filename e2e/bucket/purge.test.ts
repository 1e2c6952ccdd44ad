import { describe, jest, test } from "@jest/globals";
import { purgeContract } from "../../sidecar/src/log/testing/purge-contract.js";
import { serverNames, whyMissing } from "../servers/catalog.js";
import { StoreServer } from "../servers/server.js";
import { newBucket, open } from "../servers/stores.js";

jest.setTimeout(300_000);

for (const name of serverNames) {
  const missing = whyMissing(name);
  if (missing !== undefined) {
    describe(name, () => test.skip(`skipped: ${missing}`, () => undefined));
    continue;
  }
  purgeContract(name, async () => {
    const server = await StoreServer.start(name);
    const config = await newBucket(server);
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
  });
}
