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

/** Until the master has created it nothing written there, nor elsewhere because of a wrong path, is seen: a barrier would promise what nobody keeps. */
export function neverThere(database: string, path: string): MetaMasterError {
  return new MetaMasterError("DatabaseMissing", "invalid", `There is no database in ${path} yet (${database}).`, {
    hint: "If the master writes its database elsewhere correct `databases[].path`; otherwise it appears once the master has created it.",
    details: { database, path },
  });
}

export function unsettled(tries: number, cause: unknown): MetaMasterError {
  return new MetaMasterError(
    "CheckpointUnsettled",
    "transient",
    `In ${tries} tries the disk moved on every time while a checkpoint was made.`,
    { cause, hint: "It is tried again; it passes when the master compacts less." },
  );
}
