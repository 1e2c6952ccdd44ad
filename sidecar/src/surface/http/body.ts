import type { IncomingMessage } from "node:http";
import { MetaMasterError } from "../../base/errors.js";
import { isPlainObject } from "../config/document.js";
import { requestInvalid } from "./problem.js";

const BODY_BYTES_MAX = 16 * 1024;

/** The request's JSON object; nothing sent is the empty object. */
export async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
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
  return value;
}
