import { messageOf } from "../base/errors.js";
import type { ReadEntry } from "../formats/entry.js";
import { beginsToAbstain } from "./abstention.js";
import { Backoff } from "./backoff.js";
import { noteWriter, stopped, type MemberContext, type Next } from "./context.js";
import { isOwnEpoch, mayStand } from "./decisions.js";
import { look, nextAfter } from "./following.js";
import { RoleAwareRunner } from "./role-aware.js";
import { answerLast } from "./roll-call.js";
import { pause, pauseOrChange } from "../base/scope.js";
import type { Watch } from "./watch.js";

/** How often the log is looked at before the bucket is proven. */
const UNPROVEN_LOOK_MS = 500;

/** Follows the log until this member may claim, the disk must be compared again, or it is told to stop. */
export async function follow(context: MemberContext, watch: Watch, reason: string): Promise<Next> {
  const { components, board, settings, stop, memory } = context;
  const { clock, election } = components;
  board.enter("Standby", reason);
  memory.watch = watch;
  const backoff = new Backoff(components.random, settings.retry);
  const companion = new RoleAwareRunner(context);
  const asked: ReadEntry[] = [];
  let begun = false;
  let savedMs = clock.monotonicMs();
  const { changed } = election;
  while (!stop.aborted) {
    const since = changed.count;
    try {
      if (await beginsToAbstain(context, watch)) begun = false;
      if (!begun) await begin(context, watch, asked);
      begun = true;
      if (watch.stale) return { to: "Syncing", reason: "the log goes on behind what the disk is ahead of" };
      const entries = await look(context, watch);
      if (watch.stale) return { to: "Syncing", reason: "the log went on while the disk was ahead of it" };
      if (entries.length > 0) memory.lastResync = undefined;
      await companion.keepRunning(watch);
      const nowMs = clock.monotonicMs();
      if (nowMs - savedMs >= settings.saveIntervalMs) {
        await watch.save();
        savedMs = nowMs;
      }
      // Before it asks for its candidacy: whoever asks may take a lease, and would keep it from everybody else.
      await tryDisk(context);
      backoff.reset();
      const candidacy = mayBe(context, watch) ? election.candidacy(nowMs) : undefined;
      if (candidacy !== undefined) return { to: "Promoting", watch, candidacy };
      // What was read may be only a part of what is there.
      if (entries.length > 0) continue;
      const delayMs = Math.max(1, election.pollDelayMs(clock.monotonicMs()));
      await pauseOrChange(clock, delayMs, { changes: changed, since }, stop);
    } catch (error) {
      if (stop.aborted) break;
      const next = nextAfter(context, watch, error);
      if (next !== undefined) return next;
      await pause(clock, backoff.nextMs(), stop);
    }
  }
  return await leave(context, watch);
}

/** Follows until the bucket is proven, and only then stands. `asked`: handovers that are to be answered then, kept where a look fails. What was written before this stint says nothing about who lives now, but for the last entry. */
async function begin(context: MemberContext, watch: Watch, asked: ReadEntry[]): Promise<void> {
  const { components, identity, memory, stop } = context;
  let last = (await readToEnd(context, watch)).at(-1);
  identity.arm();
  while (!watch.stale && !(await components.proof.within(UNPROVEN_LOOK_MS, stop))) {
    const entries = await readToEnd(context, watch);
    last = entries.at(-1) ?? last;
    asked.push(...entries.filter(({ header }) => header.kind === "handover"));
  }
  if (watch.stale) return;
  // Whoever asked for this member while it could not stand yet is answered now.
  await answerLast(context, watch, asked);
  asked.length = 0;
  const { slot } = watch.end;
  if (last === undefined && slot >= 0) last = await components.reader.read(slot, stop);
  if (last !== undefined) noteWriter(context, last);
  components.election.begin({
    slot,
    last,
    ownEpoch: isOwnEpoch(watch.reconciled, memory.gaveUp),
    atMs: components.clock.monotonicMs(),
  });
}

/** All that the log holds behind what was read. */
async function readToEnd(context: MemberContext, watch: Watch): Promise<readonly ReadEntry[]> {
  let read: readonly ReadEntry[] = [];
  for (;;) {
    const entries = await watch.poll(context.stop);
    for (const entry of entries) {
      context.identity.observe(entry);
      noteWriter(context, entry);
    }
    if (entries.length === 0 || watch.stale) return read;
    // The last ones do: a long way is not kept in memory.
    read = entries;
  }
}

/** A claim that can't be begun keeps everybody else waiting for a lease: after one, this disk must take a write before the next. */
async function tryDisk({ components, memory }: MemberContext): Promise<void> {
  if (!memory.diskRefused) return;
  await components.records.writeFailovers(memory.failovers);
  memory.diskRefused = false;
}

function mayBe(context: MemberContext, watch: Watch): boolean {
  if (context.memory.abstention !== undefined) return false;
  return mayStand({
    reconciled: watch.reconciled,
    bootstrap: context.settings.bootstrap,
    imageFiles: watch.image.files.size,
  });
}

/** A graceful stop of a standby: what was applied is made to last. */
export async function leave(context: MemberContext, watch: Watch): Promise<Next> {
  const { components, settings, hurry, memory } = context;
  if (components.master.running) {
    memory.masterExit = await components.master.stop({
      graceMs: settings.stop.graceMs,
      killWithinMs: settings.killWithinMs,
      hurry,
    });
  }
  try {
    await watch.save();
  } catch (error) {
    components.logger.warn(
      { err: error },
      `the applied state could not be saved, the next start applies it again: ${messageOf(error)}`,
    );
  }
  return stopped(context);
}
