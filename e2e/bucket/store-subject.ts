import { describe, test } from "@jest/globals";
import type { ContractSubject } from "../../sidecar/src/bucket/testing/bucket-contract.js";
import { serverNames, whyMissing, type ServerName } from "../servers/catalog.js";
import { StoreServer } from "../servers/server.js";
import { newBucket, open } from "../servers/stores.js";

/** A contract over every store that can be had here; one that can't is shown as skipped, with why. */
export function eachStore(run: (name: ServerName) => void): void {
  for (const name of serverNames) {
    const missing = whyMissing(name);
    if (missing === undefined) run(name);
    else describe(name, () => test.skip(`skipped: ${missing}`, () => undefined));
  }
}

/** A new bucket of a server of its own, opened twice. */
export async function storeSubject(
  name: ServerName,
  more: { readonly maxSockets?: number } = {},
): Promise<ContractSubject> {
  const server = await StoreServer.start(name);
  const config = { ...(await newBucket(server)), ...more };
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
}
