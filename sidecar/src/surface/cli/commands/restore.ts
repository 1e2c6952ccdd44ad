import { resolve } from "node:path";
import { MetaMasterError } from "../../../base/errors.js";
import { directoriesOf } from "../../../replica/layout.js";
import { LocalFolders } from "../../../replica/local-folders.js";
import { restoreForMaster } from "../../../replica/restore.js";
import type { RestoreTarget } from "../../../replica/restore-target.js";
import { StateStore } from "../../../replica/state.js";
import { openHistory, replicaTools } from "../../compose/history.js";
import { layoutBelow } from "../../../replica/layout.js";
import type { System } from "../../compose/system.js";
import { approximateDuration, approximateSize } from "../../config/units.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";

export interface RestoreOptions {
  readonly to: string;
  readonly slot?: number;
  readonly sequence?: { readonly database: string; readonly sequence: bigint };
  readonly time?: number;
}

/** Makes a directory of its own from the bucket; no member is needed for it, and none is touched. */
export async function restoreCommand(context: CommandContext, options: RestoreOptions): Promise<number> {
  const target = targetOf(options);
  const { config } = await context.config();
  const { system, logger, signal } = context;
  const directory = resolve(options.to);
  const layout = layoutBelow(directory, config);
  checkDatabase(target, layout.databases);
  const folders = new LocalFolders(directory);
  const store = new StateStore(system.fs, folders);
  await checkTarget(directory, config.dataDirectory, store, system);
  const progress = context.progress();
  const startMs = system.clock.monotonicMs();
  const history = await openHistory(config, system, logger, signal);
  try {
    for (const each of directoriesOf(layout.databases)) await system.fs.makeDirectory(each);
    const tools = replicaTools(history, layout, { config, system, logger, progress });
    const run = { member: config.member, nonce: "restore", bootId: "restore" };
    const { image, fetchedBytes, reusedBytes, logBytes } = await restoreForMaster(
      { tools, shelf: history.snapshots, store, run },
      target,
      signal,
    );
    // A directory of its own: if a member is ever started on it, nothing it finds here may be believed blindly.
    await system.fs.removeTree(folders.root);
    const seconds = (system.clock.monotonicMs() - startMs) / 1000;
    const databases = layout.databases.map(({ name, path }) => ({ name, path, sequence: image.sequences.get(name) }));
    const result = {
      directory,
      position: image.position,
      epoch: image.epoch,
      fetchedBytes,
      reusedBytes,
      logBytes,
      seconds,
      databases,
    };
    context.console.result(result, () =>
      [
        `restored to slot ${image.position.slot} (epoch ${image.epoch}) in ${approximateDuration(seconds)}: ${approximateSize(fetchedBytes + logBytes)} fetched, ${approximateSize(reusedBytes)} were there`,
        ...databases.map(({ name, path, sequence }) => `  ${name}: ${path}, up to sequence ${sequence ?? "-"}`),
      ].join("\n"),
    );
    return exitCodes.ok.code;
  } finally {
    progress.end();
    await history.store.single.close();
  }
}

function targetOf({ slot, sequence, time }: RestoreOptions): RestoreTarget {
  const given = [slot, sequence, time].filter((each) => each !== undefined);
  if (given.length > 1) {
    throw new MetaMasterError("UsageInvalid", "invalid", "Only one of --slot, --sequence and --time can be given.", {
      hint: "Choose one; without any, everything that is durable is restored.",
    });
  }
  if (slot !== undefined) return { kind: "slot", slot };
  if (sequence !== undefined) return { kind: "sequence", ...sequence };
  return time === undefined ? { kind: "end" } : { kind: "time", wallMs: time };
}

/** No entry has numbers of an unknown database: nothing would be beyond it, and everything would be restored. */
function checkDatabase(target: RestoreTarget, databases: readonly { readonly name: string }[]): void {
  if (target.kind !== "sequence" || databases.some(({ name }) => name === target.database)) return;
  throw new MetaMasterError("UsageInvalid", "invalid", `--sequence: there is no database ${target.database}.`, {
    hint: `Name one of the configuration's: ${databases.map(({ name }) => name).join(", ")}.`,
  });
}

/** Empty, new, or what an interrupted restore left. */
async function checkTarget(directory: string, dataDirectory: string, store: StateStore, { fs }: System): Promise<void> {
  const inData = `${directory}/`.startsWith(`${dataDirectory}/`) || `${dataDirectory}/`.startsWith(`${directory}/`);
  if (inData) throw notEmpty(directory, "it is, or holds, or lies in the member's own data directory");
  const stat = await fs.stat(directory);
  if (stat === undefined) return;
  if (stat.kind !== "directory") throw notEmpty(directory, "it is not a directory");
  const entries = await fs.list(directory);
  if (entries.length === 0) return;
  const found = await store.read();
  if (found.found === "state" && found.state.role === "restoring") return;
  throw notEmpty(directory, `it holds ${entries[0]?.name ?? "something"}`);
}

function notEmpty(directory: string, why: string): MetaMasterError {
  return new MetaMasterError("TargetNotEmpty", "invalid", `${directory} can't be restored into: ${why}.`, {
    hint: "Name an empty or new directory with --to.",
    details: { path: directory },
  });
}
