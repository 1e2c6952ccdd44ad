import { messageOf, messageWithHint } from "../base/errors.js";
import { EMPTY_IMAGE } from "../formats/image.js";
import { Backoff } from "./backoff.js";
import { stopped, type MemberContext, type Next } from "./context.js";
import { afterSyncError } from "./decisions.js";
import { haltFor } from "./halts.js";
import { pause, untilAborted } from "../base/scope.js";
import { FollowerWatch, TailWatch, type Watch } from "./watch.js";

/** Ends whatever master may be left, compares the disk with the log, and makes ready to watch. Trouble is tried again for ever. */
export async function sync(context: MemberContext, reason: string, pauseMs: number): Promise<Next> {
  const { components, board, settings, stop, memory } = context;
  board.enter("Syncing", reason);
  // Where it was before its term says nothing of where it is.
  memory.watch = undefined;
  const backoff = new Backoff(components.random, settings.retry);
  await pause(components.clock, pauseMs, stop);
  for (;;) {
    if (stop.aborted) return stopped(context);
    try {
      // Nobody may have the databases open while files are compared, truncated or replaced.
      await components.master.kill(settings.killWithinMs);
      const { watch, how } = await prepare(context);
      memory.trouble = undefined;
      return { to: "Standby", watch, reason: `the disk is ${how} at slot ${watch.image.position.slot}` };
    } catch (error) {
      if (stop.aborted) return stopped(context);
      const decided = afterSyncError(error);
      // A master that can't be ended here is not ours to halt for: nothing was claimed. It is waited for, loudly.
      if (decided.action === "Halt" && decided.reason !== "MasterWillNotDie") {
        return { to: "Halted", halt: haltFor(error, decided.reason, components.clock.wallMs()) };
      }
      memory.trouble = messageWithHint(error);
      const againMs = backoff.nextMs();
      components.logger.warn(
        { err: error, againMs: Math.round(againMs) },
        `the disk could not be brought in line with the log, trying again: ${messageOf(error)}`,
      );
      await pause(components.clock, againMs, stop);
    }
  }
}

/** `how`: what the disk is, or was done to it, in a word for people. */
async function prepare(context: MemberContext): Promise<{ readonly watch: Watch; readonly how: string }> {
  const { components, stop } = context;
  const { logger, reader } = components;
  const reconciled = await untilAborted(components.reconcile(stop), stop);
  switch (reconciled.state) {
    case "Empty":
      return { watch: new FollowerWatch("Empty", await components.makeFollower(EMPTY_IMAGE)), how: "empty" };
    case "Following":
      if (reconciled.quarantine !== undefined) {
        const { directory, databases } = reconciled.quarantine;
        logger.warn(
          { directory, databases },
          `what this disk held beyond the history was moved to quarantine: ${directory}`,
        );
        components.hooks?.quarantined?.(directory);
      }
      logger.info(
        { how: reconciled.how, slot: reconciled.image.position.slot, epoch: reconciled.image.epoch },
        `the disk equals the log at slot ${reconciled.image.position.slot}`,
      );
      return {
        watch: new FollowerWatch("Following", await components.makeFollower(reconciled.image)),
        how: reconciled.how === "Followed" ? "in line with the log" : reconciled.how.toLowerCase(),
      };
    case "Adoptable":
    case "Ahead":
      break;
  }
  const { state, image } = reconciled;
  return { watch: new TailWatch(state, image, reader, components.sealAhead), how: state.toLowerCase() };
}
