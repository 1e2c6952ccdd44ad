import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const surfaceErrorCodes: ErrorCodes = {
  AddressInUse: {
    kind: "invalid",
    meaning: "The address of `http.address` is taken by another process.",
    remedy: "Stop that process, or choose another port (0 takes a free one).",
  },
  ConfigInvalid: {
    kind: "invalid",
    meaning: "The configuration has problems; all of them are listed.",
    remedy: "Correct every line that is listed; `metamaster config validate` checks without starting.",
  },
  ConfigMissing: {
    kind: "invalid",
    meaning: "The configuration file can't be read.",
    remedy: "Name it with --config, or put it at ./metamaster.yaml.",
  },
  HistoryMissing: {
    kind: "invalid",
    meaning: "The bucket has no cluster, entry or snapshot where one was asked for.",
    remedy: "Check `bucket.url`, and see `metamaster log list` and `metamaster snapshot list` for what there is.",
  },
  HttpAddressInvalid: {
    kind: "invalid",
    meaning: "The HTTP address can't be listened on.",
    remedy: "Use an address of this machine, e.g. 127.0.0.1:8401, and a port this user may use.",
  },
  HttpBodyTooLarge: {
    kind: "invalid",
    meaning: "A request's body is larger than any that is right.",
    remedy: "Send what docs/reference/http.md describes.",
  },
  HttpForbidden: {
    kind: "invalid",
    meaning: "A call that changes something came from another machine or with a foreign Host header.",
    remedy: "Call it from this machine by its loopback address.",
  },
  HttpNotFound: {
    kind: "invalid",
    meaning: "There is nothing at that path.",
    remedy: "See docs/reference/http.md.",
  },
  HttpRequestInvalid: {
    kind: "invalid",
    meaning: "A request's parameters are wrong.",
    remedy: "See the message.",
  },
  HttpTooBusy: {
    kind: "transient",
    meaning: "Too many requests wait at once.",
    remedy: "Try again; share barriers between callers.",
  },
  Interrupted: {
    kind: "transient",
    meaning: "A signal ended the command before it was done.",
    remedy: "Run the same command again; a restore goes on where it was.",
  },
  MemberUnreachable: {
    kind: "transient",
    meaning: "The local member's HTTP does not answer.",
    remedy: "Is `metamaster run` running with this configuration, and is `http.address` the same?",
  },
  TargetNotEmpty: {
    kind: "invalid",
    meaning: "The directory to restore into holds something.",
    remedy: "Name an empty or new directory.",
  },
  Unexpected: {
    kind: "invalid",
    meaning: "Something failed in a way that nobody foresaw.",
    remedy: "This is a defect of MetaMaster: report it with the log.",
  },
  UsageInvalid: {
    kind: "invalid",
    meaning: "The command line is wrong.",
    remedy: "See `metamaster help COMMAND`.",
  },
};
