import { messageWithHint } from "../base/errors.js";
import type { MemberContext } from "./context.js";
import { isOwnEpoch } from "./decisions.js";
import type { Watch } from "./watch.js";

/**
 * Why a member that may stand for election does not: without a master it would lead for nobody, and keep others waiting. The tail of its own epoch is worth a claim all the same: shipping it needs no
 * master, and once another member has claimed it goes to quarantine.
 */
export function abstentionOf({ components, memory }: MemberContext, watch: Watch): Error | undefined {
  return isOwnEpoch(watch.reconciled, memory.gaveUp) ? undefined : components.master.hindrance;
}

export function abstentionText(error: Error): string {
  return `this member does not stand for election: ${messageWithHint(error)}`;
}

/** True when it begins to abstain: a stint that may have won something ends, and another one goes on watching, so that this member may be elected as soon as its master could be started. */
export async function beginsToAbstain(context: MemberContext, watch: Watch): Promise<boolean> {
  const { memory, components } = context;
  const { election, logger } = components;
  const before = memory.abstention;
  memory.abstention = abstentionOf(context, watch);
  if ((before === undefined) === (memory.abstention === undefined)) return false;
  if (memory.abstention === undefined) {
    logger.info({}, "this member stands for election again");
    return false;
  }
  logger.warn({ err: memory.abstention }, abstentionText(memory.abstention));
  await election.end();
  return true;
}
