import type { z } from "zod";
import { scrub } from "../../bucket/store-errors.js";
import { nodeAt, pathText, settableNodes, type SchemaNode } from "./schema-walk.js";
import { nearest } from "./suggest.js";

/** One thing that is wrong with the configuration. */
export interface Problem {
  /** `databases[1].path`; empty: the file as a whole. */
  readonly path: string;
  readonly line: number | undefined;
  /** Where it came from if not from the file: the variable's or flag's name. */
  readonly source?: string | undefined;
  /** What was found and what would be right. */
  readonly message: string;
}

type Issue = z.core.$ZodIssue;

export interface PlainIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** What zod found, in our words. */
export function explainIssue(issue: Issue, input: unknown): PlainIssue[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: unknownKey(issue.path, key) }));
  }
  const { path, found } = shorten(issue.path, input);
  const expected = nodeAt(path)?.expected ?? sectionText(nodeAt(path));
  if (found === undefined) return [{ path, message: `is missing: give ${expected}` }];
  return [{ path, message: `found ${show(found)}; expected ${expected}${hintFor(found, expected)}` }];
}

/** A value inside a list of words belongs to the list's own description. */
function shorten(path: readonly PropertyKey[], input: unknown): { path: readonly PropertyKey[]; found: unknown } {
  const at = nodeAt(path);
  const found = valueAt(input, path);
  if (at !== undefined && (at.expected !== undefined || at.children.length > 0)) return { path, found };
  return nodeAt(path.slice(0, -1))?.expected === undefined ? { path, found } : { path: path.slice(0, -1), found };
}

function sectionText(node: SchemaNode | undefined): string {
  const keys = node?.children.map(({ key }) => key) ?? [];
  return keys.length === 0
    ? "a value"
    : `a section with ${keys.slice(0, 4).join(", ")}${keys.length > 4 ? " ..." : ""}`;
}

function unknownKey(parent: readonly PropertyKey[], key: string): string {
  const node = nodeAt(parent);
  const keys = node?.children.map((child) => child.key) ?? [];
  const near = nearest(key, keys);
  if (near !== undefined) return `is no setting; did you mean ${pathText([...parent, near])}?`;
  const elsewhere = settableNodes().filter((each) => each.key.toLowerCase() === key.toLowerCase());
  if (elsewhere.length > 0)
    return `is no setting here; did you mean ${elsewhere.map(({ path }) => path).join(" or ")}?`;
  const where = parent.length === 0 ? "At the top level" : `In ${pathText(parent)}`;
  return `is no setting. ${where} there are ${keys.join(", ")}`;
}

export function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const part of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Reflect.get(value, part);
  }
  return value;
}

const SHOWN_MAX = 120;

/** A value as a person wrote it, without what must not be shown. */
function show(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return "a section";
  const text = JSON.stringify(typeof value === "string" ? scrub(value) : value);
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
}

function hintFor(found: unknown, expected: string): string {
  if (typeof found === "number" && /^a (duration|size)/.test(expected)) return ". A number needs a unit";
  if (typeof found === "string" && expected.startsWith("a size") && /^\d+ ?([kmgt]b?)$/i.test(found))
    return ". Units are KiB, MiB, GiB";
  if (typeof found === "number" || typeof found === "boolean") {
    return /true or false|whole number|^a list|^a section/.test(expected)
      ? ""
      : ". Put it in quotes if it is meant as text";
  }
  return "";
}

export function problemText({ path, line, source, message }: Problem, file: string): string {
  const where = source ?? (line === undefined ? file : `${file}:${line}`);
  return path === "" ? `${where}: ${message}` : `${where}: ${path} ${message}`;
}
