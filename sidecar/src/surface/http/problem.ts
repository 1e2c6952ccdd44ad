import { messageOf, MetaMasterError } from "../../base/errors.js";
import { scrub } from "../../bucket/store-errors.js";

/** The body of every answer that is not 2xx (RFC 9457 in spirit; `code` is that of docs/reference/errors.md). */
export interface ProblemBody {
  readonly code: string;
  readonly kind: string;
  readonly message: string;
  readonly hint?: string;
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

const statusByCode: Readonly<Record<string, number>> = {
  DeadlineExceeded: 504,
  HttpBodyTooLarge: 413,
  HttpForbidden: 403,
  HttpNotFound: 404,
  HttpRequestInvalid: 400,
  HttpTooBusy: 503,
  NotHalted: 409,
  ResumeReasonMismatch: 400,
  SwitchoverRefused: 409,
};

const statusByKind: Readonly<Record<string, number>> = { transient: 503, conflict: 409, fenced: 409 };

export function toProblem(error: unknown): { readonly status: number; readonly body: ProblemBody } {
  if (!(error instanceof MetaMasterError)) {
    return { status: 500, body: { code: "Unexpected", kind: "invalid", message: scrub(messageOf(error)) } };
  }
  const { code, kind, hint } = error;
  const details = plainDetails(error);
  return {
    status: statusByCode[code] ?? statusByKind[kind] ?? 500,
    body: {
      code,
      kind,
      message: scrub(error.message),
      ...(hint === undefined ? {} : { hint }),
      ...(Object.keys(details).length === 0 ? {} : { details }),
    },
  };
}

export function plainDetails({ details }: MetaMasterError): Record<string, string | number | boolean> {
  const plain: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(details)) {
    if (value !== undefined) plain[name] = typeof value === "bigint" ? value.toString() : value;
  }
  return plain;
}

export function requestInvalid(message: string): MetaMasterError {
  return new MetaMasterError("HttpRequestInvalid", "invalid", message, { hint: "See docs/reference/http.md." });
}
