import { Command, InvalidArgumentError, Option } from "commander";
import { productVersion } from "../compose/system.js";
import { parseSize } from "../config/units.js";
import type { SwitchoverOptions } from "./commands/member.js";
import type { PurgeOptions } from "./commands/purge.js";
import type { RestoreOptions } from "./commands/restore.js";
import type { RunSignals } from "./commands/run.js";
import type { VerifyOptions } from "./commands/verify.js";
import type { CommandContext, CommonOptions } from "./context.js";

/** How a command is carried out: the whole process does it one way, the reference's generator none at all. */
export type Invoke = (options: CommonOptions, work: (context: CommandContext) => Promise<number>) => Promise<void>;

/** Loaded once they are asked for: a member needs one of them, and its code is most of what a start of the others would load. */
const commands = {
  config: () => import("./commands/config.js"),
  log: () => import("./commands/log.js"),
  member: () => import("./commands/member.js"),
  probe: () => import("./commands/probe.js"),
  purge: () => import("./commands/purge.js"),
  restore: () => import("./commands/restore.js"),
  run: () => import("./commands/run.js"),
  snapshot: () => import("./commands/snapshot.js"),
  verify: () => import("./commands/verify.js"),
} as const;

type Action<T> = (context: CommandContext, options: T) => Promise<number>;

/** The command line, whole; docs/reference/cli.md is made from it. */
export function buildProgram(invoke: Invoke, signals: RunSignals): Command {
  const program = new Command("metamaster")
    .description("Replicates a RocksDB-backed master through a bucket, and fails it over.")
    .version(productVersion(), "-V, --version", "print the version")
    .showSuggestionAfterError();
  addRun(program, invoke, signals);
  addSidecar(program, invoke, signals);
  addWatchdog(program);
  addMemberCommands(program, invoke);
  addHistoryCommands(program, invoke);
  addPurge(program, invoke);
  addConfigCommands(program, invoke);
  sayWhereHelpIs(program, "metamaster");
  return program;
}

function sayWhereHelpIs(command: Command, name: string): void {
  command.showHelpAfterError(`(see: ${name} --help)`);
  for (const each of command.commands) sayWhereHelpIs(each, `${name} ${each.name()}`);
}

function addRun(program: Command, invoke: Invoke, signals: RunSignals): void {
  common(program.command("run"))
    .summary("run a member: follow, elect, start and replicate the master")
    .description(
      "Runs one member of a cluster. While it is primary, COMMAND runs as its child (with METAMASTER_URL, METAMASTER_EPOCH, METAMASTER_MEMBER and METAMASTER_CLUSTER set) and is replicated. SIGTERM and SIGINT stop it gracefully with nothing lost; a second one hurries. As process 1 of a container it also reaps what the master orphans. Its exit code is the master's own where the master ended with one.",
    )
    .argument("[command...]", "the master's command line, after --")
    .action((command: string[], options: CommonOptions) =>
      invoke(options, async (context) => (await commands.run()).runCommand(context, command, signals)),
    );
}

function addSidecar(program: Command, invoke: Invoke, signals: RunSignals): void {
  common(program.command("sidecar"))
    .summary("run a member beside a master in a container of its own")
    .description(
      "Runs one member in a pod whose containers share a process namespace. The master is another container of the pod: it can open its databases only while this member is primary, and is ended when it isn't. `GET /v1/gate` is for the start-up probe that holds the master back. With `election.type: Lease` the pod is replaced after the member has been primary.",
    )
    .action((options: CommonOptions) =>
      invoke(options, async (context) => (await commands.run()).sidecarCommand(context, signals)),
    );
}

/** The launcher starts it without all of this, for its memory's sake. */
function addWatchdog(program: Command): void {
  program
    .command("watchdog")
    .summary("end a master whose sidecar is dead or late")
    .description(
      'Runs beside `metamaster sidecar` in a container of its own, as the same user, in the same pod, with its data mounted at the same place: what kills the sidecar must not kill it too. It ends the master once the sidecar\'s connection is lost or leadership was not extended in time. The sidecar finds it by `watchdogSocket`. Small as it is it reads no configuration; NODE_OPTIONS="--max-old-space-size=16 --max-semi-space-size=1" keeps it so.',
    )
    .requiredOption("--socket <path>", "where it listens: on a volume that only the two share")
    .requiredOption("--shelf <directory>", "`.metamaster/locks` in the data directory")
    .requiredOption(
      "--database <name=path...>",
      "a database and its directory, absolute; each one of the configuration",
    )
    .action(async () => {
      await import("../../member/master/container-guard-main.js");
      await new Promise(() => undefined);
    });
}

function addMemberCommands(program: Command, invoke: Invoke): void {
  const action = actionOf(invoke);
  common(program.command("status"))
    .summary("show the local member")
    .description("Shows the role, position, lag and last failover of the member that runs here.")
    .action(action<object>(async (context) => (await commands.member()).statusCommand(context)));
  common(program.command("checkpoint"))
    .summary("make the primary write a checkpoint now")
    .description(
      "Makes the local member, which must be primary, write a checkpoint and a snapshot; returns once they are durable.",
    )
    .addOption(timeoutOption(300))
    .action(action(async (context, options) => (await commands.member()).checkpointCommand(context, options)));
  common(program.command("switchover"))
    .summary("hand over to another member, losing nothing")
    .description(
      "The local member, which must be primary, stops its master, ships the rest and lets a standby take over; returns once one has.",
    )
    .option(
      "--to <member>",
      "which standby should take over, refused if it does not answer; default: whoever comes first",
    )
    .option("--max-lag <size>", "refuse while more than this is not durable, e.g. 16MiB", size)
    .addOption(timeoutOption(120))
    .action(
      action<SwitchoverOptions>(async (context, options) =>
        (await commands.member()).switchoverCommand(context, options),
      ),
    );
  common(program.command("resume"))
    .summary("let a halted member go on")
    .description("Says that the reason of the local member's halt has been dealt with.")
    .requiredOption("--reason <name>", "the halt's reason, as `metamaster status` names it")
    .action(
      action<{ reason: string }>(async (context, options) => (await commands.member()).resumeCommand(context, options)),
    );
}

function addHistoryCommands(program: Command, invoke: Invoke): void {
  const action = actionOf(invoke);
  common(program.command("probe"))
    .summary("check that the bucket keeps its promises")
    .description(
      "Does what `run` does at its start: concurrent creates must have one winner, writes must be seen at once.",
    )
    .action(action<object>(async (context) => (await commands.probe()).probeCommand(context)));
  const log = program
    .command("log")
    .summary("look at the log")
    .description("Looks at the entries of the log in the bucket.");
  common(log.command("list"))
    .summary("list entries")
    .description("Lists entries, the newest ones or those from a slot on.")
    .option("--from <slot>", "begin at this slot", wholeNumber)
    .option("--limit <count>", "at most so many", count, 20)
    .action(
      action<{ from?: number; limit: number }>(async (context, options) =>
        (await commands.log()).logListCommand(context, options),
      ),
    );
  common(log.command("show"))
    .summary("show one entry")
    .description(
      "Shows an entry with its operations; of WAL also its batches: how many, their sequence numbers, and what they do in which column family.",
    )
    .argument("<slot>", "the slot", wholeNumber)
    .action((slot: number, options: CommonOptions) =>
      invoke(options, async (context) => (await commands.log()).logShowCommand(context, slot)),
    );
  const snapshot = program
    .command("snapshot")
    .summary("look at snapshots")
    .description("Looks at the snapshots in the bucket.");
  common(snapshot.command("list"))
    .summary("list snapshots")
    .description("Lists the snapshots that a restore can begin at.")
    .action(action<object>(async (context) => (await commands.snapshot()).snapshotListCommand(context)));
  common(snapshot.command("show"))
    .summary("show one snapshot")
    .description("Shows the files of a snapshot.")
    .argument("<slot>", "its slot", wholeNumber)
    .action((slot: number, options: CommonOptions) =>
      invoke(options, async (context) => (await commands.snapshot()).snapshotShowCommand(context, slot)),
    );
  common(program.command("restore"))
    .summary("make a directory from the bucket, at any point in time")
    .description(
      "Restores the databases into a new directory: everything that is durable, or up to a slot, a sequence number or a time. Begun again after an interruption it goes on.",
    )
    .requiredOption("--to <directory>", "an empty or new directory")
    .option("--slot <slot>", "up to and with this slot of the log", wholeNumber)
    .option("--sequence <database=number>", "nothing of that database beyond the sequence number", sequence)
    .option("--time <time>", "up to this time, e.g. 2026-05-04T12:00:00Z", time)
    .action(
      action<RestoreOptions>(async (context, options) => (await commands.restore()).restoreCommand(context, options)),
    );
  common(program.command("verify"))
    .summary("check that everything a restore needs is in the bucket")
    .description(
      "Reads the whole log, its chain and every snapshot, and looks for every object they refer to; or compares this member's stopped data directory with the history.",
    )
    .option("--deep", "read every object and compare its digest", false)
    .option("--local", "check the data directory instead of the bucket", false)
    .action(
      action<VerifyOptions>(async (context, options) => (await commands.verify()).verifyCommand(context, options)),
    );
}

function addPurge(program: Command, invoke: Invoke): void {
  common(program.command("purge"))
    .summary("remove the whole cluster from its bucket")
    .description(
      "Says what it would delete; with --yes it deletes it: every object below the prefix that is MetaMaster's by its name, and nothing else. Refused while a member may be running, and where the prefix holds no cluster, another one's entries or a newer format. First the log is closed, so that no master's barrier is answered any more, and members that run or start halt with `ClusterDeleted`. Run again after an interruption it goes on where it was.",
    )
    .option("--yes", "delete it; there is no way back but the bucket's own versions", false)
    .option(
      "--even-if-alive",
      "do not wait for signs of life: whoever still runs is fenced, and what it has is lost",
      false,
    )
    .option("--if-exists", "no cluster below the prefix is no error", false)
    .action(
      actionOf(invoke)<PurgeOptions>(async (context, options) =>
        (await commands.purge()).purgeCommand(context, options),
      ),
    );
}

function addConfigCommands(program: Command, invoke: Invoke): void {
  const action = actionOf(invoke);
  const config = program
    .command("config")
    .summary("look at the configuration")
    .description("Looks at the configuration.");
  common(config.command("explain"))
    .summary("print every setting and where it came from")
    .description(
      "Prints the effective configuration: each setting with its value and where that came from (default, file and line, variable, flag).",
    )
    .action(action<object>(async (context) => (await commands.config()).explainCommand(context)));
  common(config.command("validate"))
    .summary("check the configuration")
    .description("Checks the configuration and lists every problem at once.")
    .action(action<object>(async (context) => (await commands.config()).validateCommand(context)));
}

function actionOf(invoke: Invoke): <T>(work: Action<T>) => (options: CommonOptions & T) => Promise<void> {
  return (work) => (options) => invoke(options, (context) => work(context, options));
}

/** What every command takes. */
function common(command: Command): Command {
  return command
    .option("-c, --config <file>", "the configuration (default: $METAMASTER_CONFIG or ./metamaster.yaml)")
    .option("--set <path=value>", "override a setting, e.g. wal.maxDelay=100ms; can be repeated", collect)
    .addOption(
      new Option("-o, --output <format>", "how results and errors are printed")
        .choices(["text", "json"])
        .default("text"),
    )
    .option("--verbose", "more words, and stacks of errors");
}

function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

function timeoutOption(seconds: number): Option {
  return new Option("--timeout <seconds>", "give up after so long (it may still happen)")
    .argParser(waitSeconds)
    .default(seconds);
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

function count(text: string): number {
  const many = wholeNumber(text);
  if (many < 1) throw new InvalidArgumentError("It must be at least 1.");
  return many;
}

function waitSeconds(text: string): number {
  const seconds = wholeNumber(text);
  if (seconds < 1 || seconds > 600) throw new InvalidArgumentError("It must be 1 to 600 seconds.");
  return seconds;
}

function size(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError("It must be a size like 64KiB or 16MiB.");
  return bytes;
}

function sequence(text: string): { database: string; sequence: bigint } {
  const [, database = "", digits = ""] = /^([A-Za-z0-9][A-Za-z0-9_-]*)=(\d{1,20})$/.exec(text) ?? [];
  if (database === "") throw new InvalidArgumentError("It must be a database's name and a number, like meta=12345.");
  return { database, sequence: BigInt(digits) };
}

function time(text: string): number {
  const wallMs = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (Number.isNaN(wallMs))
    throw new InvalidArgumentError("It must be a time with its zone, like 2026-05-04T12:00:00Z.");
  return wallMs;
}
