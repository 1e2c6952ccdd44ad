import type { Logger } from "../../base/log.js";
import { ChildMaster } from "../../member/master/child-master.js";
import { ContainerGuard } from "../../member/master/container-guard.js";
import { ContainerMaster } from "../../member/master/container-master.js";
import { LinuxProcessTable } from "../../member/master/container-processes.js";
import { Gate } from "../../member/master/gate.js";
import { childLink, socketLink } from "../../member/master/guard-link.js";
import { healthProbe } from "../../member/master/health-probes.js";
import { LockBar } from "../../member/master/lock-bar.js";
import type { Master } from "../../member/master/master.js";
import { LocalFolders } from "../../replica/local-folders.js";
import type { LoadedConfig } from "../config/load.js";
import { healthCheck } from "./settings.js";
import type { System } from "./system.js";

const OWN_CHILD =
  "no `watchdogSocket` is set: the watchdog is a child of this process and may end with it (in a container that is killed for its memory, say), and nobody ends the master then before this process is back; run `metamaster watchdog` in a container of its own";

export interface MasterParts {
  readonly config: LoadedConfig["config"];
  readonly system: System;
  readonly logger: Logger;
}

/** The master, once it is known where this member's HTTP answers. */
export interface MasterMaker {
  make(url: string): Master;
  /** Of a master in a container of its own. */
  readonly gate?: Gate;
  /** To be waited for once it is made, before anybody looks at a LOCK: sidecar and watchdog know each other, if there is a watchdog. */
  readonly acquainted?: () => Promise<void>;
  /** Whether anybody has one of its databases open. */
  readonly isHeld?: () => boolean;
}

/** `metamaster run -- COMMAND` */
export function childMaster(parts: MasterParts, [command, ...args]: readonly [string, ...string[]]): MasterMaker {
  const { config, system, logger } = parts;
  const environment = { env: process.env, cwd: process.cwd() };
  const { member, cluster } = config;
  const lockDirectories = config.databases.map(({ path }) => path);
  const probe = healthProbe(healthCheck(config), environment);
  return {
    make: (url) =>
      new ChildMaster(
        { command, args, ...environment, url, member, cluster, lockDirectories },
        { clock: system.clock, logger, probe },
      ),
  };
}

/** `metamaster sidecar` */
export function containerMaster({ config, system, logger }: MasterParts): MasterMaker {
  const { clock } = system;
  const gate = new Gate();
  const databases = config.databases.map(({ name, path }) => ({ name, path }));
  const shelf = new LocalFolders(config.dataDirectory).locks;
  const bar = new LockBar(databases, shelf);
  const table = new LinuxProcessTable();
  const { watchdogSocket } = config;
  if (watchdogSocket === undefined) logger.warn({}, OWN_CHILD);
  const link = watchdogSocket === undefined ? childLink({ databases, shelf }) : socketLink(watchdogSocket);
  const guard = new ContainerGuard(link, clock, logger, (pid) => (table.partner = pid));
  const master = new ContainerMaster({
    clock,
    logger,
    probe: healthProbe(healthCheck(config), { env: process.env, cwd: process.cwd() }),
    gate,
    bar,
    table,
    guard,
  });
  const make = (): Master => {
    guard.join();
    return master;
  };
  return { make, gate, acquainted: () => guard.acquainted(), isHeld: () => isHeld(bar) };
}

/** A disk that doesn't say is no proof that nobody does. */
function isHeld(bar: LockBar): boolean {
  try {
    return bar.holders().length > 0;
  } catch {
    return true;
  }
}
