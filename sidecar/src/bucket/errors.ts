import { MetaMasterError, type ErrorKind, type ErrorOptions } from "../base/errors.js";

/** Where an error happened; nothing of it may be secret. */
export interface ErrorContext {
  /** The bucket's url, without credentials. */
  readonly url: string;
  readonly operation: Operation;
  readonly key?: string | undefined;
}

export type Operation = "putIfAbsent" | "put" | "get" | "head" | "list" | "delete";

/** How an operation reads in a sentence. */
const verbs: Readonly<Record<Operation, string>> = {
  putIfAbsent: "create",
  put: "write",
  get: "read",
  head: "look at",
  list: "list",
  delete: "delete",
};

function describe(context: ErrorContext): string {
  const { operation, key, url } = context;
  return key === undefined || key === "" ? `${verbs[operation]} ${url}` : `${verbs[operation]} ${key} in ${url}`;
}

/** An error of this layer; `why` continues "Could not <do it>: ". */
export function bucketError(
  code: string,
  kind: ErrorKind,
  context: ErrorContext,
  why: string,
  options: ErrorOptions = {},
): MetaMasterError {
  const { operation, key, url } = context;
  return new MetaMasterError(code, kind, `Could not ${describe(context)}: ${why}`, {
    ...options,
    details: { operation, ...(key === undefined ? {} : { key }), url, ...options.details },
  });
}

export function bucketTimeout(context: ErrorContext, ms: number, cause?: unknown): MetaMasterError {
  return bucketError("BucketTimeout", "transient", context, `no answer within ${Math.round(ms)} ms.`, {
    cause,
    hint: "It is tried again. If it lasts: is the store reachable from this machine, and is it overloaded?",
    details: { deadlineMs: Math.round(ms) },
  });
}

export function bucketSlowBody(context: ErrorContext, got: number, of: number, ms: number): MetaMasterError {
  return bucketError(
    "BucketSlowBody",
    "transient",
    context,
    `only ${got} of ${of} bytes arrived within ${Math.round(ms)} ms.`,
    {
      hint: "It is tried again. If it lasts: the network to the store is too slow or loses packets.",
      details: { got, of, deadlineMs: Math.round(ms) },
    },
  );
}

export function objectTooLarge(url: string, key: string, size: number, maxBytes: number): MetaMasterError {
  return new MetaMasterError(
    "ObjectTooLarge",
    "corrupt",
    `The object ${key} in ${url} has ${size} bytes or more; at most ${maxBytes} can be right.`,
    {
      hint: "Something else wrote it, or it was damaged: look at it before going on.",
      details: { key, size, maxBytes },
    },
  );
}

export function bucketClosed(url: string): MetaMasterError {
  return new MetaMasterError("BucketClosed", "invalid", `The bucket ${url} was closed.`, {
    hint: "This is a defect of MetaMaster if it didn't just stop: report it.",
  });
}

export function keysNest(url: string, key: string, cause?: unknown): MetaMasterError {
  return new MetaMasterError(
    "BucketKeyInvalid",
    "invalid",
    `The key ${key} can't be created in ${url}: an object is a folder of it, or it is a folder of objects.`,
    { cause, hint: "Give MetaMaster a prefix of its own in the bucket.", details: { key } },
  );
}
