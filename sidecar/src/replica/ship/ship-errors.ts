import { MetaMasterError, isKind, messageOf } from "../../base/errors.js";

/** Why what was written is not known to be durable. */
export function barrierFailed(cause: unknown): unknown {
  if (isKind(cause, "fenced")) return cause;
  return new MetaMasterError(
    "BarrierFailed",
    "transient",
    `What was written is not known to be durable: ${messageOf(cause)}`,
    {
      cause,
      hint: "Do not acknowledge it. Ask again; if the reason stays, look at the status.",
    },
  );
}

export function unsettled(tries: number, cause: unknown): MetaMasterError {
  return new MetaMasterError(
    "CheckpointUnsettled",
    "transient",
    `In ${tries} tries the disk moved on every time while a checkpoint was made.`,
    { cause, hint: "It is tried again; it passes when the master compacts less." },
  );
}
