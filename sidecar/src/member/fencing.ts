import { messageOf, MetaMasterError } from "../base/errors.js";
import { stopped, type MemberContext, type Next } from "./context.js";
import { haltFor } from "./halts.js";

/** Attempts before the member halts; in `Halted` they go on. */
const attempts = 3;

/** Kills the master, waits until it is really gone and until nothing of the term goes on; only then anything else may happen. */
export async function fence(context: MemberContext, reason: string, after: Next): Promise<Next> {
  const { board, memory, components } = context;
  const { term } = memory;
  const before = board.state;
  term?.abort(reason);
  board.enter("Fencing", reason, before.epoch === undefined ? {} : { epoch: before.epoch });
  context.switchovers.failUnreleased(
    new MetaMasterError("SwitchoverFailed", "transient", `leadership was lost during the switchover: ${reason}`),
  );
  const failure = await killMaster(context, attempts);
  if (failure !== undefined) {
    return { to: "Halted", halt: haltFor(failure, "MasterWillNotDie", components.clock.wallMs()) };
  }
  await term?.settled();
  if (context.stop.aborted && after.to !== "Halted" && after.to !== "End") return stopped(context, true);
  return after;
}

/** Undefined once nothing of the master is left, else the last failure. */
export async function killMaster(context: MemberContext, tries: number): Promise<unknown> {
  const { components, settings } = context;
  let failure: unknown;
  for (let attempt = 1; attempt <= tries; attempt++) {
    try {
      await components.master.kill(settings.killWithinMs);
      return undefined;
    } catch (error) {
      failure = error;
      components.logger.error(
        { err: error, attempt },
        `THE MASTER DOES NOT DIE and may still be writing; nothing is claimed or acknowledged until it has ended: ${messageOf(error)}`,
      );
    }
  }
  return failure;
}
