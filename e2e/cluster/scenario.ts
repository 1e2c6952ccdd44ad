import { test } from "@jest/globals";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Cluster } from "./cluster.js";

const SCENARIO_MS_MAX = 15 * 60_000;
const FOLDER = ".cache/e2e-failures";

/** A test that, when it fails, leaves the cluster's logs, events and objects in one folder, which its error names. Its waits must be bounded. */
export function scenario(cluster: () => Cluster, name: string, body: () => Promise<void>): void {
  const folder = join(
    process.cwd(),
    FOLDER,
    name
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, "-")
      .slice(0, 80),
  );
  const run = async (): Promise<void> => {
    await rm(folder, { recursive: true, force: true });
    try {
      await body();
    } catch (error) {
      await cluster().collect(folder);
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`${message}\nLogs, events and objects: ${folder}`, { cause: error });
    }
  };
  test(name, run, SCENARIO_MS_MAX);
}
