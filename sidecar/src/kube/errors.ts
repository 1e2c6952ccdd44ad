import { messageOf, MetaMasterError } from "../base/errors.js";
import { field } from "./json.js";
import { ruleOf, textOf, type KubeResource, type KubeVerb } from "./resource.js";

export interface KubeCallName {
  readonly verb: KubeVerb;
  readonly resource: KubeResource;
}

const textMax = 400;
const tlsPattern =
  /^(CERT_|ERR_TLS_|ERR_SSL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(VERIFY|GET_ISSUER)|EPROTO$|HOSTNAME_MISMATCH)/;
const retryAfterMsMax = 60_000;

function say({ verb, resource }: KubeCallName, why: string): string {
  return `Kubernetes: can't ${verb} ${textOf(resource)}: ${why}`;
}

/** What the server said instead of doing it: its `Status` object, or what stands in its place. */
export function answerError(
  call: KubeCallName,
  status: number,
  body: unknown,
  retryAfter: string | undefined,
): MetaMasterError {
  const said = field(body, "message");
  const text = (typeof said === "string" ? said : "").replaceAll(/\s+/g, " ").trim().slice(0, textMax);
  const why = `${status}${text === "" ? "" : ` ${text}`}`;
  const reason = field(body, "reason");
  const ofApi = typeof reason === "string" ? { reason } : {};
  const make = (code: string, kind: MetaMasterError["kind"], hint: string, details = {}): MetaMasterError =>
    new MetaMasterError(code, kind, say(call, why), { hint, details: { status, ...ofApi, ...details } });
  const { verb, resource } = call;
  switch (status) {
    case 401:
      return make(
        "KubeAccessDenied",
        "invalid",
        "The service account's token was refused: is it the one of this cluster, and does the account still exist?",
      );
    case 403:
      return make("KubeAccessDenied", "invalid", `Give the pod's service account ${ruleOf(verb, resource)}.`);
    case 404:
      return make("KubeNotFound", "invalid", "Is the name right, and was it deleted?");
    case 409:
      return make("KubeConflict", "conflict", "Somebody else was first: read it and decide again.");
    case 410:
      return make("KubeWatchExpired", "conflict", "Read it again, and watch from there.");
    case 408:
    case 504:
      return make("KubeTimeout", "transient", "It is tried again.");
    case 429:
      return make("KubeThrottled", "transient", "It is tried again after the pause that the server asks for.", {
        retryAfterMs: retryAfterMsOf(retryAfter),
      });
  }
  if (status >= 500) return make("KubeUnavailable", "transient", "It is tried again.");
  return make("KubeRequestInvalid", "invalid", "The message says what the API server does not take.");
}

/** The API server's own word that there is no such object: a proxy, or a server that is not yet up, says 404 of anything. */
export function isGone(error: unknown): boolean {
  return error instanceof MetaMasterError && error.code === "KubeNotFound" && error.details["reason"] === "NotFound";
}

/** Seconds; a date, which would need a common wall clock, is not taken. */
function retryAfterMsOf(text: string | undefined): number {
  return /^\d{1,6}$/.test(text ?? "") ? Math.min(Number(text) * 1000, retryAfterMsMax) : 1000;
}

/** No answer came. */
export function connectionError(call: KubeCallName, error: unknown): MetaMasterError {
  if (error instanceof MetaMasterError) return error;
  const found = field(error, "code");
  const code = typeof found === "string" ? found : "";
  const text = messageOf(error).replaceAll(/\s+/g, " ").slice(0, textMax);
  if (tlsPattern.test(code)) {
    return new MetaMasterError("KubeTlsInvalid", "invalid", say(call, `${code} ${text}`), {
      hint: "The server's certificate is not signed by the CA in the pod's service account folder, or is for another name.",
    });
  }
  return new MetaMasterError("KubeUnavailable", "transient", say(call, text === "" ? code : text), {
    hint: "It is tried again. If it lasts: is the API server reachable from this pod?",
  });
}

export function timeoutError(call: KubeCallName, ms: number): MetaMasterError {
  return new MetaMasterError("KubeTimeout", "transient", say(call, `no answer within ${Math.round(ms)} ms`), {
    hint: "It is tried again. If it lasts: is the API server reachable from this pod, and is it overloaded?",
  });
}

/** An answer of a shape that no API server gives. */
export function oddAnswer(call: KubeCallName, why: string): MetaMasterError {
  return new MetaMasterError("KubeAnswerInvalid", "corrupt", say(call, `the answer ${why}`), {
    hint: "Is it the API server that answers at this address, or a proxy?",
  });
}
