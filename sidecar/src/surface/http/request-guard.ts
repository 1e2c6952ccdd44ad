import type { IncomingMessage } from "node:http";
import { MetaMasterError } from "../../base/errors.js";
import { isLoopback } from "../config/address.js";

/** Whether the server listens on a loopback address only. */
export interface GuardSettings {
  readonly loopbackOnly: boolean;
}

/**
 * A call that changes something is taken from this machine only, and never from a web page: a page can make a browser on this machine send a
 * POST to loopback (it then says `Origin`), or give its own name the address 127.0.0.1 (then `Host` is that name). Of a server on loopback the
 * latter could read, too.
 */
export function checkRequest(request: IncomingMessage, changes: boolean, { loopbackOnly }: GuardSettings): void {
  const { remoteAddress } = request.socket;
  const { host, origin } = request.headers;
  if (!changes && !loopbackOnly) return;
  if (changes && !isLoopback(remoteAddress ?? "")) {
    throw forbidden(
      `calls that change something are taken from this machine only, not from ${remoteAddress ?? "nowhere"}`,
    );
  }
  if (!isLoopback(hostName(host ?? "")))
    throw forbidden(`the Host header must be a loopback address, not ${JSON.stringify(host ?? "")}`);
  if (changes && origin !== undefined)
    throw forbidden("calls that change something are not taken from web pages (Origin header)");
}

/** `[::1]:8401` -> `::1`, `localhost:8401` -> `localhost`. */
function hostName(host: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(host) ?? [];
  return (bracketed ?? plain ?? "").toLowerCase();
}

function forbidden(message: string): MetaMasterError {
  return new MetaMasterError("HttpForbidden", "invalid", `Refused: ${message}.`, {
    hint: "Call it from this machine by its loopback address.",
  });
}
