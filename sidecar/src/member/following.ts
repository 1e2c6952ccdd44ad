import { messageOf, messageWithHint, MetaMasterError } from "../base/errors.js";
import type { ReadEntry } from "../formats/entry.js";
import { codeOf, noteWriter, type MemberContext, type Next } from "./context.js";
import { afterFollowError } from "./decisions.js";
import { haltFor } from "./halts.js";
import { answerLast } from "./roll-call.js";
import type { Watch } from "./watch.js";

/** One look at the end of the log: applies what is there and tells the election. Throws what the watch throws, and `DuplicateIdentity`. */
export async function look(context: MemberContext, watch: Watch): Promise<readonly ReadEntry[]> {
  const { components, identity, stop, memory } = context;
  const { clock, election } = components;
  const sentMs = clock.monotonicMs();
  const entries = await watch.poll(stop);
  const readMs = clock.monotonicMs();
  for (const entry of entries) {
    identity.observe(entry);
    election.observed(entry, readMs);
    noteWriter(context, entry);
  }
  await answerLast(context, watch, entries);
  if (entries.length === 0) {
    identity.arm();
    election.observedEnd(sentMs);
  }
  memory.trouble = undefined;
  return entries;
}

/** What comes after an error of a watch; undefined: the same again, after a pause. */
export function nextAfter(context: MemberContext, watch: Watch, error: unknown): Next | undefined {
  const { components, memory } = context;
  const code = codeOf(error);
  const { slot } = watch.end;
  const again = memory.lastResync?.code === code && memory.lastResync.slot === slot;
  const decided = afterFollowError(error, again);
  switch (decided.action) {
    case "Halt":
      return { to: "Halted", halt: haltFor(error, decided.reason, components.clock.wallMs()) };
    case "Resync":
      memory.lastResync = { code, slot };
      components.logger.warn({ err: error, slot }, `comparing the disk with the log again: ${messageOf(error)}`);
      return { to: "Syncing", reason: messageOf(error), ...(again ? { pauseMs: context.settings.retry.maxMs } : {}) };
    case "Retry":
      break;
  }
  memory.trouble = messageWithHint(error);
  components.logger.warn(
    { err: error, slot, kind: error instanceof MetaMasterError ? error.kind : "unexpected" },
    `following is held up at slot ${slot}, trying again: ${messageOf(error)}`,
  );
  return undefined;
}
