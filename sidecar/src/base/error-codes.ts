import { bucketErrorCodes } from "./error-codes/bucket.js";
import type { ErrorCodes } from "./error-codes/error-code.js";
import { fileErrorCodes } from "./error-codes/files.js";
import { formatErrorCodes } from "./error-codes/formats.js";
import { kubeErrorCodes } from "./error-codes/kube.js";
import { logErrorCodes } from "./error-codes/log.js";
import { memberErrorCodes } from "./error-codes/member.js";
import { replicaErrorCodes } from "./error-codes/replica.js";
import { surfaceErrorCodes } from "./error-codes/surface.js";

/**
 * Every code of a MetaMasterError, by the part that throws it; stable: a code that was released never changes its meaning. A test holds
 * this list and the sources together; docs/reference/errors.md is made from it (`make docs`).
 */
export const errorCodesByPart: Readonly<Record<string, ErrorCodes>> = {
  "Command line, configuration and HTTP": surfaceErrorCodes,
  Member: memberErrorCodes,
  Replication: replicaErrorCodes,
  Log: logErrorCodes,
  Formats: formatErrorCodes,
  Bucket: bucketErrorCodes,
  Kubernetes: kubeErrorCodes,
  Files: fileErrorCodes,
};

export const errorCodes: ErrorCodes = Object.assign({}, ...Object.values(errorCodesByPart));
