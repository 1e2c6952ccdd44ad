import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { resource } from "../../crds/src/resource.js";
import { buildProgram } from "../../sidecar/src/surface/cli/program.js";
import { clustersShown, fencesOf, filesOf, project, textOf } from "./documents.js";

const pages = filesOf("**/*.md");

/** As GitHub makes it of a heading. */
function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

function anchorsOf(path: string): ReadonlySet<string> {
  const headings = textOf(path)
    .split("\n")
    .flatMap((line) => /^#{1,6} (.*)$/.exec(line)?.[1] ?? []);
  return new Set(headings.map(slug));
}

function brokenLinks(path: string): string[] {
  // Code may hold brackets and parentheses that are no link.
  const text = textOf(path)
    .replaceAll(/^( *)```[^]*?^ *```/gm, "")
    .replaceAll(/`[^`\n]*`/g, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = ""]) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [target = "", anchor] = link.split("#");
    const at = target === "" ? path : join(dirname(path), target);
    if (!existsSync(join(project, at))) return [link];
    return anchor !== undefined && at.endsWith(".md") && !anchorsOf(at).has(anchor) ? [link] : [];
  });
}

test.each(pages)("%s: every relative link leads somewhere", (path) => expect(brokenLinks(path)).toEqual([]));

describe("every MetaMasterCluster that is shown is one", () => {
  test.each(clustersShown())("%s", (_where, cluster) => {
    const parsed = resource.safeParse(cluster);
    expect(parsed.success ? [] : parsed.error.issues).toEqual([]);
  });
});

const program = buildProgram(() => Promise.resolve(), {} as Parameters<typeof buildProgram>[1]);

/** What is wrong with a command line of ours, as a reader would type it; undefined: nothing. */
function wrongWith(line: string): string | undefined {
  const ours = line.split(/ -- | \||; |&& | #|>/)[0] ?? "";
  const words = ours.trim().split(/\s+/).slice(1);
  let command = program;
  while (words[0] !== undefined && command.commands.length > 0) {
    const name = words.shift();
    const next = command.commands.find((each) => each.name() === name);
    if (next === undefined) return `no command ${name} in: ${line}`;
    command = next;
  }
  const known = new Set(["--help", ...command.options.flatMap(({ short, long }) => [short, long])]);
  const flag = words.map((word) => word.split("=")[0]).find((word) => word?.startsWith("-") && !known.has(word));
  return flag === undefined ? undefined : `no ${flag} in: ${line}`;
}

/** In fenced blocks a line that begins with the command; in text what stands in backquotes. */
function commandsOf(path: string): readonly string[] {
  const fenced = fencesOf(path)
    .filter(({ language }) => ["", "sh", "bash", "console"].includes(language))
    .flatMap(({ text }) => text.replaceAll("\\\n", " ").split("\n"))
    .flatMap((line) => /(?:^\s*|-- |\$ )(metamaster [a-z].*)$/.exec(line)?.[1] ?? []);
  const quoted = [...textOf(path).matchAll(/`(metamaster [a-z][^`\n]*)`/g)].map(([, line = ""]) => line);
  return [...fenced, ...quoted].filter((line) => !/^metamaster (operator|help)\b/.test(line));
}

test.each(pages)("%s: every command and flag exists", (path) =>
  expect(commandsOf(path).flatMap((line) => wrongWith(line) ?? [])).toEqual([]),
);

test("a command or flag that isn't one is found", () => {
  expect(wrongWith("metamaster status --output json")).toBeUndefined();
  expect(wrongWith("metamaster log tail")).toContain("no command tail");
  expect(wrongWith("metamaster switchover --now")).toContain("no --now");
});

test("the guide's barriers are those of the programs that are tried", () => {
  const programs = { go: "go/main.go", rust: "rust/main.rs", java: "java/Barrier.java", python: "python/barrier.py" };
  const guide = fencesOf("docs/guides/bring-your-own-master.md");
  for (const [language, path] of Object.entries(programs)) {
    const shown = guide.filter((fence) => fence.language === language);
    expect([language, shown.length]).toEqual([language, 1]);
    const indented = textOf(`examples/barrier/${path}`);
    // Java's stands in a class, indented.
    const plain = language === "java" ? indented.replaceAll(/^ {4}/gm, "") : indented;
    expect(plain).toContain(shown[0]?.text.trim());
  }
});

test("alerts and dashboard ask only for metrics that there are", () => {
  const tables = ["docs/reference/metrics.md", "docs/reference/operator-metrics.md"].map(textOf).join("\n");
  const known = new Set([...tables.matchAll(/^\| `(metamaster_\w+)`/gm)].map(([, name]) => name));
  for (const path of ["charts/metamaster/files/alerts.yaml", "charts/metamaster/files/dashboard.json"]) {
    const asked = [...textOf(path).matchAll(/\bmetamaster_[a-z_]+/g)]
      .map(([name]) => name.replace(/_(bucket|sum|count)$/, ""))
      .filter((name) => name !== "metamaster_cluster");
    expect(asked.length).toBeGreaterThan(5);
    expect([path, asked.filter((name) => !known.has(name))]).toEqual([path, []]);
  }
});

test("each alert has its page, and each page its alert", () => {
  const alerts = [...textOf("charts/metamaster/files/alerts.yaml").matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  const named = filesOf("docs/runbooks/*.md").map((path) => basename(path, ".md"));
  expect(new Set(named)).toEqual(new Set(alerts));
});
