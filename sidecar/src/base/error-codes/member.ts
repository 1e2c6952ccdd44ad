import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const memberErrorCodes: ErrorCodes = {
  AlreadyRunning: {
    kind: "invalid",
    meaning: "A member was started twice in one process.",
    remedy: "This is a defect of MetaMaster: report it.",
  },
  DeadlineExceeded: {
    kind: "transient",
    meaning: "A step took longer than it may.",
    remedy: "It is tried again; see the log for what it waited for.",
  },
  DuplicateIdentity: {
    kind: "invalid",
    meaning: "Another process writes to the log under this member's name.",
    remedy:
      "Give each member its own name and data directory, stop the other process, then `metamaster resume --reason DuplicateIdentity`.",
  },
  LeadershipLost: {
    kind: "fenced",
    meaning: "This member is no longer primary; what was asked for can't be confirmed.",
    remedy: "Ask the new primary: `metamaster status` says who it is.",
  },
  LeaseForeign: {
    kind: "conflict",
    meaning: "The Kubernetes Lease by which this cluster elects is held by another program.",
    remedy:
      "Give `election.leaseName` a name of its own, the same on all members (on Kubernetes it is the resource's name: rename the other program's Lease).",
  },
  LeaseTaken: {
    kind: "fenced",
    meaning: "The Kubernetes Lease is held by another member, or by nobody, though this member had it.",
    remedy:
      "Nothing, if a failover took place. If nobody took over, somebody edited the Lease: leave it to the members.",
  },
  MasterStartFailed: {
    kind: ["invalid", "transient"],
    meaning: "The master's command, or the watchdog beside it, could not be started, or the watchdog does not answer.",
    remedy:
      "Check the command after `--`, its directory and permissions; in a pod the container `metamaster-watchdog` and its log. It is tried again, then handed over.",
  },
  MasterStillRunning: {
    kind: "conflict",
    meaning: "The member can't be resumed, or its master started, while a master has not ended.",
    remedy: "End the process that the message names, or reboot the machine; then resume.",
  },
  MasterWillNotDie: {
    kind: "transient",
    meaning: "The master did not end after SIGKILL, or somebody else holds the LOCK of a database.",
    remedy:
      "End the process that the message names, or reboot the machine; nothing is claimed or acknowledged meanwhile.",
  },
  MemberStopped: {
    kind: "transient",
    meaning: "The member is stopping.",
    remedy: "Ask another member, or again once it runs.",
  },
  NotHalted: {
    kind: "conflict",
    meaning: "A resume was asked for, but the member isn't halted.",
    remedy: "Nothing needs to be done; `metamaster status` shows its role.",
  },
  NotPrimary: {
    kind: "conflict",
    meaning: "This member isn't primary: nothing is made durable here.",
    remedy: "Ask the primary: `metamaster status` says who it is.",
  },
  PlatformUnsupported: {
    kind: "invalid",
    meaning: "This machine lacks what supervising a master needs.",
    remedy: "Run `metamaster run` on Linux, with /proc mounted.",
  },
  ResumeReasonMismatch: {
    kind: "invalid",
    meaning: "The member is halted for another reason than the one that was named.",
    remedy: "Read the reason in `metamaster status`, deal with it, and name it: `metamaster resume --reason <name>`.",
  },
  SwitchoverFailed: {
    kind: "transient",
    meaning: "A switchover was begun but did not end as asked.",
    remedy: "The cluster goes on by itself; see the member's log, and try again once it is healthy.",
  },
  SwitchoverRefused: {
    kind: ["conflict", "invalid", "transient"],
    meaning: "A switchover can't begin now.",
    remedy: "See the reason in the message.",
  },
  TermEnded: {
    kind: "fenced",
    meaning: "This member's time as primary ended while something was under way.",
    remedy: "Ask the new primary; what was not confirmed may not be durable.",
  },
};
