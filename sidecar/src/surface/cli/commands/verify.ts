import { openHistory, replicaTools } from "../../compose/history.js";
import { layoutOf } from "../../compose/settings.js";
import { Verification, type VerifyReport } from "../../compose/verify.js";
import { approximateSize } from "../../config/units.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";

export async function verifyCommand(context: CommandContext, options: { readonly deep: boolean }): Promise<number> {
  const { config } = await context.config();
  const { system, logger, signal } = context;
  const progress = context.progress();
  const history = await openHistory(config, system, logger, signal);
  try {
    const tools = replicaTools(history, layoutOf(config), { config, system, logger, progress });
    const report = await new Verification(history, tools, options.deep).run(signal);
    progress.end();
    context.console.result(report, () => reportText(report));
    return report.problems.length === 0 ? exitCodes.ok.code : exitCodes.corrupt.code;
  } finally {
    progress.end();
    await history.store.single.close();
  }
}

function reportText(report: VerifyReport): string {
  const { bucket, fromSlot, toSlot, epoch, snapshots, objects, objectBytes, deep, problems } = report;
  const how = deep ? "read and compared" : "there, with the right size (--deep reads them)";
  return [
    `${bucket}: slots ${fromSlot}-${toSlot}, epoch ${epoch}, ${snapshots} snapshots`,
    `${objects} objects (${approximateSize(objectBytes)}) ${how}`,
    ...problems.map(({ where, code, message }) => `PROBLEM ${where}: ${message} (${code})`),
    problems.length === 0 ? "whole: everything that a restore needs is there" : `${problems.length} problems`,
  ].join("\n");
}
