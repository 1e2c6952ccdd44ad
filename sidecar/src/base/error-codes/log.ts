import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const logErrorCodes: ErrorCodes = {};
