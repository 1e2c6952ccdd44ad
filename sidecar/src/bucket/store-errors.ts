import { MetaMasterError, messageOf } from "../base/errors.js";
import { bucketError, type ErrorContext, type Operation } from "./errors.js";

/** What is known of a failed request, whatever client made it. */
export interface StoreFailure {
  /** HTTP status; undefined if no answer came. */
  readonly status: number | undefined;
  /** The store's code (`NoSuchBucket`), or that of node (`ECONNREFUSED`), or the error's name. */
  readonly code: string;
  readonly message: string;
  readonly requestId?: string | undefined;
}

const textMax = 500;
/** Node's UNABLE_TO_VERIFY_LEAF_SIGNATURE, say: what follows is prose. */
const errorCodePattern = /^[A-Z]+_[A-Z_]+: $/;

/** Clients quote whole answers in their messages. */
function oneLine(text: string): string {
  return text.trim().replaceAll(/\s+/g, " ");
}

/** Without what must never be in a log: tokens and signatures, as clients put them in messages and URLs. */
export function scrub(text: string): string {
  return text
    .replaceAll(/(Bearer\s+)\S+/gi, "$1***")
    .replaceAll(
      /(\w*(?:signature|credential|token|secret|password|api_?key|access_?key(?:_?id)?)"?\s*[=:]\s*"?)[^\s&,;"<>]+/gi,
      (found, label: string) => (errorCodePattern.test(label) ? found : `${label}***`),
    )
    .replaceAll(/\/\/[^\s/@]+@/g, "//***@")
    .slice(0, textMax);
}

/**
 * What the clients throw, reduced to its text: their errors carry whole requests with signatures and session tokens, so they are
 * never a `cause` as they are.
 */
function cleaned({ code, message }: StoreFailure): Error {
  const error = new Error(scrub(oneLine(message)));
  error.name = code;
  error.stack = `${code}: ${error.message}`;
  return error;
}

const permissions: Readonly<Record<"s3" | "gs", Readonly<Record<Operation, string>>>> = {
  s3: {
    putIfAbsent: "s3:PutObject",
    put: "s3:PutObject and s3:AbortMultipartUpload",
    get: "s3:GetObject, and s3:ListBucket (without it an absent key looks forbidden)",
    head: "s3:GetObject, and s3:ListBucket (without it an absent key looks forbidden)",
    list: "s3:ListBucket",
    delete: "s3:DeleteObject",
  },
  gs: {
    putIfAbsent: "storage.objects.create",
    put: "storage.objects.create and storage.objects.delete",
    get: "storage.objects.get and storage.objects.list",
    head: "storage.objects.get and storage.objects.list",
    list: "storage.objects.list",
    delete: "storage.objects.delete",
  },
};

/** Answers that are refused by name although the next try may pass. */
const transientCodes = new Set([
  "RequestTimeout",
  "RequestTimeTooSkewed",
  "ExpiredToken",
  "ExpiredTokenException",
  "TokenRefreshRequired",
  "SlowDown",
  "Throttling",
  "ThrottlingException",
  "TooManyRequests",
  "RequestThrottled",
  "IncompleteBody",
  "BadDigest",
  "XAmzContentSHA256Mismatch",
  "NoSuchUpload",
  "InternalError",
  "ServiceUnavailable",
]);

const credentialCodes = new Set(["CredentialsProviderError", "TokenProviderError", "ProviderError"]);

const tlsPattern =
  /^(CERT_|ERR_TLS_|ERR_SSL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(VERIFY|GET_ISSUER)|EPROTO$|HOSTNAME_MISMATCH)/;

const nodeCodePattern =
  /\b(ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|EPROTO|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)\b/;

const retried = "It is tried again.";

/** An error of this layer for a failed request to an object store. */
export function storeError(failure: StoreFailure, context: ErrorContext): MetaMasterError {
  const { status, code, message, requestId } = failure;
  const why = `${status === undefined ? "" : `${status} `}${code}: ${scrub(oneLine(message))}`;
  const [ourCode, kind, hint] = status === undefined ? withoutAnswer(code) : withAnswer(status, code, message, context);
  return bucketError(ourCode, kind, context, why, {
    cause: cleaned(failure),
    hint,
    details: { status, storeCode: code, ...(requestId === undefined ? {} : { requestId }) },
  });
}

type Verdict = readonly [code: string, kind: "transient" | "invalid", hint: string];

function withoutAnswer(code: string): Verdict {
  if (credentialCodes.has(code)) {
    return [
      "BucketAccessDenied",
      "invalid",
      "Put the credentials into the files of `bucket.credentialsDirectory`, or where the store's own SDK finds them.",
    ];
  }
  if (tlsPattern.test(code)) {
    return [
      "BucketTlsInvalid",
      "invalid",
      "Name the certificate of the store's CA (caFile), or correct the endpoint (http or https, host name).",
    ];
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return [
      "BucketUnavailable",
      "transient",
      `${retried} If it lasts: is the host name of the endpoint (or the region) right, does DNS work here?`,
    ];
  }
  if (code === "ECONNREFUSED") {
    return [
      "BucketUnavailable",
      "transient",
      `${retried} If it lasts: nothing listens at the endpoint; is it right, does the store run?`,
    ];
  }
  if (code === "TimeoutError" || code === "ETIMEDOUT" || code === "ESOCKETTIMEDOUT") {
    return [
      "BucketTimeout",
      "transient",
      `${retried} If it lasts: is the store reachable from this machine, and is it overloaded?`,
    ];
  }
  return ["BucketUnavailable", "transient", `${retried} If it lasts: is the network to the store in order?`];
}

function withAnswer(status: number, code: string, message: string, context: ErrorContext): Verdict {
  if (status === 507 || code === "XMinioStorageFull" || code === "QuotaExceeded") {
    return ["BucketFull", "transient", "Free space in the store or raise its quota; it is tried again."];
  }
  if (code === "NoSuchBucket" || (status === 404 && !transientCodes.has(code))) {
    return ["BucketNotFound", "invalid", "Create the bucket, or correct its name, region or endpoint."];
  }
  if (code === "RequestTimeTooSkewed") {
    return [
      "BucketUnavailable",
      "transient",
      `${retried} Set this machine's clock (NTP): it differs from the store's by minutes.`,
    ];
  }
  if (code === "NotImplemented" || status === 501)
    return [
      "BucketRequestInvalid",
      "invalid",
      "This store lacks a feature that MetaMaster needs (creation on condition); use another.",
    ];
  if (transientCodes.has(code) || status >= 500 || status === 429 || status === 408 || status === 409) {
    return [
      "BucketUnavailable",
      "transient",
      `${retried} If it lasts: the store is overloaded or broken, or limits this client.`,
    ];
  }
  if (status === 401 || status === 403) {
    const scheme = context.url.startsWith("gs:") ? "gs" : "s3";
    return [
      "BucketAccessDenied",
      "invalid",
      `Check the credentials; this needs the permission ${permissions[scheme][context.operation]}.`,
    ];
  }
  if ((status >= 300 && status < 400) || /region/i.test(message)) {
    return ["BucketRequestInvalid", "invalid", "The bucket lives elsewhere: correct the region or the endpoint."];
  }
  return [
    "BucketRequestInvalid",
    "invalid",
    "The store refuses the request as such: is the endpoint an object store of this kind?",
  ];
}

/** The upload is gone from the store: only the whole put, anew, can help. */
export function isUploadLost(error: MetaMasterError): boolean {
  return error.details["storeCode"] === "NoSuchUpload";
}

/** The failure in anything that a client or node threw. */
export function failureOf(error: unknown): StoreFailure {
  if (typeof error !== "object" || error === null) return { status: undefined, code: "Error", message: String(error) };
  const status = numberAt(error, "$metadata", "httpStatusCode");
  const name = textAt(error, "name");
  const nodeCode = textAt(error, "code");
  // AWS SDK: the store's code is in `name`, or in `Code` if the name is a general one; node: in `code`.
  const code = status === undefined ? (nodeCode ?? name) : (textAt(error, "Code") ?? name ?? nodeCode);
  const message = textAt(error, "message") ?? messageOf(error);
  const requestId = textAt(Reflect.get(error, "$metadata"), "requestId");
  if (code !== undefined && code !== "" && code !== "Error") return { status, code, message, requestId };
  // The AWS SDK wraps what is no Error in its eyes (of another realm, as under jest) and drops the code, but not the text.
  const told = status === undefined ? nodeCodePattern.exec(message)?.[0] : undefined;
  return { status, code: told ?? "Error", message, requestId };
}

function textAt(object: unknown, key: string): string | undefined {
  if (typeof object !== "object" || object === null) return undefined;
  const value: unknown = Reflect.get(object, key);
  return typeof value === "string" ? value : undefined;
}

function numberAt(object: object, outer: string, inner: string): number | undefined {
  const found: unknown = Reflect.get(object, outer);
  if (typeof found !== "object" || found === null) return undefined;
  const value: unknown = Reflect.get(found, inner);
  return typeof value === "number" ? value : undefined;
}
