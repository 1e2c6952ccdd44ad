import { NO_LONGER, type Clock } from "../base/clock.js";
import { messageOf } from "../base/errors.js";
import type { LogWriter } from "../log/log.js";
import type { MemberContext } from "./context.js";
import { LeaderPen } from "./leader-pen.js";
import { Scope } from "../base/scope.js";
import type { Watch } from "./watch.js";

interface Grace {
  readonly clock: Clock;
  readonly stop: AbortSignal;
  readonly hurry: AbortSignal;
  /** From `stop` on. */
  readonly ms: number;
}

/** Runs `work` with a signal that aborts `ms` after `stop`, or with `hurry`. */
export async function beyondStop<T>(
  { clock, stop, hurry, ms }: Grace,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const scope = new Scope(hurry);
  const timer = new AbortController();
  const onStop = (): void => {
    clock.sleep(ms, timer.signal).then(
      () => scope.abort(stop.reason),
      // Only our own abort below ends it early.
      () => undefined,
    );
  };
  if (stop.aborted) onStop();
  else stop.addEventListener("abort", onStop, { once: true });
  try {
    return await work(scope.signal);
  } finally {
    stop.removeEventListener("abort", onStop);
    timer.abort(NO_LONGER);
    scope.close();
  }
}

/**
 * Told to stop between the claim and the epoch's first act: the epoch is released, or the others would wait a lease for a member that is gone. Not where
 * this disk holds what the log lacks: it is this member's to ship at its next start, and goes to quarantine if another claims first.
 */
export async function giveBack(
  context: MemberContext,
  watch: Watch,
  writer: LogWriter,
  signal: AbortSignal,
): Promise<void> {
  const { settings, components } = context;
  const { epoch } = writer;
  if (watch.reconciled === "Ahead" || watch.reconciled === "Adoptable") {
    components.logger.info({ epoch }, "stopping without a release: this disk holds what the log lacks");
    return;
  }
  try {
    await new LeaderPen(writer, () => undefined).release("", settings.switchover.reservedMs, signal);
    components.logger.info({ epoch }, `told to stop while claiming: epoch ${epoch} is released`);
  } catch (error) {
    components.logger.warn(
      { err: error, epoch },
      `epoch ${epoch} could not be released, another member claims after a lease: ${messageOf(error)}`,
    );
  }
}
