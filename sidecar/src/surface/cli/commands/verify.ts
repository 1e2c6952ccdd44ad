import { MetaMasterError } from "../../../base/errors.js";
import { verifyBucket, type VerifyReport } from "../../../replica/verify.js";
import { openHistory, replicaTools } from "../../compose/history.js";
import { layoutOf } from "../../compose/settings.js";
import { verifyLocal } from "../../compose/verify.js";
import type { System } from "../../compose/system.js";
import { approximateSize } from "../../config/units.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";

export interface VerifyOptions {
  readonly deep: boolean;
  readonly local: boolean;
}

export async function verifyCommand(context: CommandContext, { deep, local }: VerifyOptions): Promise<number> {
  const { config } = await context.config();
  const { system, logger, signal } = context;
  if (local) await checkThere(config.dataDirectory, system);
  const progress = context.progress();
  const history = await openHistory(config, system, logger, signal);
  try {
    const tools = replicaTools(history, layoutOf(config), { config, system, logger, progress });
    const report = local
      ? await verifyLocal(history, tools, system, logger, signal)
      : await verifyBucket(tools, history.snapshots, { digests: deep }, signal);
    progress.end();
    const subject = local ? config.dataDirectory : history.store.steady.url;
    const problems = report.findings.filter(({ severity }) => severity === "error");
    context.console.result({ subject, deep, ...report, problems: problems.length }, () =>
      reportText(subject, report, problems.length, { deep, local }),
    );
    return problems.length === 0 ? exitCodes.ok.code : exitCodes.corrupt.code;
  } finally {
    progress.end();
    await history.store.single.close();
  }
}

/** Looking must not make the directory that a wrong configuration names. */
async function checkThere(directory: string, { fs }: System): Promise<void> {
  if ((await fs.stat(directory))?.kind === "directory") return;
  throw new MetaMasterError("UsageInvalid", "invalid", `There is no data directory ${directory}.`, {
    hint: "Check `dataDirectory`; `metamaster config explain` says where it came from.",
    details: { path: directory },
  });
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function reportText(subject: string, report: VerifyReport, problems: number, { deep, local }: VerifyOptions): string {
  const { entries, snapshots, objects, bytes, end, findings } = report;
  const how = deep ? "read and compared" : "there, with the right size (--deep reads them)";
  const whole = local ? "whole: it is what the history says" : "whole: everything that a restore needs is there";
  return [
    local
      ? `${subject}: ${counted(objects, "file")} (${approximateSize(bytes)}) compared with the history up to slot ${end.slot}`
      : `${subject}: ${entries === 1 ? "1 entry" : `${entries} entries`} up to slot ${end.slot}, ${counted(snapshots, "snapshot")}`,
    ...(local ? [] : [`${counted(objects, "object")} (${approximateSize(bytes)}) ${how}`]),
    ...findings.map(
      ({ severity, subject: where, code, message }) =>
        `${severity === "error" ? "PROBLEM" : "note"} ${where}: ${message} (${code})`,
    ),
    problems === 0 ? whole : counted(problems, "problem"),
  ].join("\n");
}
