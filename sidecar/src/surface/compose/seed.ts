import type { Logger } from "../../base/log.js";
import type { Progress } from "../../replica/progress.js";
import { seed } from "../../replica/seed.js";
import type { LoadedConfig } from "../config/load.js";
import { openHistory, replicaTools, type History } from "./history.js";
import { layoutOf } from "./settings.js";
import type { System } from "./system.js";

export interface SeedingParts {
  readonly config: LoadedConfig["config"];
  readonly system: System;
  readonly logger: Logger;
  readonly progress: Progress;
}

/** `bootstrapFrom`, over the bucket of this member, which the source lies in, too. */
export async function seedMember(parts: SeedingParts, own: History, signal: AbortSignal): Promise<void> {
  const { config, system, logger } = parts;
  await seed(
    {
      member: config.member,
      logger,
      tools: replicaTools(own, layoutOf(config), parts),
      shelf: own.snapshots,
      source: config.bootstrapFrom,
      openSource: async ({ url }, layout, openSignal) => {
        const there = { ...config, bucket: { ...config.bucket, url } };
        const history = await openHistory(there, system, logger, openSignal);
        return {
          tools: replicaTools(history, layout, parts),
          shelf: history.snapshots,
          close: () => history.store.single.close(),
        };
      },
    },
    signal,
  );
}
