import type { ErrorKind } from "../errors.js";

/** One row of docs/reference/errors.md. */
interface ErrorCode {
  readonly kind: ErrorKind | readonly ErrorKind[];
  /** What is wrong, one sentence. */
  readonly meaning: string;
  /** What the user can do, one or two sentences. */
  readonly remedy: string;
}

export type ErrorCodes = Readonly<Record<string, ErrorCode>>;
