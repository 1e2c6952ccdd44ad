import { CommanderError, type Command } from "commander";
import { CommandContext, type CliEnvironment } from "./context.js";
import { Console } from "./console.js";
import { exitCodeOf, exitCodes } from "./exit-codes.js";
import { buildProgram } from "./program.js";
import type { RunSignals } from "./commands/run.js";

/** Carries out a command line; resolves with the exit code. `args`: without the program's own name. */
export async function runCli(
  args: readonly string[],
  environment: CliEnvironment,
  signals: RunSignals,
): Promise<number> {
  let code: number = exitCodes.ok.code;
  const program = buildProgram(async (options, work) => {
    const context = new CommandContext(environment, options);
    try {
      code = await work(context);
    } catch (error) {
      context.console.error(error);
      code = exitCodeOf(error);
    }
  }, signals);
  quiet(program, environment);
  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    // Commander has printed it already; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok.code : exitCodes.usage.code;
    new Console(environment.streams, { format: "text", verbose: true }).error(error);
    return exitCodes.defect.code;
  }
  return code;
}

/** No command ends the process, and all print to where we say. */
function quiet(command: Command, environment: CliEnvironment): void {
  const { out, err } = environment.streams;
  command.exitOverride().configureOutput({ writeOut: out, writeErr: err });
  for (const each of command.commands) quiet(each, environment);
}
