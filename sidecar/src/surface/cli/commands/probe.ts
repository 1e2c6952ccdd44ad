import { BucketUnsafe, probeBucket, type ProbeReport } from "../../../bucket/probe.js";
import { openStore } from "../../compose/store.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";

export async function probeCommand(context: CommandContext): Promise<number> {
  const { config } = await context.config();
  const store = await openStore(config, context.system, context.logger);
  try {
    const report = await probeBucket(store.single, { ...context.system, onRetry: store.onRetry }, context.signal);
    context.console.result(report, () => reportText(report));
    return exitCodes.ok.code;
  } catch (error) {
    if (error instanceof BucketUnsafe) {
      const { report } = error;
      context.console.result(report, () => reportText(report));
    }
    throw error;
  } finally {
    await store.single.close();
  }
}

function reportText({ url, safe, steps }: ProbeReport): string {
  const lines = steps.map(
    ({ name, ok, saw, durationMs }) => `${ok ? "ok  " : "FAIL"} ${name}: ${saw} (${Math.round(durationMs)} ms)`,
  );
  return [...lines, safe ? `${url} is safe to use` : `${url} is NOT safe to use`].join("\n");
}
