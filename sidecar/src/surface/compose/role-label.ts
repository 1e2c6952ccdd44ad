import type { Clock } from "../../base/clock.js";
import { withDeadline } from "../../base/deadline.js";
import { messageOf, messageWithHint, MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import type { Role, RoleBoard } from "../../member/roles.js";
import type { OwnPod } from "../../kube/own-pod.js";

export const ROLE_LABEL = "metamaster.io/role";
const complaint = `this pod's label ${ROLE_LABEL} could not be set`;
const LAST_MS = 2000;
const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 10_000;

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
  readonly pod: OwnPod;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Keeps this pod's role label as the member's role is, until `signal` aborts; then takes it away, within 2 s. Nothing waits for it meanwhile; what fails is
 * tried again. Never rejects.
 */
export async function keepRoleLabel(parts: RoleLabelParts, signal: AbortSignal): Promise<void> {
  const { roles, pod, clock, logger } = parts;
  // Undefined: not known, as what an earlier run left.
  let applied: string | null | undefined;
  let pauseMs = PAUSE_MS_MIN;
  while (!signal.aborted) {
    const { role, version } = roles.state;
    const wanted = labels[role] ?? null;
    try {
      if (wanted !== applied) {
        applied = undefined;
        await pod.label({ [ROLE_LABEL]: wanted }, signal);
        applied = wanted;
      }
      pauseMs = PAUSE_MS_MIN;
      await roles.after(version, signal);
    } catch (error) {
      if (signal.aborted) break;
      logger.warn({ err: error, role }, `${complaint}, trying again: ${messageWithHint(error)}`);
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      pauseMs = Math.min(PAUSE_MS_MAX, 2 * pauseMs);
    }
  }
  if (applied !== null) await takeAway(parts);
}

async function takeAway({ pod, clock, logger }: RoleLabelParts): Promise<void> {
  try {
    const late = (): Error => new MetaMasterError("KubeTimeout", "transient", `no answer within ${LAST_MS} ms`);
    await withDeadline(clock, { ms: LAST_MS, late }, (signal) => pod.label({ [ROLE_LABEL]: null }, signal));
  } catch (error) {
    logger.warn({ err: error }, `${complaint} as this member ends: ${messageOf(error)}`);
  }
}
