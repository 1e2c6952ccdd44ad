import { messageOf } from "../base/errors.js";
import type { MemberContext } from "./context.js";
import { untilAnswered } from "./roll-call.js";
import { Scope, within } from "../base/scope.js";
import type { Term } from "./term.js";

export interface HandOver {
  /** "": whoever comes first. */
  readonly to: string;
  /** Nothing is ended before this member has answered; undefined: nobody is waited for. */
  readonly awaited?: string | undefined;
  readonly term: Term;
  /** Each step's end, for the time split. */
  readonly lap: (step: "prepareMs" | "stopMs" | "shipMs") => void;
}

/** Followers are told that an end is coming, and most of what would have to be shipped after it is shipped before: the master still serves. */
export async function announce(context: MemberContext, handOver: HandOver): Promise<void> {
  const { components, settings } = context;
  const { term, to, awaited } = handOver;
  const { clock } = components;
  const lookOftenMs = settings.stop.graceMs + 2 * settings.stop.shipTimeoutMs;
  const ms = settings.stop.shipTimeoutMs;
  const scope = new Scope(term.signal, context.hurry);
  try {
    const { position } = await within({ clock, ms, signal: scope.signal, what: "announcing the handover" }, (inner) =>
      term.track(term.pen.announce(to, lookOftenMs, inner)),
    );
    if (awaited !== undefined) await untilAnswered(context, awaited, position.slot, scope.signal);
    await within({ clock, ms, signal: scope.signal, what: "the checkpoint before the handover" }, (inner) =>
      term.track(term.shipper.checkpoint("Stop", inner)),
    );
  } finally {
    scope.close();
    handOver.lap("prepareMs");
  }
}

/**
 * The planned end of a term: the master ends, its tail is shipped, the epoch is released. False: not all of it could be made durable in time;
 * then nothing is released. Rejects with the term's reason if leadership is lost meanwhile, and with `MasterWillNotDie`.
 */
export async function conclude(context: MemberContext, handOver: HandOver): Promise<boolean> {
  const { components, settings, hurry, memory } = context;
  const { term, to } = handOver;
  const { graceMs, shipTimeoutMs } = settings.stop;
  term.renewFor(graceMs + 2 * settings.killWithinMs + 2 * shipTimeoutMs);
  const rush = new Scope(hurry, term.signal);
  try {
    memory.masterExit = await components.master.stop({
      graceMs,
      killWithinMs: settings.killWithinMs,
      hurry: rush.signal,
    });
  } finally {
    rush.close();
    handOver.lap("stopMs");
  }
  term.signal.throwIfAborted();
  try {
    await ship(context, handOver, (signal) => term.track(term.shipper.finish(signal)));
    await ship(context, handOver, (signal) => term.track(term.pen.release(to, settings.switchover.reservedMs, signal)));
    components.election.released();
    return true;
  } catch (error) {
    term.signal.throwIfAborted();
    components.logger.error(
      { err: error, epoch: term.epoch },
      `the tail could not be made durable in time; it stays on this disk and is shipped when this member starts again, unless another claims first: ${messageOf(error)}`,
    );
    return false;
  } finally {
    handOver.lap("shipMs");
  }
}

/** In a hurry it is still tried, but not for long. */
async function ship(
  context: MemberContext,
  handOver: HandOver,
  work: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  const { components, settings, hurry } = context;
  const { clock } = components;
  const ms = settings.stop.shipTimeoutMs;
  await within({ clock, ms, signal: handOver.term.signal, what: "shipping the tail" }, (signal) =>
    shorten(clock, signal, hurry, work),
  );
}

const hurriedMs = 2000;

async function shorten(
  clock: MemberContext["components"]["clock"],
  signal: AbortSignal,
  hurry: AbortSignal,
  work: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  const scope = new Scope(signal);
  const onHurry = (): void => {
    clock.sleep(hurriedMs, scope.signal).then(
      () => scope.abort(new Error("told to hurry")),
      () => undefined,
    );
  };
  if (hurry.aborted) onHurry();
  else hurry.addEventListener("abort", onHurry, { once: true });
  try {
    await work(scope.signal);
  } finally {
    hurry.removeEventListener("abort", onHurry);
    scope.abort(new Error("over"));
  }
}
