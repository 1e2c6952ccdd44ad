import type { Status } from "../../../crds/src/index.js";
import { inOrder } from "../objects/in-order.js";

/** Slots grow with every write of the master: alone they are written down this often at most. */
export const SLOTS_EVERY_MS = 60_000;

/** What changed between two statuses: nothing, only how far the log has grown, or something that people and programs wait for. */
export function changeOf(before: Status | undefined, after: Status): "Nothing" | "Slots" | "Much" {
  if (before === undefined) return "Much";
  if (canonical(withoutSlots(before)) !== canonical(withoutSlots(after))) return "Much";
  return canonical(before) === canonical(after) ? "Nothing" : "Slots";
}

function withoutSlots({ durable: _durable, lastSnapshot: _lastSnapshot, ...rest }: Status): object {
  return { ...rest, members: rest.members?.map(({ slot: _slot, lagSeconds: _lag, ...member }) => member) };
}

/** The API server has its own order of keys. */
function canonical(value: unknown): string {
  return JSON.stringify(inOrder(value));
}
