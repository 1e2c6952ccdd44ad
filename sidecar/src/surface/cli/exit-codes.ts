import { MetaMasterError } from "../../base/errors.js";

interface ExitCode {
  readonly code: number;
  readonly meaning: string;
}

/** What a command ends with; documented in docs/reference/cli.md. Released numbers never change. */
export const exitCodes = {
  ok: { code: 0, meaning: "Done." },
  failure: { code: 1, meaning: "It failed, for a reason that has no number of its own." },
  usage: { code: 2, meaning: "The command line or the configuration is wrong." },
  halted: { code: 3, meaning: "The member is halted and waits for `metamaster resume`." },
  bucket: { code: 4, meaning: "The bucket can't be reached, refuses us, or is not safe to use." },
  corrupt: { code: 5, meaning: "Bytes fail their check: in the bucket, or on this disk." },
  notPrimary: { code: 6, meaning: "This member isn't primary; ask the one that is." },
  unreachable: { code: 7, meaning: "The local member does not answer." },
  unshipped: {
    code: 8,
    meaning:
      "`run`: stopped, but the tail could not be made durable in time; it is on the disk and is shipped at the next start.",
  },
  masterAlive: { code: 9, meaning: "`run`: stopped, but the master can't be ended; it may still be writing." },
  inUse: { code: 10, meaning: "The data directory or the HTTP address is in use by another process." },
  interrupted: {
    code: 130,
    meaning: "Ended by SIGINT, SIGTERM or SIGHUP before it was done; a restore begun again goes on where it was.",
  },
  defect: { code: 70, meaning: "A defect of MetaMaster: report it with the log." },
} as const satisfies Readonly<Record<string, ExitCode>>;

const byCode: Readonly<Record<string, ExitCode>> = {
  AddressInUse: exitCodes.inUse,
  BucketUrlInvalid: exitCodes.usage,
  ConfigInvalid: exitCodes.usage,
  ConfigMissing: exitCodes.usage,
  DirectoryInUse: exitCodes.inUse,
  Interrupted: exitCodes.interrupted,
  HttpAddressInvalid: exitCodes.usage,
  LeadershipLost: exitCodes.notPrimary,
  MasterWillNotDie: exitCodes.masterAlive,
  MemberUnreachable: exitCodes.unreachable,
  NotPrimary: exitCodes.notPrimary,
  TermEnded: exitCodes.notPrimary,
  UsageInvalid: exitCodes.usage,
};

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof MetaMasterError)) return exitCodes.defect.code;
  const own = byCode[error.code];
  if (own !== undefined) return own.code;
  if (error.code.startsWith("Bucket")) return exitCodes.bucket.code;
  return error.kind === "corrupt" ? exitCodes.corrupt.code : exitCodes.failure.code;
}
