import { messageOf, MetaMasterError } from "../base/errors.js";
import type { ReadEntry } from "../formats/entry.js";
import { abstentionOf } from "./abstention.js";
import type { MemberContext } from "./context.js";
import { mayStand } from "./decisions.js";
import { pause, within } from "../base/scope.js";
import type { Watch } from "./watch.js";

const lookMs = 100;
/** An answer that comes later is of no use, and following waits for it. */
const answerWithinMs = 2000;

/** On a standby: whoever is to take over by name says that it is here, and so do the others, so that the one who asked learns of them. */
export async function answerLast(context: MemberContext, watch: Watch, entries: readonly ReadEntry[]): Promise<void> {
  const { components, settings, stop, memory } = context;
  const { clock, rollCall, logger } = components;
  const last = entries.findLast(({ header }) => header.kind === "handover");
  if (last === undefined || last.header.writer.member === settings.member) return;
  if (!last.operations.some((operation) => operation.type === "handover" && operation.to !== "")) return;
  const facts = { reconciled: watch.reconciled, bootstrap: settings.bootstrap, imageFiles: watch.image.files.size };
  if (watch.stale || memory.diskRefused || !mayStand(facts) || abstentionOf(context, watch) !== undefined) return;
  const { slot } = last.header;
  try {
    await within({ clock, ms: answerWithinMs, signal: stop, what: "answering to a handover" }, (signal) =>
      rollCall.answer(slot, settings.member, signal),
    );
  } catch (error) {
    if (!stop.aborted) logger.warn({ err: error, slot }, `the handover could not be answered: ${messageOf(error)}`);
  }
}

/** On the primary, whose master serves meanwhile. Throws `SwitchoverRefused` (conflict), which names the standbys that have answered. */
export async function untilAnswered(
  context: MemberContext,
  to: string,
  slot: number,
  signal: AbortSignal,
): Promise<void> {
  const { components, settings } = context;
  const { clock, rollCall } = components;
  const ms = settings.switchover.answerMs;
  const untilMs = clock.monotonicMs() + ms;
  await within({ clock, ms: 2 * ms, signal, what: `waiting for an answer of ${to}` }, async (inner) => {
    await rollCall.clearBefore(slot, inner);
    for (;;) {
      const present = await rollCall.present(slot, inner);
      if (present.includes(to)) return;
      if (clock.monotonicMs() >= untilMs) throw absent(to, present);
      await pause(clock, lookMs, inner);
      inner.throwIfAborted();
    }
  });
}

function absent(to: string, present: readonly string[]): MetaMasterError {
  const known = present.length === 0 ? "no standby answers" : `the standbys that answer are ${present.join(", ")}`;
  return new MetaMasterError("SwitchoverRefused", "conflict", `${to} is no standby that could take over: ${known}.`, {
    hint: "Nothing was ended. Name a member that runs and follows (`metamaster status` on it says Standby), or none for whoever comes first.",
    details: { to, standbys: present.join(", ") },
  });
}
