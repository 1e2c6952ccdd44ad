import type { IncomingMessage } from "node:http";
import { NO_LONGER, type Clock } from "../base/clock.js";
import { answerError, oddAnswer, timeoutError, type KubeCallName } from "./errors.js";
import { field, isObject } from "./json.js";

export interface WatchEvent {
  /** `BOOKMARK`: nothing happened up to this object's version. */
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: Readonly<Record<string, unknown>>;
}

const lineBytesMax = 4 << 20;
const newline = 10;

/** The events of a watch's answer, one a line of JSON. Nothing at all for `silentMs` means that nobody is there any longer. */
export async function* watchEvents(
  call: KubeCallName,
  answer: IncomingMessage,
  { clock, silentMs, signal }: { readonly clock: Clock; readonly silentMs: number; readonly signal: AbortSignal },
): AsyncGenerator<WatchEvent> {
  let rest: Buffer = Buffer.alloc(0);
  let silence = new AbortController();
  const listen = (): void => {
    silence.abort(NO_LONGER);
    silence = new AbortController();
    clock.sleep(silentMs, silence.signal).then(
      () => answer.destroy(timeoutError(call, silentMs)),
      // Only our own abort ends it early.
      () => undefined,
    );
  };
  listen();
  try {
    const source: AsyncIterable<Buffer> = answer;
    for await (const chunk of source) {
      listen();
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
        const line = rest.subarray(0, end).toString();
        rest = rest.subarray(end + 1);
        signal.throwIfAborted();
        yield eventOf(call, line);
      }
      if (rest.length > lineBytesMax) throw oddAnswer(call, `has a line of more than ${lineBytesMax} bytes`);
    }
  } finally {
    silence.abort(NO_LONGER);
    answer.destroy();
  }
}

function eventOf(call: KubeCallName, line: string): WatchEvent {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    throw oddAnswer(call, "is no JSON");
  }
  const type = field(event, "type");
  const object = field(event, "object");
  if (type === "ERROR") {
    const code = field(object, "code");
    throw answerError(call, typeof code === "number" ? code : 500, object, undefined);
  }
  const known = type === "ADDED" || type === "MODIFIED" || type === "DELETED" || type === "BOOKMARK";
  if (!known || !isObject(object)) throw oddAnswer(call, "is no event of a watch");
  return { type, object };
}
