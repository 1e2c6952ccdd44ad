import { MetaMasterError, hasCode, isKind } from "../base/errors.js";
import type { Reconciled } from "../replica/replica.js";
import { haltReasonFor, type HaltReason } from "./halts.js";

/** The dangerous decisions of a member as functions of values, each with a table of cases in decisions.test.ts. */

export type ErrorAction =
  | { readonly action: "Retry" }
  /** Compare the disk with the log again: what is wrong may be mended by that. */
  | { readonly action: "Resync" }
  | { readonly action: "Halt"; readonly reason: HaltReason };

/** Bytes of the log itself: comparing the disk again would only meet them again. */
const historyCodes: ReadonlySet<string> = new Set(["EntryCorrupt", "ChainBroken", "SnapshotCorrupt"]);

export function afterSyncError(error: unknown): ErrorAction {
  const reason = haltReasonFor(error);
  return reason === undefined ? { action: "Retry" } : { action: "Halt", reason };
}

/**
 * An error while following or while opening what was followed. `again`: the same error at the same place has sent this member to compare its
 * disk with the log before.
 */
export function afterFollowError(error: unknown, again: boolean): ErrorAction {
  const reason = haltReasonFor(error);
  if (reason !== undefined && reason !== "CorruptHistory") return { action: "Halt", reason };
  if (reason === "CorruptHistory") {
    const hopeless = again || (error instanceof MetaMasterError && historyCodes.has(error.code));
    return hopeless ? { action: "Halt", reason } : { action: "Resync" };
  }
  if (isKind(error, "conflict") || isKind(error, "fenced") || hasCode(error, "FileNotFound"))
    return { action: "Resync" };
  return { action: "Retry" };
}

/**
 * A claimed epoch can't be begun because of what is on this disk (an unsupported feature, a layout that is wrong): claiming again and again would not help.
 * The bucket's refusals are not of that sort: credentials and policies get mended.
 */
export function isUnusable(error: unknown): boolean {
  return isKind(error, "invalid") && !error.code.startsWith("Bucket") && haltReasonFor(error) === undefined;
}

export interface CandidateFacts {
  readonly reconciled: Reconciled["state"];
  readonly bootstrap: "New" | "Adopt";
  /** Files of the image that this member would begin with. */
  readonly imageFiles: number;
}

/**
 * May this member try at all? With `bootstrap: Adopt` the history must begin with the databases that are to be adopted: a member without any must
 * never begin it, nor take it over before they are in the bucket.
 */
export function mayStand(facts: CandidateFacts): boolean {
  if (facts.bootstrap === "New") return true;
  return facts.reconciled === "Adoptable" || facts.reconciled === "Ahead" || facts.imageFiles > 0;
}

/**
 * May this member claim without waiting for anybody? Only if the last claim is of its own directory, that run is dead (it is this process that holds the
 * directory now), and it did not itself give up leadership: then others come first.
 */
export function isOwnEpoch(reconciled: Reconciled["state"], gaveUp: boolean): boolean {
  return reconciled === "Ahead" && !gaveUp;
}

export interface FailureFacts {
  readonly nowMs: number;
  /** When the first failure of this row was seen. */
  readonly failingSinceMs: number;
  readonly restartGraceMs: number;
}

/** A master that crashed or fails its check: once more in place, or hand over? */
export function afterMasterFailure(facts: FailureFacts): "Restart" | "StepDown" {
  return facts.nowMs - facts.failingSinceMs < facts.restartGraceMs ? "Restart" : "StepDown";
}

export interface BarrierFacts {
  readonly fenced: boolean;
  readonly termEnded: boolean;
  readonly nowMs: number;
  readonly leadershipUntilMs: number;
}

/** What a barrier may answer once its bytes are durable. */
export function mayAcknowledge(facts: BarrierFacts): boolean {
  return !facts.fenced && !facts.termEnded && facts.nowMs < facts.leadershipUntilMs;
}

export interface SwitchoverFacts {
  readonly role: string;
  readonly member: string;
  readonly to: string | undefined;
  readonly lagBytes: number;
  readonly maxLagBytes: number | undefined;
  readonly pending: boolean;
}

/** Undefined, or why a switchover isn't begun. */
export function switchoverRefusal(facts: SwitchoverFacts): MetaMasterError | undefined {
  const { role, member, to, lagBytes, maxLagBytes } = facts;
  if (role !== "Primary") {
    return new MetaMasterError("NotPrimary", "conflict", `Member ${member} is ${role}, not Primary.`, {
      hint: "Ask the primary; `metamaster status` says who it is.",
      details: { role },
    });
  }
  if (facts.pending) {
    return new MetaMasterError("SwitchoverRefused", "conflict", "A switchover is under way already.", {
      hint: "`metamaster status` shows when it is over.",
    });
  }
  if (to === member) {
    return new MetaMasterError("SwitchoverRefused", "invalid", `Member ${member} is the primary already.`, {
      hint: "Name another member, or none for whoever comes first.",
    });
  }
  if (maxLagBytes !== undefined && lagBytes > maxLagBytes) {
    return new MetaMasterError(
      "SwitchoverRefused",
      "transient",
      `${lagBytes} bytes are not durable yet, more than ${maxLagBytes}.`,
      {
        hint: "Wait until the durable lag is smaller, or allow more.",
        details: { lagBytes, maxLagBytes },
      },
    );
  }
  return undefined;
}
