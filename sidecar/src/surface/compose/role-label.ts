import type { Clock } from "../../base/clock.js";
import { messageOf, messageWithHint } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import type { Role, RoleBoard } from "../../member/roles.js";
import type { OwnPod } from "../../kube/own-pod.js";

const ROLE_LABEL = "metamaster.io/role";
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

/** Keeps this pod's role label as the member's role is, until `signal` aborts. Nothing waits for it; what fails is tried again. Never rejects. */
export async function keepRoleLabel(
  { roles, pod, clock, logger }: { roles: RoleBoard; pod: OwnPod; clock: Clock; logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  // Whatever an earlier run left is not known.
  let applied: string | undefined = "?";
  let pauseMs = PAUSE_MS_MIN;
  while (!signal.aborted) {
    const { role, version } = roles.state;
    const wanted = labels[role];
    try {
      if (wanted !== applied) await pod.label({ [ROLE_LABEL]: wanted ?? null }, signal);
      applied = wanted;
      pauseMs = PAUSE_MS_MIN;
      await roles.after(version, signal);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn(
        { err: error, role },
        `this pod's label ${ROLE_LABEL} could not be set, trying again: ${messageWithHint(error)}`,
      );
      await clock.sleep(pauseMs, signal).catch((reason: unknown) => {
        if (!signal.aborted) logger.error({ err: reason }, messageOf(reason));
      });
      pauseMs = Math.min(PAUSE_MS_MAX, 2 * pauseMs);
    }
  }
}
