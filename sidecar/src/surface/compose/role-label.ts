import type { Clock } from "../../base/clock.js";
import { withDeadline } from "../../base/deadline.js";
import { messageOf, messageWithHint, MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import { Changes } from "../../base/changes.js";
import type { Role, RoleBoard } from "../../member/roles.js";
import { pauseOrChange } from "../../base/scope.js";
import type { OwnPod, PodView } from "../../kube/own-pod.js";
import type { PodWatch } from "./pod-watch.js";

export const ROLE_LABEL = "metamaster.io/role";
const complaint = `this pod's label ${ROLE_LABEL} could not be set`;
const LAST_MS = 2000;
const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 10_000;
/** What the watch shows may be older than the last patch, for so long. */
const LAG_MS = 1000;
/** Between two patches against somebody who sets it otherwise, at most. */
const STRIFE_MS_MAX = 60_000;

/** What Services select by; undefined: neither. */
const labels: Readonly<Record<Role, "primary" | "standby" | undefined>> = {
  Primary: "primary",
  Standby: "standby",
  Promoting: "standby",
  Syncing: undefined,
  Fencing: undefined,
  Halted: undefined,
};

interface RoleLabelParts {
  readonly roles: RoleBoard;
  readonly pod: Pick<OwnPod, "label">;
  /** As far as it can be watched. */
  readonly watch: Pick<PodWatch, "changed" | "view">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Keeps this pod's role label as the member's role is, until `signal` aborts; then takes it away, within 2 s. Nothing waits for it meanwhile; what fails is tried again. A patch that was given up may
 * be done late, after the next one: where the pod is seen with another label than was set last, it is set again. Never rejects.
 */
export async function keepRoleLabel(parts: RoleLabelParts, signal: AbortSignal): Promise<void> {
  const { roles, watch } = parts;
  const changed = new Changes();
  const noMore = roles.onRole(() => changed.notify());
  const over = new AbortController();
  void passOn(watch, changed, over.signal);
  try {
    if ((await keepUntil(parts, changed, signal)) !== null) await takeAway(parts);
  } finally {
    over.abort(new Error("over"));
    noMore();
  }
}

async function passOn({ changed: from }: RoleLabelParts["watch"], to: Changes, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await from.wait(signal).catch(() => undefined);
    to.notify();
  }
}

/** What was set last; undefined: not known. */
async function keepUntil(
  { roles, pod, watch, clock, logger }: RoleLabelParts,
  changed: Changes,
  signal: AbortSignal,
): Promise<string | null | undefined> {
  // Not known, as what an earlier run left.
  let applied: string | null | undefined;
  let appliedMs = -Infinity;
  let pauseMs = PAUSE_MS_MIN;
  let strifeMs = LAG_MS;
  // What is seen later may be older than the patch, but nothing that is older stays the last.
  let before: PodView | undefined;
  while (!signal.aborted) {
    const since = changed.count;
    const { role } = roles.state;
    const wanted = labels[role] ?? null;
    const { view } = watch;
    const isOther = view !== undefined && view !== before && (view.labels[ROLE_LABEL] ?? null) !== wanted;
    const sinceMs = clock.monotonicMs() - appliedMs;
    try {
      if (wanted !== applied || (isOther && sinceMs >= strifeMs)) {
        const isStrife = wanted === applied && sinceMs < 2 * STRIFE_MS_MAX;
        strifeMs = isStrife ? Math.min(STRIFE_MS_MAX, 2 * strifeMs) : LAG_MS;
        applied = undefined;
        before = view;
        await pod.label({ [ROLE_LABEL]: wanted }, signal);
        applied = wanted;
        appliedMs = clock.monotonicMs();
      } else if (isOther) {
        await pauseOrChange(clock, strifeMs - sinceMs, { changes: changed, since }, signal);
      } else {
        while (changed.count === since) await changed.wait(signal);
      }
      pauseMs = PAUSE_MS_MIN;
    } catch (error) {
      if (signal.aborted) break;
      logger.warn({ err: error, role }, `${complaint}, trying again: ${messageWithHint(error)}`);
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      pauseMs = Math.min(PAUSE_MS_MAX, 2 * pauseMs);
    }
  }
  return applied;
}

async function takeAway({ pod, clock, logger }: RoleLabelParts): Promise<void> {
  try {
    const late = (): Error => new MetaMasterError("KubeTimeout", "transient", `no answer within ${LAST_MS} ms`);
    await withDeadline(clock, { ms: LAST_MS, late }, (signal) => pod.label({ [ROLE_LABEL]: null }, signal));
  } catch (error) {
    logger.warn({ err: error }, `${complaint} as this member ends: ${messageOf(error)}`);
  }
}
