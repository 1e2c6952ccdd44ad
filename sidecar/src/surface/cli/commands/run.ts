import { messageOf, MetaMasterError } from "../../../base/errors.js";
import type { MemberEnd } from "../../../member/context.js";
import type { Master } from "../../../member/master/master.js";
import type { Member } from "../../../member/member.js";
import { childMaster, containerMaster, type MasterMaker, type MasterParts } from "../../compose/master.js";
import { runMember } from "../../compose/run.js";
import { createLogger, type ProductLogger } from "../../logging/logger.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";
import { ProgressView } from "../progress.js";

const KILL_MS = 5000;

/** Signals of the process, as `run` uses them: the first one stops gracefully, the next ones hurry. */
export interface RunSignals {
  onStop(listener: (name: string) => void): void;
  /** Something was thrown that nobody caught. */
  onDefect(listener: (error: unknown) => void): void;
  /** Ends the process at once. */
  exit(code: number): void;
}

/** `metamaster run`: resolves with the exit code once the master has ended. */
export async function runCommand(
  context: CommandContext,
  command: readonly string[],
  signals: RunSignals,
): Promise<number> {
  const [program, ...args] = command;
  if (program === undefined) {
    throw new MetaMasterError("UsageInvalid", "invalid", "No command for the master was given.", {
      hint: "Write it after two dashes: metamaster run --config metamaster.yaml -- ./my-master --db ./data/meta",
    });
  }
  return await live(context, signals, (parts) => childMaster(parts, [program, ...args]));
}

/** `metamaster sidecar`: the same beside a master in a container of its own; resolves once told to stop. */
export async function sidecarCommand(context: CommandContext, signals: RunSignals): Promise<number> {
  // The master is another user then, who has to write into what is made here: they share the group (the pod's fsGroup).
  if (process.getuid?.() === 0) process.umask(0o002);
  return await live(context, signals, containerMaster);
}

async function live(
  context: CommandContext,
  signals: RunSignals,
  masterOf: (parts: MasterParts) => MasterMaker,
): Promise<number> {
  const { config, cautions } = await context.config();
  const { isTerminal } = context.console;
  const logger = await createLogger({ ...config.log, member: config.member }, isTerminal);
  for (const caution of cautions) logger.warn({}, caution);
  // Told to end while this code was being loaded: nothing is begun that would have to be stopped.
  context.signal.throwIfAborted();
  const stop = new AbortController();
  let running: { readonly member: Member; readonly master: Master } | undefined;
  signals.onStop((name) => {
    const again = stop.signal.aborted;
    logger.info({ signal: name }, again ? `${name} again: stopping without further grace` : `${name}: stopping`);
    if (again) running?.member.hurry();
    else stop.abort(new MetaMasterError("MemberStopped", "transient", `stopped by ${name}`));
  });
  signals.onDefect((error) => void dieOf(error, logger, running?.master, signals));
  const line = (text: string, fields: object): void => logger.info(fields, text);
  const draw = (text: string): void => context.console.raw(text);
  const progress = new ProgressView(context.system.clock, isTerminal ? { line, draw } : { line });
  try {
    const end = await runMember(
      {
        config,
        master: masterOf({ config, system: context.system, logger }),
        system: context.system,
        logger,
        progress,
        onComposed: (member, master) => (running = { member, master }),
      },
      stop.signal,
    );
    return exitCodeOfEnd(end, logger);
  } finally {
    logger.flush();
  }
}

/** The safe thing after a defect is that nothing of ours goes on, the master least of all. */
async function dieOf(
  error: unknown,
  logger: ProductLogger,
  master: Master | undefined,
  signals: RunSignals,
): Promise<void> {
  logger.error({ err: error }, `a defect of MetaMaster, the master is ended: ${messageOf(error)}`);
  try {
    await master?.kill(KILL_MS);
  } catch (killError) {
    // The watchdog ends it as soon as this process is gone.
    logger.error({ err: killError }, `the master could not be ended: ${messageOf(killError)}`);
  }
  logger.flush();
  signals.exit(exitCodes.defect.code);
}

/** The master's own exit code, if it ended by itself with one; what went wrong with stopping comes first. */
function exitCodeOfEnd(end: MemberEnd, logger: ProductLogger): number {
  if (end.reason === "MasterWillNotDie") {
    logger.error({}, "stopped, but the master can't be ended: it may still be writing");
    return exitCodes.masterAlive.code;
  }
  if (end.unshipped) {
    logger.error({}, "stopped before the tail was durable: it is on this disk and is shipped at the next start");
    return exitCodes.unshipped.code;
  }
  logger.info({ masterExit: end.masterExit }, "stopped");
  return end.masterExit?.code ?? exitCodes.ok.code;
}
