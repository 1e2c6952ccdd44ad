import { hasCode, messageOf, messageWithHint } from "../base/errors.js";
import type { LogWriter } from "../log/log.js";
import { abstentionOf } from "./abstention.js";
import { Backoff } from "./backoff.js";
import { notePrimary, type MemberContext, type Next } from "./context.js";
import type { Candidacy } from "./election/election.js";
import { isUnusable } from "./decisions.js";
import { TimeSplit } from "./failover-record.js";
import { look, nextAfter } from "./following.js";
import { haltFor, haltReasonFor } from "./halts.js";
import { pause } from "../base/scope.js";
import { leave } from "./standby.js";
import { beyondStop, giveBack } from "./stop-grace.js";
import { Term } from "./term.js";
import type { Watch } from "./watch.js";

type Claimed = { readonly writer: LogWriter } | { readonly next: Next };

/** Follows to the very end, claims the next slot, seals the disk. What comes after is the term (primary.ts). */
export async function promote(context: MemberContext, watch: Watch, candidacy: Candidacy): Promise<Next> {
  const { components, board, memory } = context;
  board.enter("Promoting", `${candidacy.reason}: may claim epoch ${watch.epoch + 1}`);
  const split = new TimeSplit(components.clock, candidacy);
  const claimed = await claimNext(context, watch, split);
  if ("next" in claimed) return claimed.next;
  const { writer } = claimed;
  const from = memory.lastPrimary?.member;
  notePrimary(context, context.settings.member, writer.epoch);
  components.logger.info({ epoch: writer.epoch, slot: writer.position.slot, from }, `claimed epoch ${writer.epoch}`);
  const term = new Term(context, writer, { split, from });
  board.enter("Promoting", `won epoch ${writer.epoch}`, { epoch: writer.epoch });
  try {
    await term.open(watch);
  } catch (error) {
    const reason = messageOf(error);
    components.logger.error({ err: error, epoch: writer.epoch }, `the claimed epoch could not be begun: ${reason}`);
    term.abort(reason);
    memory.diskRefused = hasCode(error, "DiskFull") || hasCode(error, "FileSystemFailure");
    return { to: "Fencing", reason, after: afterOpening(context, watch, error) };
  }
  return { to: "Primary", term };
}

function afterOpening(context: MemberContext, watch: Watch, error: unknown): Next {
  if (isUnusable(error)) {
    return { to: "Halted", halt: haltFor(error, "LocalUnusable", context.components.clock.wallMs()) };
  }
  const { minMs } = context.settings.retry;
  return nextAfter(context, watch, error) ?? { to: "Syncing", reason: messageOf(error), pauseMs: minMs };
}

/** Until the claim is won, somebody else shows a sign of life, or the watch is of no use any more. */
async function claimNext(context: MemberContext, watch: Watch, split: TimeSplit): Promise<Claimed> {
  const { components, settings, stop } = context;
  const backoff = new Backoff(components.random, settings.retry);
  for (;;) {
    if (stop.aborted) return { next: await leave(context, watch) };
    try {
      const found = await drain(context, watch);
      if (watch.stale) return { next: { to: "Syncing", reason: "the log went on while the disk was ahead of it" } };
      split.drained();
      if (abstentionOf(context, watch) !== undefined) {
        return { next: { to: "Standby", watch, reason: "the master could not be started" } };
      }
      if (components.election.candidacy(components.clock.monotonicMs()) === undefined) {
        const reason = found ? "another member showed a sign of life" : "leadership is no longer to be had";
        return { next: { to: "Standby", watch, reason } };
      }
      const claimed = await tryClaim(context, watch, split);
      if (claimed !== undefined) return claimed;
      components.logger.info({ slot: watch.end.slot + 1 }, "the claim was lost: the slot is taken");
    } catch (error) {
      if (stop.aborted) {
        components.logger.warn(
          { err: error },
          `stopping while claiming, the outcome is not known: ${messageOf(error)}`,
        );
        continue;
      }
      const next = nextAfter(context, watch, error);
      if (next !== undefined) return { next };
      await pause(components.clock, backoff.nextMs(), stop);
    }
  }
}

/**
 * A claim that was sent may be won although nobody waits for it: told to stop, this member still waits for the outcome for a while, and gives back what it
 * won. Undefined: lost.
 */
async function tryClaim(context: MemberContext, watch: Watch, split: TimeSplit): Promise<Claimed | undefined> {
  const { components, settings, stop, hurry } = context;
  const { clock } = components;
  const ms = Math.min(settings.leaseMs / 3, settings.stop.shipTimeoutMs);
  return await beyondStop({ clock, stop, hurry, ms }, async (signal) => {
    const result = await components.claim(watch.end, watch.epoch + 1, signal);
    split.claimTried();
    if (result.outcome === "lost") return undefined;
    const confirmed = await confirm(context, result.writer, signal);
    if ("next" in confirmed || !stop.aborted) return confirmed;
    await giveBack(context, watch, result.writer, signal);
    return { next: await leave(context, watch) };
  });
}

/** True if anything was there. */
async function drain(context: MemberContext, watch: Watch): Promise<boolean> {
  let found = false;
  for (;;) {
    const entries = await look(context, watch);
    if (entries.length === 0 || watch.stale) return found;
    found = true;
  }
}

/**
 * A claim may have been put into a slot that was written and, long after, deleted: when this process slept for longer than the garbage collector's grace between reading
 * the end and claiming. Then the history goes on behind it. Nothing is begun before the place was looked at once more.
 */
async function confirm(context: MemberContext, writer: LogWriter, signal: AbortSignal): Promise<Claimed> {
  const { components, settings, memory } = context;
  const { reader, logger, clock } = components;
  const backoff = new Backoff(components.random, settings.retry);
  const lost = (reason: string): Claimed => {
    logger.error({ epoch: writer.epoch, slot: writer.position.slot }, `the claim is void: ${reason}`);
    return { next: { to: "Syncing", reason } };
  };
  for (;;) {
    signal.throwIfAborted();
    try {
      if ((await reader.next(writer.position, signal)) !== undefined) return lost("another claim followed it at once");
      if ((await reader.findGap(writer.position.slot + 1, signal)) === undefined) return { writer };
      return lost("the history goes on behind its slot");
    } catch (error) {
      signal.throwIfAborted();
      const reason = haltReasonFor(error);
      if (reason === "LogGap" || reason === "CorruptHistory") return lost(messageOf(error));
      // Left of another cluster, or being deleted: no look that is to come makes it good, and nobody else would hear of it.
      if (reason !== undefined) return { next: { to: "Halted", halt: haltFor(error, reason, clock.wallMs()) } };
      memory.trouble = messageWithHint(error);
      logger.warn({ err: error }, `the claim could not be confirmed, trying again: ${messageOf(error)}`);
      await pause(clock, backoff.nextMs(), signal);
    }
  }
}
