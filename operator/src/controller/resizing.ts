import { DATA_VOLUME } from "../../../crds/src/index.js";
import { field, list, text, type LiveObject } from "../kube/objects.js";
import { bytesOf } from "./volumes.js";

/** What becomes of volumes that were asked to grow, as Kubernetes tells it on their claims. */
export interface Resizing {
  /** They are still smaller than was asked for: which, and what they wait for. */
  readonly waits: string | undefined;
  /** Kubernetes took the larger size, and the storage does not: which, and why. */
  readonly stuck: string | undefined;
}

/** Kubernetes has had several names for it. */
const FAILED = /^(Controller|Node)Resize(Infeasible|Failed|Error)$/;

/** `pods`: names of those that are there. A volume that no pod uses is nobody's concern until one does: its file system can't grow before. */
export function resizingOf(claims: readonly LiveObject[], pods: readonly string[]): Resizing {
  const growing = claims.filter((claim) => pods.includes(podOf(claim)) && isGrowing(claim));
  const stuck = growing.filter((claim) => failureOf(claim) !== undefined);
  const waiting = growing.filter((claim) => !stuck.includes(claim));
  return {
    stuck: told(stuck, (claim) => `${sizes(claim)}: ${failureOf(claim) ?? ""}`),
    waits: told(waiting, (claim) => `${sizes(claim)}${waitsFor(claim)}`),
  };
}

function told(claims: readonly LiveObject[], describe: (claim: LiveObject) => string): string | undefined {
  return claims.length === 0 ? undefined : claims.map(describe).join("; ");
}

/** By its size; while only the file system is to grow Kubernetes may show the new size already. */
function isGrowing(claim: LiveObject): boolean {
  const [asked, has] = [askedOf(claim), hasOf(claim)];
  if (asked === undefined || has === undefined) return false;
  return bytesOf(has) < bytesOf(asked) || conditionOf(claim, "FileSystemResizePending") !== undefined;
}

function askedOf(claim: LiveObject): string | undefined {
  return text(claim, "spec", "resources", "requests", "storage");
}

function hasOf(claim: LiveObject): string | undefined {
  return text(claim, "status", "capacity", "storage");
}

function conditionOf(claim: LiveObject, type: string): unknown {
  return list(claim, "status", "conditions").find(
    (each) => text(each, "type") === type && text(each, "status") === "True",
  );
}

function failureOf(claim: LiveObject): string | undefined {
  const failed = list(claim, "status", "conditions").find(
    (each) => FAILED.test(text(each, "type") ?? "") && text(each, "status") === "True",
  );
  const state = text(field(claim, "status", "allocatedResourceStatuses"), "storage") ?? "";
  const why = text(failed, "message") ?? text(failed, "type");
  return why ?? (FAILED.test(state) ? state : undefined);
}

function podOf(claim: LiveObject): string {
  return text(claim, "metadata", "name")?.replace(`${DATA_VOLUME}-`, "") ?? "";
}

function sizes(claim: LiveObject): string {
  return `${text(claim, "metadata", "name") ?? ""} has ${hasOf(claim) ?? "?"} of ${askedOf(claim) ?? "?"}`;
}

function waitsFor(claim: LiveObject): string {
  const name = text(claim, "metadata", "name") ?? "";
  if (conditionOf(claim, "FileSystemResizePending") === undefined)
    return `; if that stays so, see: kubectl describe pvc ${name}`;
  return `: its file system grows while a pod uses it, or with the next pod where the storage driver can't do that; if it stays so: kubectl delete pod ${podOf(claim)}, standbys first`;
}
