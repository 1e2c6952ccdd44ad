import type { IncomingMessage } from "node:http";
import { MetaMasterError } from "../../base/errors.js";
import { isPlainObject } from "../config/document.js";
import { requestInvalid } from "./problem.js";

const BODY_BYTES_MAX = 16 * 1024;
const SHOWN_MAX = 100;

/** The request's JSON object, with no other keys than these; nothing sent is the empty object. */
export async function readJson(request: IncomingMessage, keys: readonly string[]): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > BODY_BYTES_MAX) {
      throw new MetaMasterError(
        "HttpBodyTooLarge",
        "invalid",
        `The request's body has more than ${BODY_BYTES_MAX} bytes.`,
      );
    }
    chunks.push(chunk);
  }
  if (size === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw requestInvalid("the body must be JSON");
  }
  if (!isPlainObject(value)) throw requestInvalid("the body must be a JSON object");
  refuseUnknown("key in the body", Object.keys(value), keys);
  return value;
}

export function refuseUnknown(what: string, given: readonly string[], known: readonly string[]): void {
  const unknown = given.find((each) => !known.includes(each));
  if (unknown === undefined) return;
  const list = known.length === 0 ? "none is taken" : `there are ${known.join(", ")}`;
  throw requestInvalid(`${JSON.stringify(unknown.slice(0, SHOWN_MAX))} is no ${what}: ${list}`);
}
