import type { Clock } from "../../base/clock.js";
import { messageOf, messageWithHint, MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import type { OwnPod } from "../../kube/own-pod.js";
import type { Gate } from "../../member/master/gate.js";
import type { Member } from "../../member/member.js";
import type { Role } from "../../member/roles.js";
import type { LoadedConfig } from "../config/load.js";
import type { PodWatch } from "./pod-watch.js";
import { ROLE_LABEL } from "./role-label.js";

/** Set on the primary's pod by whoever wants another member (the name of its pod) to be primary. */
const SWITCHOVER_TO = "metamaster.io/switchover-to";
/** Set by the sidecar in its place where that could not be done: why. */
const SWITCHOVER_REFUSED = "metamaster.io/switchover-refused";

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 10_000;
const OPENED_LOOK_MS = 200;
const SWITCHOVER_MS = 120_000;
const REASON_LENGTH_MAX = 500;

interface PodParts {
  readonly member: Member;
  readonly gate: Gate;
  /** Whether anybody has a database open. */
  readonly isHeld: () => boolean;
  /** A master ran when this process started: an earlier one had opened the gate. */
  readonly wasLeft: boolean;
  readonly pod: OwnPod;
  readonly watch: PodWatch;
  readonly config: LoadedConfig["config"];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a member does with its own pod, until `signal` aborts. Never rejects. */
export async function keepPod(parts: PodParts, signal: AbortSignal): Promise<void> {
  const works = [
    again(parts, "this pod can't be heeded", heedPod, signal),
    again(parts, "this pod can't be replaced, and could lead without anybody to end its master", replaceWorn, signal),
  ];
  if (parts.config.gate === "HoldStart") {
    works.push(
      again(
        parts,
        "this pod can't be replaced, and the master's container is started in vain",
        replaceAfterTerm,
        signal,
      ),
      again(parts, "this pod can't be replaced after an earlier run", replaceOpened, signal),
    );
  }
  await Promise.all(works);
}

/** Until it is done: tries again what fails, less and less often. */
async function again(
  parts: PodParts,
  complaint: string,
  work: (parts: PodParts, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { clock, logger } = parts;
  let pauseMs = PAUSE_MS_MIN;
  while (!signal.aborted) {
    const sinceMs = clock.monotonicMs();
    try {
      await work(parts, signal);
      return;
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ err: error }, `${complaint}, trying again: ${messageWithHint(error)}`);
      if (clock.monotonicMs() - sinceMs > PAUSE_MS_MAX) pauseMs = PAUSE_MS_MIN;
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      pauseMs = Math.min(PAUSE_MS_MAX, 2 * pauseMs);
    }
  }
}

/** In these the term goes on, or is being ended. */
const busy: ReadonlySet<Role> = new Set(["Primary", "Promoting", "Fencing"]);

/** Once the gate was opened the kubelet starts the master's container whenever it ends: only another pod holds it back again. */
async function replaceAfterTerm({ member, gate, pod, logger }: PodParts, signal: AbortSignal): Promise<void> {
  for (let { state } = member.roles; ; state = await member.roles.after(state.version, signal)) {
    if (!gate.wasOpened || gate.isOpen || busy.has(state.role)) continue;
    logger.info(
      { role: state.role },
      "this member is no longer primary: its pod is replaced, so that its master waits again",
    );
    await pod.replace(signal);
    // Until the kubelet ends this process nothing more is to be done.
    await member.roles.after(Infinity, signal);
  }
}

/**
 * A process before this one had opened the gate: the master's container is started again without asking, and only after a pause if it had ended before. What it wrote is shipped first, if it is
 * still this member's to ship; then another pod is better, and another member may lead at once.
 */
async function replaceOpened(parts: PodParts, signal: AbortSignal): Promise<void> {
  const { member, gate, wasLeft, pod, clock, logger } = parts;
  if (!wasLeft && (await pod.look(signal))?.wasStarted !== true) return;
  for (;;) {
    if (gate.isOpen || isBesideAnother(member) || member.roles.state.role === "Halted") break;
    await clock.sleep(OPENED_LOOK_MS, signal);
  }
  logger.info({}, "the master's container was started in an earlier run of this sidecar: its pod is replaced");
  await pod.replace(signal);
}

/** Somebody else is primary: this pod is missed by nobody. */
function isBesideAnother(member: Member): boolean {
  const { primary } = member.status;
  return member.roles.state.role === "Standby" && primary !== undefined && primary.member !== member.status.member;
}

/**
 * Sidecar and watchdog were both started again: the next time nobody might be there to end the master, for longer than a lease. Another pod is better before this one leads; as long as it leads, or
 * nobody does, it is needed.
 */
async function replaceWorn({ member, pod, watch, clock, logger }: PodParts, signal: AbortSignal): Promise<void> {
  for await (const { isWorn } of watch.views(signal)) {
    if (!isWorn) continue;
    while (!isBesideAnother(member)) await clock.sleep(OPENED_LOOK_MS, signal);
    logger.warn({}, "sidecar and watchdog of this pod were both started again: it is replaced before it leads");
    await pod.replace(signal);
    return;
  }
}

/** The switchovers that are asked for by an annotation, and a master that the kubelet lets wait. */
async function heedPod(parts: PodParts, signal: AbortSignal): Promise<void> {
  const { member, pod, logger, isHeld, config, watch } = parts;
  let done: unknown;
  for await (const { annotations, isBackingOff } of watch.views(signal)) {
    if (isBackingOff && config.gate === "HoldStart" && member.roles.state.role === "Primary" && !isHeld()) {
      logger.warn({}, "the master has ended again and the kubelet lets it wait: its pod is replaced, another may lead");
      await pod.replace(signal);
      return;
    }
    const to = annotations[SWITCHOVER_TO];
    if (typeof to !== "string" || to === done) continue;
    done = to;
    if (to === "" || to === member.status.member) continue;
    const absent = await whyNot(parts, to, signal);
    if (absent !== undefined) logger.warn({ to }, `no switchover to ${to}: ${absent}`);
    const refused = absent ?? (await handOver(parts, to, signal));
    // With the pod, which is replaced, the annotation goes; one that stays must not ask again.
    if (refused === undefined) {
      if (config.gate === "RoleAware") await pod.annotate({ [SWITCHOVER_TO]: null }, signal);
      continue;
    }
    await pod.annotate({ [SWITCHOVER_TO]: null, [SWITCHOVER_REFUSED]: refused.slice(0, REASON_LENGTH_MAX) }, signal);
    done = undefined;
  }
}

/** Why nothing is to be begun: ending the master for nobody would only cost time. */
async function whyNot({ pod }: PodParts, to: string, signal: AbortSignal): Promise<string | undefined> {
  const siblings = await pod.siblings(signal);
  const standbys = siblings.filter(({ labels, isGoing }) => labels[ROLE_LABEL] === "standby" && !isGoing);
  if (standbys.some(({ name }) => name === to)) return undefined;
  const target = siblings.find(({ name }) => name === to);
  const names = standbys.map(({ name }) => name).join(", ");
  const rest = names === "" ? "Nobody is a standby now." : `Standbys: ${names}.`;
  if (target === undefined) return `There is no pod ${to} in this cluster. ${rest}`;
  if (target.isGoing) return `The pod ${to} is about to go. ${rest}`;
  return `The pod ${to} is no standby: it has not the label ${ROLE_LABEL}=standby. ${rest}`;
}

/** Why not; undefined: it is done. */
async function handOver(
  { member, clock, logger }: PodParts,
  to: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const late = new AbortController();
  const stop = (): void => late.abort(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  const timer = new AbortController();
  clock.sleep(SWITCHOVER_MS, timer.signal).then(
    () => late.abort(new MetaMasterError("DeadlineExceeded", "transient", `not done within ${SWITCHOVER_MS / 1000} s`)),
    () => undefined,
  );
  try {
    logger.info({ to }, `switchover to ${to}, asked for by this pod's annotation`);
    await member.switchover({ to, maxLagBytes: undefined }, late.signal);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    logger.warn({ err: error, to }, `no switchover to ${to}: ${messageOf(error)}`);
    return messageWithHint(error);
  } finally {
    timer.abort();
    signal.removeEventListener("abort", stop);
  }
}
