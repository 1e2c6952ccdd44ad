import { verifyBucket, type VerifyReport } from "../../../replica/verify.js";
import { openHistory, replicaTools } from "../../compose/history.js";
import { layoutOf } from "../../compose/settings.js";
import { verifyLocal } from "../../compose/verify.js";
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

function reportText(subject: string, report: VerifyReport, problems: number, { deep, local }: VerifyOptions): string {
  const { entries, snapshots, objects, bytes, end, findings } = report;
  const how = deep ? "read and compared" : "there, with the right size (--deep reads them)";
  const whole = local ? "whole: it is what the history says" : "whole: everything that a restore needs is there";
  return [
    local
      ? `${subject}: ${objects} files (${approximateSize(bytes)}) compared with the history up to slot ${end.slot}`
      : `${subject}: ${entries} entries up to slot ${end.slot}, ${snapshots} snapshots`,
    ...(local ? [] : [`${objects} objects (${approximateSize(bytes)}) ${how}`]),
    ...findings.map(
      ({ severity, subject: where, code, message }) =>
        `${severity === "error" ? "PROBLEM" : "note"} ${where}: ${message} (${code})`,
    ),
    problems === 0 ? whole : `${problems} problems`,
  ].join("\n");
}
