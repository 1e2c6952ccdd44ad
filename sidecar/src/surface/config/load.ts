import { readFile, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { messageOf, MetaMasterError } from "../../base/errors.js";
import { cautions, crossCheck } from "./checks.js";
import { ConfigDocument } from "./document.js";
import { applyOverrides, fromEnvironment, fromFlags, type Override } from "./overrides.js";
import { explainIssue, problemText, type PlainIssue, type Problem } from "./problems.js";
import { configSchema, type Config } from "./schema.js";
import { pathText } from "./schema-walk.js";

export const DEFAULT_CONFIG_FILE = "metamaster.yaml";
const FILE_BYTES_MAX = 1024 * 1024;

export interface ConfigSource {
  /** Absolute, or relative to the working directory. */
  readonly file: string;
  /** `path=value`, as given with --set. */
  readonly assignments: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface LoadedConfig {
  /** `member` is filled in, all paths are absolute. */
  readonly config: Config & { readonly member: string };
  readonly file: string;
  readonly document: ConfigDocument;
  readonly overrides: readonly Override[];
  /** The settings as they were written, with the overrides in place. */
  readonly input: Readonly<Record<string, unknown>>;
  readonly cautions: readonly string[];
}

/** Carries every problem that was found. */
export class ConfigInvalid extends MetaMasterError {
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    const lines = problems.map((problem) => `  ${problemText(problem, file)}`);
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super("ConfigInvalid", "invalid", `The configuration has ${count}:\n${lines.join("\n")}`, {
      hint: "Correct what is listed; docs/reference/config.md says what each setting means.",
      details: { file, problems: problems.length },
    });
    this.problems = problems;
  }
}

/** Reads, checks and completes the configuration; throws `ConfigMissing`, or `ConfigInvalid` with every problem at once. */
export async function loadConfig(source: ConfigSource): Promise<LoadedConfig> {
  return parseConfig(await readConfigFile(source.file), source);
}

async function readConfigFile(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > FILE_BYTES_MAX)
      throw new Error(`it has ${size} bytes; no configuration has more than ${FILE_BYTES_MAX}`);
    return await readFile(file, "utf8");
  } catch (error) {
    throw new MetaMasterError(
      "ConfigMissing",
      "invalid",
      `Could not read the configuration ${resolve(file)}: ${messageOf(error)}.`,
      {
        hint: `Name it with --config FILE (default: ./${DEFAULT_CONFIG_FILE}, or the variable METAMASTER_CONFIG).`,
        details: { file },
      },
    );
  }
}

/** As `loadConfig`, from the text of the file. */
export function parseConfig(text: string, source: ConfigSource): LoadedConfig {
  const { file, assignments, environment } = source;
  const document = new ConfigDocument(file, text);
  const fromOutside = [fromEnvironment(environment), fromFlags(assignments)];
  const overrides = fromOutside.flatMap((each) => each.overrides);
  const problems: Problem[] = [...document.problems, ...fromOutside.flatMap((each) => each.problems)];
  // What is no YAML lacks everything: nothing else can be said of it.
  if (document.problems.length > 0) throw new ConfigInvalid(file, problems);
  const input = applyOverrides(document.value, overrides);
  const locate = (issues: readonly PlainIssue[]): Problem[] =>
    issues.map((issue) => locateIssue(issue, document, overrides));
  const result = configSchema.safeParse(input);
  if (!result.success) {
    problems.push(...locate(result.error.issues.flatMap((issue) => explainIssue(issue, input))));
    throw new ConfigInvalid(file, inOrder(problems));
  }
  const base = dirname(resolve(file));
  problems.push(...locate(crossCheck(result.data, base)));
  if (problems.length > 0) throw new ConfigInvalid(file, inOrder(problems));
  const config = complete(result.data, base);
  return { config, file, document, overrides, input, cautions: cautions(config) };
}

function inOrder(problems: readonly Problem[]): Problem[] {
  return problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
}

function locateIssue({ path, message }: PlainIssue, document: ConfigDocument, overrides: readonly Override[]): Problem {
  const text = pathText(path);
  const override = overrides.findLast((each) => pathText(each.path) === text);
  return {
    path: text,
    message,
    line: document.lineOf(path),
    ...(override === undefined ? {} : { source: override.source }),
  };
}

/** Relative paths begin at the file's directory; databases at the data directory. */
function complete(config: Config, base: string): Config & { readonly member: string } {
  const dataDirectory = resolve(base, config.dataDirectory);
  const { caFile, credentialsDirectory } = config.bucket;
  return {
    ...config,
    member: config.member ?? hostname().slice(0, 63),
    dataDirectory,
    ...(config.watchdogSocket === undefined ? {} : { watchdogSocket: resolve(base, config.watchdogSocket) }),
    election: { ...config.election, serviceAccount: resolve(base, config.election.serviceAccount) },
    bucket: {
      ...config.bucket,
      ...(caFile === undefined ? {} : { caFile: resolve(base, caFile) }),
      ...(credentialsDirectory === undefined ? {} : { credentialsDirectory: resolve(base, credentialsDirectory) }),
    },
    databases: config.databases.map(({ name, path, walPath }) => ({
      name,
      path: resolve(dataDirectory, path),
      ...(walPath === undefined ? {} : { walPath: resolve(dataDirectory, walPath) }),
    })),
  };
}
