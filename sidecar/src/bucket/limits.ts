import type { GetOptions, ListOptions } from "./bucket.js";
import { MetaMasterError } from "../base/errors.js";

/** Every store's own limit of a page. */
const listLimitMax = 1000;

function badCall(message: string): MetaMasterError {
  return new MetaMasterError("BucketCallInvalid", "invalid", message, {
    hint: "This is a defect of MetaMaster: report it.",
  });
}

export function listLimit(call: ListOptions): number {
  const limit = call.limit ?? listLimitMax;
  if (!Number.isInteger(limit) || limit < 1 || limit > listLimitMax) {
    throw badCall(`A listing's limit must be 1 to ${listLimitMax}, not ${limit}.`);
  }
  return limit;
}

export function checkGet(call: GetOptions): void {
  const { maxBytes, range } = call;
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 0)
    throw badCall(`maxBytes must be a whole number, not ${maxBytes}.`);
  if (range === undefined) return;
  if (
    !Number.isSafeInteger(range.offset) ||
    range.offset < 0 ||
    !Number.isSafeInteger(range.length) ||
    range.length < 1
  ) {
    throw badCall(
      `A range needs an offset of at least 0 and a length of at least 1, not ${range.offset} and ${range.length}.`,
    );
  }
}
