/** What the caller can do about an error; one more kind only where a caller acts differently. */
export type ErrorKind =
  /** Try again later with the same input: time-outs, 5xx, throttling, a connection that broke. The effect may have happened. */
  | "transient"
  /** Somebody else was there first; read and decide. */
  | "conflict"
  /** Another member holds a later epoch; this writer may never write again. */
  | "fenced"
  /** Bytes that fail their check; never applied. */
  | "corrupt"
  /** The user's input, configuration, credentials or environment is wrong; trying again does not help. */
  | "invalid";

export interface ErrorOptions {
  readonly cause?: unknown;
  /** What the user can do about it, one sentence. */
  readonly hint?: string;
  /** Facts for the log line: file, offset, key, slot ... never a secret. */
  readonly details?: Readonly<Record<string, string | number | bigint | boolean | undefined>>;
}

/** The one error of this product. `code` is stable, CamelCase, and listed in docs/reference/errors.md. */
export class MetaMasterError extends Error {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly hint: string | undefined;
  readonly details: NonNullable<ErrorOptions["details"]>;

  constructor(code: string, kind: ErrorKind, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "MetaMasterError";
    this.code = code;
    this.kind = kind;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}

export function isKind(error: unknown, kind: ErrorKind): error is MetaMasterError {
  return error instanceof MetaMasterError && error.kind === kind;
}

export function hasCode(error: unknown, code: string): error is MetaMasterError {
  return error instanceof MetaMasterError && error.code === code;
}

/** For whoever reads only this line: what is wrong, where, and what to do. */
export function messageWithHint(error: unknown): string {
  const hint = error instanceof MetaMasterError ? error.hint : undefined;
  return hint === undefined ? messageOf(error) : `${messageOf(error)} ${hint}`;
}

/** The text of anything thrown, for messages and logs. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
