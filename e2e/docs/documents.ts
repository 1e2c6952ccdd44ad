import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

export const project = join(import.meta.dirname, "..", "..");

const NOT_OURS = /(^|\/)(node_modules|dist|\.cache)(\/|$)/;

function isForeign(path: string): boolean {
  return NOT_OURS.test(path);
}

/** Markdown and manifests of the project, without what was installed or built. */
export function filesOf(pattern: string): readonly string[] {
  return globSync(pattern, { cwd: project, exclude: isForeign }).toSorted();
}

export const textOf = (path: string): string => readFileSync(join(project, path), "utf8");

export interface Fence {
  readonly path: string;
  readonly language: string;
  readonly text: string;
  /** As an editor counts. */
  readonly line: number;
}

/** Fenced blocks, wherever they are indented. */
export function fencesOf(path: string): readonly Fence[] {
  const fences: Fence[] = [];
  let open: { indent: number; language: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of textOf(path).split("\n").entries()) {
    const [, indent = "", language = ""] = /^( *)```(\w*)/.exec(line) ?? [];
    const isMark = line.trimStart().startsWith("```");
    if (open === undefined) {
      if (isMark) open = { indent: indent.length, language, line: index + 1, lines: [] };
    } else if (isMark) {
      fences.push({ path, language: open.language, line: open.line, text: open.lines.join("\n") });
      open = undefined;
    } else open.lines.push(line.slice(open.indent));
  }
  if (open !== undefined) throw new Error(`${path}:${open.line}: a fenced block without an end`);
  return fences;
}

/** Each MetaMasterCluster that a reader may copy, with where it stands. */
export function clustersShown(): readonly (readonly [string, unknown])[] {
  const manifests = filesOf("examples/*.yaml").map((path) => [path, textOf(path)] as const);
  const fenced = filesOf("**/*.md")
    .flatMap(fencesOf)
    .filter(({ language }) => language === "yaml");
  return [...manifests, ...fenced.map(({ path, line, text }) => [`${path}:${line}`, text] as const)].flatMap(
    ([where, text]) =>
      parseAllDocuments(text)
        .map((document): unknown => {
          if (document.errors.length > 0) throw new Error(`${where}: ${String(document.errors[0])}`);
          return document.toJS();
        })
        .filter(isCluster)
        .map((value) => [where, value] as const),
  );
}

function isCluster(value: unknown): boolean {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "MetaMasterCluster";
}
