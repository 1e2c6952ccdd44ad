import { hasCode, messageOf, MetaMasterError } from "../base/errors.js";
import { stopped, type MemberContext, type Next } from "./context.js";
import { announce, conclude, type HandOver } from "./hand-over.js";
import { pause, Scope } from "../base/scope.js";
import { supervise } from "./supervise.js";
import { switchoverFailed, type PendingSwitchover } from "./switchover.js";
import type { Term } from "./term.js";

type Event =
  | { readonly kind: "Lost"; readonly reason: string }
  | { readonly kind: "Failed"; readonly reason: string }
  | { readonly kind: "Stop" }
  | { readonly kind: "Switchover"; readonly pending: PendingSwitchover };

/** From the first start of the master in this epoch to the end of the term, planned or not. */
export async function serve(context: MemberContext, term: Term): Promise<Next> {
  const supervision = new Scope(term.signal);
  const failed = term.track(supervise(context, term, supervision.signal));
  void term.track(lookAtNextSlot(context, term));
  try {
    for (;;) {
      const event = await nextEvent(context, term, failed);
      const next = await act(context, term, event, async () => {
        supervision.abort(new MetaMasterError("TermEnded", "fenced", "the term is being ended"));
        await failed;
      });
      if (next !== undefined) return next;
    }
  } catch (error) {
    return fencing(context, term, error);
  } finally {
    supervision.abort(new MetaMasterError("TermEnded", "fenced", "the term has ended"));
  }
}

async function nextEvent(context: MemberContext, term: Term, failed: Promise<string | undefined>): Promise<Event> {
  const scope = new Scope();
  const { signal } = scope;
  try {
    return await Promise.race([
      onAbort(term.signal, signal).then((reason): Event => ({ kind: "Lost", reason: messageOf(reason) })),
      onAbort(context.stop, signal).then((): Event => ({ kind: "Stop" })),
      failed.then((reason): Event =>
        reason === undefined ? { kind: "Lost", reason: messageOf(term.signal.reason) } : { kind: "Failed", reason },
      ),
      context.switchovers.next(signal).then(
        (pending): Event => ({ kind: "Switchover", pending }),
        // Only when another event came first.
        () => new Promise<Event>(() => {}),
      ),
    ]);
  } finally {
    scope.abort(new Error("over"));
  }
}

/** Resolves with the reason when `watched` aborts; listens no longer once `until` aborts. */
function onAbort(watched: AbortSignal, until: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    const listener = (): void => resolve(watched.reason);
    if (watched.aborted) listener();
    else watched.addEventListener("abort", listener, { once: true, signal: until });
  });
}

/** Undefined: go on as primary. */
async function act(
  context: MemberContext,
  term: Term,
  event: Event,
  endSupervision: () => Promise<void>,
): Promise<Next | undefined> {
  switch (event.kind) {
    case "Lost":
      return fencing(context, term, term.signal.reason ?? event.reason);
    case "Failed":
      return await stepDown(context, term, event.reason);
    case "Stop":
      return await stop(context, term, endSupervision);
    case "Switchover":
      break;
  }
  return await switchOver(context, term, event.pending, endSupervision);
}

function fencing(context: MemberContext, term: Term, error: unknown): Next {
  const reason = messageOf(error);
  term.abort(reason);
  const { minMs } = context.settings.retry;
  return { to: "Fencing", reason, after: { to: "Syncing", reason, pauseMs: minMs } };
}

/** The master can't be kept alive here: another member may do better. */
async function stepDown(context: MemberContext, term: Term, failure: string): Promise<Next> {
  const { memory, components } = context;
  const reason = `the master could not be kept running: ${failure}`;
  components.logger.error({ epoch: term.epoch, failure }, `stepping down: ${reason}`);
  memory.gaveUp = true;
  await conclude(context, { to: "", term, lap: () => {} });
  return fencing(context, term, reason);
}

async function stop(context: MemberContext, term: Term, endSupervision: () => Promise<void>): Promise<Next> {
  const { components, hurry } = context;
  const handOver: HandOver = { to: "", term, lap: () => {} };
  components.logger.info(
    { epoch: term.epoch },
    "stopping: the master ends, its tail is shipped, the epoch is released",
  );
  if (!hurry.aborted && components.master.running) {
    await announce(context, handOver).catch((error: unknown) => {
      components.logger.warn({ err: error }, `stopping without an announcement: ${messageOf(error)}`);
    });
  }
  await endSupervision();
  const shipped = await conclude(context, handOver);
  const reason = "told to stop";
  term.abort(reason);
  return { to: "Fencing", reason, after: stopped(context, !shipped) };
}

async function switchOver(
  context: MemberContext,
  term: Term,
  pending: PendingSwitchover,
  endSupervision: () => Promise<void>,
): Promise<Next | undefined> {
  const { components, switchovers, memory } = context;
  const to = pending.request.to ?? "";
  const handOver: HandOver = { to, awaited: pending.request.to, term, lap: (step) => pending.lap(step) };
  pending.taken = true;
  components.logger.info({ epoch: term.epoch, to }, `switching over to ${to === "" ? "whoever comes first" : to}`);
  try {
    await announce(context, handOver);
  } catch (error) {
    term.signal.throwIfAborted();
    if (hasCode(error, "SwitchoverRefused")) {
      components.logger.warn({ err: error }, `no switchover: ${messageOf(error)}`);
      switchovers.fail(error);
      return undefined;
    }
    const message = `nothing was ended, this member stays primary: ${messageOf(error)}`;
    components.logger.warn({ err: error }, `the switchover failed: ${message}`);
    switchovers.fail(switchoverFailed(message, error));
    return undefined;
  }
  await endSupervision();
  const shipped = await conclude(context, handOver);
  if (shipped) {
    pending.released = true;
    memory.gaveUp = true;
  } else {
    switchovers.fail(
      switchoverFailed("the tail could not be made durable in time; this member tries to go on as primary"),
    );
  }
  return fencing(context, term, shipped ? "handed over" : "the switchover failed");
}

/** Where nothing is written for long, and no election writes heartbeats, a fenced primary would not learn of it. */
async function lookAtNextSlot(context: MemberContext, term: Term): Promise<void> {
  const { components, settings } = context;
  const { clock, logger } = components;
  for (;;) {
    const quietMs = clock.monotonicMs() - term.pen.lastSentMs;
    if (!(await pause(clock, Math.max(settings.fenceCheckMs / 4, settings.fenceCheckMs - quietMs), term.signal)))
      return;
    if (clock.monotonicMs() - term.pen.lastSentMs < settings.fenceCheckMs) continue;
    try {
      await term.pen.checkFence(term.signal);
    } catch (error) {
      if (term.signal.aborted) return;
      if (term.pen.fenced !== undefined) term.lose("another member claimed", error);
      else logger.debug({ err: error }, `the next slot could not be looked at: ${messageOf(error)}`);
    }
  }
}
