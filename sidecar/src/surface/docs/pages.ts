import type { Command } from "commander";
import { errorCodesByPart } from "../../base/error-codes.js";
import { haltCodes, haltReasons } from "../../member/halts.js";
import { buildProgram } from "../cli/program.js";
import { exitCodes } from "../cli/exit-codes.js";
import { environmentName } from "../config/overrides.js";
import { schemaRoot, type SchemaNode } from "../config/schema-walk.js";
import { MemberMetrics } from "../metrics/member-metrics.js";

/** The generated pages of docs/reference, by file name; a test holds them and the sources together. */
export async function referencePages(): Promise<Readonly<Record<string, string>>> {
  return {
    "cli.md": cliPage(),
    "config.md": configPage(),
    "errors.md": errorsPage(),
    "metrics.md": await metricsPage(),
  };
}

function page(title: string, intro: string, sections: readonly string[]): string {
  const note = "<!-- Made by `make docs`; edit the sources instead. -->";
  return `# ${title}\n\n${note}\n\n${intro}\n\n${sections.join("\n\n")}\n`;
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [tableLine(head), tableLine(head.map(() => "---")), ...rows.map(tableLine)].join("\n");
}

function tableLine(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", String.raw`\|`)).join(" | ")} |`;
}

function errorsPage(): string {
  const sections = Object.entries(errorCodesByPart).map(([part, codes]) => {
    const rows = Object.entries(codes).map(([code, { kind, meaning, remedy }]) => [
      `\`${code}\``,
      typeof kind === "string" ? kind : kind.join(", "),
      meaning,
      remedy,
    ]);
    return `## ${part}\n\n${markdownTable(["code", "kind", "meaning", "what to do"], rows)}`;
  });
  return page(
    "Errors",
    "Every error has a stable code. Kinds: `transient` (it is tried again), `conflict` (somebody was there first), `fenced` (another member holds a later epoch), `corrupt` (bytes that fail their check, never applied), `invalid` (input, configuration or environment is wrong; trying again does not help).",
    [...sections, haltsSection()],
  );
}

function haltsSection(): string {
  const reasons = Object.entries(haltReasons).map(([reason, { meaning, remedy }]) => {
    const codes = Object.entries(haltCodes).filter(([, code]) => code.reason === reason);
    const named = codes.map(([code, { atStart }]) => `\`${code}\`${atStart === "looksAgain" ? " *" : ""}`);
    return [`\`${reason}\``, named.join(", "), meaning, remedy];
  });
  const intro =
    "A halted member ends its master, stays up and waits: `metamaster status`, `/healthz`, `/readyz` and the metric `metamaster_halted` say why, and `metamaster resume --reason REASON` lets it go on. A restart alone does not, but for the codes with a `*`: their cause is looked at again at every start before anything is done. A cluster in the bucket that is not this disk's (`ForeignCluster`, `ClusterMissing`, `ClusterDeleted`, a damaged `cluster.json`) is found at the start, before there is a member: then the halt is not recorded, and each start finds it anew. `CorruptHistory` is for every other error of the kind `corrupt` that comparing the disk with the bucket once more does not mend.";
  return `## Halts\n\n${intro}\n\n${markdownTable(["reason", "codes", "meaning", "what to do"], reasons)}`;
}

function configPage(): string {
  const sections = [
    settingsTable("", schemaRoot.children.filter(isLeaf)),
    ...schemaRoot.children.filter((node) => !isLeaf(node)).map(configSection),
  ];
  return page(
    "Configuration",
    "One YAML file. Precedence: the file, then the variable of the environment, then `--set path=value`. Unknown settings are errors. `metamaster config explain` prints what is in effect and where each value came from. Relative paths begin at the file's directory, those of databases at `dataDirectory`.",
    sections,
  );
}

function isLeaf(node: SchemaNode): boolean {
  return node.children.length === 0 && (node.element === undefined || node.element.children.length === 0);
}

function configSection(node: SchemaNode): string {
  const isList = node.element !== undefined;
  const settings = node.element?.children ?? node.children;
  return `## ${node.path}\n\n${node.description}\n\n${settingsTable(isList ? "list" : "section", settings)}`;
}

function settingsTable(within: "" | "list" | "section", nodes: readonly SchemaNode[]): string {
  const rows = nodes.map((node) => [
    `\`${node.path}\``,
    node.description,
    node.expected ?? "",
    node.required ? "required" : node.standard === undefined ? "-" : `\`${standardText(node.standard)}\``,
    ...(within === "list" ? [] : [`\`${environmentName(node.path)}\``]),
  ]);
  return markdownTable(["setting", "meaning", "value", "default", ...(within === "list" ? [] : ["variable"])], rows);
}

function standardText(standard: unknown): string {
  return typeof standard === "string" ? standard : JSON.stringify(standard);
}

function cliPage(): string {
  const noSignals = { onStop: () => undefined, onDefect: () => undefined, exit: () => undefined };
  const program = buildProgram(() => Promise.resolve(), noSignals);
  const leaves = leafCommands(program, []);
  const overview = markdownTable(
    ["command", ""],
    leaves.map(({ name, command }) => [`\`${name}\``, command.summary()]),
  );
  const codes = markdownTable(
    ["code", "meaning"],
    Object.values(exitCodes).map(({ code, meaning }) => [String(code), meaning]),
  );
  return page(
    "Command line",
    "Results go to standard output (`--output json` for programs), everything else to standard error. Errors say what happened, what to do, and their code (see [errors](errors.md)).\n\nIn a pod of the operator's, with its configuration: `kubectl exec POD -c metamaster -- metamaster status`. The container has no shell.",
    [overview, `## Exit codes\n\n${codes}`, ...leaves.map(({ name, command }) => commandSection(name, command))],
  );
}

function leafCommands(command: Command, parents: readonly string[]): { name: string; command: Command }[] {
  const path = [...parents, command.name()];
  if (command.commands.length === 0) return [{ name: path.join(" "), command }];
  return command.commands.flatMap((each) => leafCommands(each, path));
}

function commandSection(name: string, command: Command): string {
  const options = command.options.map(({ flags, description, defaultValue, argChoices, mandatory }) => [
    `\`${flags}\``,
    description + (argChoices === undefined ? "" : ` (${argChoices.join(", ")})`),
    mandatory ? "required" : defaultValue === undefined ? "-" : `\`${String(defaultValue)}\``,
  ]);
  const words = command.registeredArguments.map((argument) => `\`${argument.name()}\`: ${argument.description}`);
  return [
    `## ${name}`,
    command.description(),
    `\`${name} ${command.usage()}\``,
    ...words,
    markdownTable(["option", "meaning", "default"], options),
  ].join("\n\n");
}

async function metricsPage(): Promise<string> {
  const metrics = new MemberMetrics("0");
  metrics.watch(
    {
      status: () => {
        throw new Error("nothing is read for the reference");
      },
      followedWalBytes: () => undefined,
      wallMs: () => 0,
    },
    { process: false },
  );
  const rows = metrics
    .describe()
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, labels, help }) => [`\`${name}\``, type, labels.length === 0 ? "-" : labels.join(", "), help]);
  return page(
    "Metrics",
    "`GET /metrics` on the member's HTTP address, in Prometheus' text format. Besides these, the process's own (`process_*`, `nodejs_*`).",
    [markdownTable(["metric", "type", "labels", "meaning"], rows)],
  );
}
