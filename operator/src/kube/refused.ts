import { text } from "./objects.js";

/** Of the API server: it does not take an object as it is, and would not at another try. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly kind: string;

  constructor(kind: string, object: string, why: string, options?: ErrorOptions) {
    super(`the API server refuses the ${kind} ${object}: ${why}`, options);
    this.kind = kind;
  }
}

/** Malformed, forbidden (a quota, an admission, a right that the operator lacks), or invalid. */
const FINAL = new Set([400, 403, 422]);

/** How an apply is told of a field that does not exist: as an error of the server's own. */
const UNKNOWN_FIELD = /^failed to create typed patch object \([^)]*\): (.*)$/s;

export function whyRefused(error: unknown): string | undefined {
  const message = messageOf(error);
  if (FINAL.has(statusCodeOf(error) ?? 0)) return message ?? "it does not say why";
  return UNKNOWN_FIELD.exec(message ?? "")?.[1];
}

export function statusCodeOf(error: unknown): number | undefined {
  const code: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "code") : undefined;
  return typeof code === "number" ? code : undefined;
}

/** The sentence for people in an error of the API server. The library gives the body as it came, or read. */
export function messageOf(error: unknown): string | undefined {
  const body = text(error, "body");
  if (body === undefined) return text(error, "body", "message");
  try {
    return text(JSON.parse(body), "message");
  } catch {
    return undefined;
  }
}
