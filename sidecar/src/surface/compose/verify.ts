import { LinuxProcesses } from "../../base/linux-processes.js";
import { isPresent } from "../../base/presence.js";
import type { Logger } from "../../base/log.js";
import { DirectoryLock } from "../../replica/directory-lock.js";
import { StateStore } from "../../replica/state.js";
import type { ReplicaTools } from "../../replica/tools.js";
import { verifyDirectory } from "../../replica/verify-directory.js";
import type { VerifyReport } from "../../replica/verify.js";
import type { History } from "./history.js";
import type { System } from "./system.js";

/** The member's own directory against the history; refused (`DirectoryInUse`) while a member runs on it. */
export async function verifyLocal(
  history: History,
  tools: ReplicaTools,
  system: System,
  logger: Logger,
  signal: AbortSignal,
): Promise<VerifyReport> {
  const processes = await LinuxProcesses.open(system.fs, process.pid);
  const nonce = Buffer.from(system.random.bytes(16)).toString("hex");
  await tools.fs.makeDirectory(tools.folders.root);
  await tools.fs.makeDirectory(tools.folders.alive);
  if (await isPresent(tools.folders.alive)) {
    throw await DirectoryLock.inUse(system.fs, tools.folders);
  }
  const lock = await DirectoryLock.acquire(system.fs, tools.folders, processes, nonce, logger);
  try {
    return await verifyDirectory(tools, history.snapshots, new StateStore(system.fs, tools.folders), signal);
  } finally {
    await lock.release();
  }
}
