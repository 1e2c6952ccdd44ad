import { messageOf } from "../base/errors.js";
import { Backoff } from "./backoff.js";
import type { MemberContext } from "./context.js";
import { afterMasterFailure } from "./decisions.js";
import type { MasterExit } from "./master/master.js";
import { pause, Scope, within } from "../base/scope.js";
import type { Term } from "./term.js";

/** While opening the check is asked this often, if its own interval isn't shorter: every bit of it is part of a failover. */
const openProbeMs = 50;
/** A master that opens longer than this is told of with what its check says: a check that can never succeed looks the same. */
const openQuietMs = 10_000;
/** Shipping the tail of a master that crashed, before it is started again; past it the checkpoint after the restart covers it. */
const tailMsMax = 5000;

/**
 * Starts the master, waits until it answers, watches it, restarts it in place. Resolves with the reason once it must be handed over, or with
 * undefined when `signal` aborts (then the master is left as it is).
 */
export async function supervise(context: MemberContext, term: Term, signal: AbortSignal): Promise<string | undefined> {
  const { components, settings, memory } = context;
  const { clock, logger, master } = components;
  const { restartGraceMs, openTimeoutMs } = settings.failover;
  const backoff = new Backoff(components.random, settings.retry);
  let failingSinceMs: number | undefined;
  for (;;) {
    const untilMs =
      failingSinceMs === undefined ? clock.monotonicMs() + openTimeoutMs : failingSinceMs + restartGraceMs;
    const run = await runOnce(context, term, untilMs, signal);
    if (signal.aborted) return undefined;
    const nowMs = clock.monotonicMs();
    if (failingSinceMs === undefined || run.healthyForMs >= restartGraceMs) {
      failingSinceMs = nowMs;
      backoff.reset();
    }
    memory.trouble = `the master failed: ${run.failure}`;
    logger.error({ epoch: term.epoch, running: master.running }, `the master failed: ${run.failure}`);
    if (afterMasterFailure({ nowMs, failingSinceMs, restartGraceMs }) === "StepDown") return run.failure;
    const restOfGraceMs = failingSinceMs + restartGraceMs - nowMs;
    const { graceMs } = settings.stop;
    term.renewFor(restOfGraceMs + graceMs);
    await clearAway(context, term, Math.min(graceMs, restOfGraceMs), signal);
    if (!(await pause(clock, backoff.nextMs(), signal))) return undefined;
    memory.restarts += 1;
    logger.warn({ epoch: term.epoch, restarts: memory.restarts }, "restarting the master in place");
  }
}

interface RunEnd {
  readonly failure: string;
  readonly healthyForMs: number;
}

/** One life of the master. Must have answered by `untilMs`. */
async function runOnce(context: MemberContext, term: Term, untilMs: number, signal: AbortSignal): Promise<RunEnd> {
  const { board, components, settings } = context;
  const { clock, master } = components;
  const adopted = settings.gate === "RoleAware" && master.running;
  try {
    term.renewFor(untilMs - clock.monotonicMs());
    if (adopted) term.shipper.masterStarting();
    else await term.startMaster();
  } catch (error) {
    return { failure: `could not be started: ${messageOf(error)}`, healthyForMs: 0 };
  }
  const { role } = board.state;
  const roleNow = settings.gate === "RoleAware" ? "Primary" : role;
  if (role !== roleNow || !board.state.writable) {
    board.enter(roleNow, `opening the databases in epoch ${term.epoch}`, { epoch: term.epoch, writable: true });
  }
  // Aborts when this run of the master ends: one listener a run, however often it is asked.
  const life = new Scope(signal);
  const endOfLife = async (): Promise<void> => {
    const exit = await master.exited();
    if (!life.signal.aborted) context.memory.masterExit = exit;
    life.abort(new Error("the master has ended"));
  };
  void endOfLife();
  try {
    const late = await untilHealthy(context, untilMs, life.signal);
    if (late !== undefined) return { failure: late, healthyForMs: 0 };
    const sinceMs = clock.monotonicMs();
    serving(context, term);
    const failure = await whileHealthy(context, term, life.signal);
    return { failure, healthyForMs: clock.monotonicMs() - sinceMs };
  } finally {
    life.close();
  }
}

function serving(context: MemberContext, term: Term): void {
  const { board, memory } = context;
  if (board.state.role !== "Primary") {
    board.enter("Primary", `serving in epoch ${term.epoch}`, { epoch: term.epoch, writable: true });
  }
  memory.trouble = undefined;
  memory.gaveUp = false;
  term.opened();
}

/** Undefined once it answers; else why it doesn't. `life` aborts when it ends, or when this is no longer wanted. */
async function untilHealthy(context: MemberContext, untilMs: number, life: AbortSignal): Promise<string | undefined> {
  const { components, settings, memory } = context;
  const { clock, logger } = components;
  const sinceMs = clock.monotonicMs();
  let told = false;
  for (;;) {
    const failure = await probe(context, life);
    if (failure === undefined || life.aborted) return failure;
    const nowMs = clock.monotonicMs();
    if (nowMs >= untilMs) return `did not become healthy in time: ${failure}`;
    if (nowMs - sinceMs >= openQuietMs) {
      memory.trouble = `the master is not healthy yet: ${failure}`;
      if (!told) logger.warn({}, memory.trouble);
      told = true;
    }
    await pause(components.clock, Math.min(openProbeMs, settings.health.intervalMs), life);
  }
}

/** Until it ends or fails its check too often; leadership is renewed only on good answers. */
async function whileHealthy(context: MemberContext, term: Term, life: AbortSignal): Promise<string> {
  const { components, settings } = context;
  const { intervalMs, timeoutMs, failureThreshold } = settings.health;
  let failures = 0;
  for (;;) {
    const failure = await probe(context, life);
    if (life.aborted) return failure ?? "told to stop";
    failures = failure === undefined ? 0 : failures + 1;
    if (failure === undefined) term.renewFor((failureThreshold + 1) * (intervalMs + timeoutMs));
    else if (failures >= failureThreshold) return `failed its health check ${failures} times: ${failure}`;
    await pause(components.clock, intervalMs, life);
  }
}

/** Undefined: alive and well. */
async function probe(context: MemberContext, life: AbortSignal): Promise<string | undefined> {
  const { master, clock } = context.components;
  if (!master.running) return describeExit(await master.exited());
  try {
    const { timeoutMs } = context.settings.health;
    const answer = await within({ clock, ms: timeoutMs, signal: life, what: "the health check" }, (inner) =>
      master.healthy(inner),
    );
    if (!master.running) return describeExit(await master.exited());
    return answer.ok ? undefined : answer.reason;
  } catch (error) {
    return master.running ? messageOf(error) : describeExit(await master.exited());
  }
}

/** Before a restart: nothing of the old run is left, and what it wrote is durable, if that can be had soon. */
async function clearAway(context: MemberContext, term: Term, graceMs: number, signal: AbortSignal): Promise<void> {
  const { components, settings, hurry } = context;
  const { clock, logger, master } = components;
  if (signal.aborted) return;
  context.memory.masterExit = await master.stop({ graceMs, killWithinMs: settings.killWithinMs, hurry });
  try {
    await within({ clock, ms: tailMsMax, signal, what: "shipping the tail before the restart" }, (inner) =>
      term.track(term.shipper.barrier(inner)),
    );
  } catch (error) {
    if (!signal.aborted) {
      logger.warn({ err: error }, `the tail is shipped after the restart instead: ${messageOf(error)}`);
    }
  }
}

function describeExit(exit: MasterExit): string {
  return exit.signal === undefined ? `exited with code ${exit.code ?? "unknown"}` : `ended by ${exit.signal}`;
}
