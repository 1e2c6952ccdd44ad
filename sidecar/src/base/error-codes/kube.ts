import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const kubeErrorCodes: ErrorCodes = {
  KubeNotFound: {
    kind: "invalid",
    meaning: "An object is not, or no longer, in the Kubernetes API.",
    remedy: "The message names it. A Lease that was deleted is made again by itself.",
  },
};
