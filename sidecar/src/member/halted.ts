import { messageOf, MetaMasterError } from "../base/errors.js";
import type { Logger } from "../base/log.js";
import { stopped, type MemberContext, type Next } from "./context.js";
import { killMaster } from "./fencing.js";
import { haltReasons, type Halt } from "./halts.js";
import { pause, Scope } from "../base/scope.js";
import { Changes } from "../base/changes.js";

/** The go-ahead that a halted member waits for. */
export class Resumption {
  readonly #changes = new Changes();
  #given = false;

  give(): void {
    this.#given = true;
    this.#changes.notify();
  }

  async wait(signal: AbortSignal): Promise<void> {
    while (!this.#given) await this.#changes.wait(signal);
    this.#given = false;
  }
}

/** Why a resume isn't taken; undefined: it is. */
export function resumeRefusal(
  halt: Halt | undefined,
  reason: string,
  masterRunning: boolean,
): MetaMasterError | undefined {
  if (halt === undefined)
    return new MetaMasterError("NotHalted", "conflict", "This member is not halted.", {
      hint: "There is nothing to resume: see `metamaster status`.",
    });
  if (reason !== halt.reason) {
    return new MetaMasterError(
      "ResumeReasonMismatch",
      "invalid",
      `The member is halted for ${halt.reason}, not ${reason}.`,
      {
        hint: `${haltReasons[halt.reason].remedy} Name the reason: --reason ${halt.reason}.`,
      },
    );
  }
  if (masterRunning) {
    return new MetaMasterError("MasterStillRunning", "conflict", "The master has not ended yet.", {
      hint: haltReasons.MasterWillNotDie.remedy,
    });
  }
  return undefined;
}

export function tellHalt(halt: Halt, logger: Logger): void {
  const { meaning, remedy } = haltReasons[halt.reason];
  logger.error(
    { halt, meaning, remedy },
    `halted, ${halt.reason}: ${halt.message.replace(/\.$/, "")}. ${meaning} ${remedy}`,
  );
}

/** Stands still, its master ended, until resumed or told to stop. Stays so over restarts. */
export async function stayHalted(context: MemberContext, halt: Halt, resumption: Resumption): Promise<Next> {
  const { board, components, memory, stop } = context;
  memory.halt = halt;
  board.enter("Halted", `${halt.reason}: ${halt.message}`);
  tellHalt(halt, components.logger);
  context.switchovers.fail(
    new MetaMasterError("SwitchoverFailed", "transient", `this member is halted: ${halt.reason}`),
  );
  await record(context, halt);
  if (!(await endMaster(context))) {
    return { to: "End", end: { reason: "MasterWillNotDie", masterExit: undefined, unshipped: true } };
  }
  await memory.term?.settled();
  try {
    await resumption.wait(stop);
  } catch (error) {
    if (!stop.aborted) throw error;
    return stopped(context);
  }
  await components.records.clearHalt();
  memory.halt = undefined;
  memory.lastResync = undefined;
  return { to: "Syncing", reason: `resumed after ${halt.reason}` };
}

/** It stands still all the same if the disk is full; only a restart would forget. */
async function record(context: MemberContext, halt: Halt): Promise<void> {
  try {
    await context.components.records.writeHalt(halt);
  } catch (error) {
    context.components.logger.error(
      { err: error },
      `the halt could not be recorded, a restart would forget it: ${messageOf(error)}`,
    );
  }
}

/** For ever, loudly. False: told to stop, twice, while it still runs. */
async function endMaster(context: MemberContext): Promise<boolean> {
  const { components, settings, hurry } = context;
  const scope = new Scope(hurry);
  try {
    while ((await killMaster(context, 1)) !== undefined) {
      if (hurry.aborted) return false;
      await pause(components.clock, settings.retry.maxMs, scope.signal);
    }
    return true;
  } finally {
    scope.close();
  }
}
