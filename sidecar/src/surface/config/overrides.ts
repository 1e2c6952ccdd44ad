import { parse as parseYaml } from "yaml";
import { messageOf } from "../../base/errors.js";
import { isPlainObject } from "./document.js";
import type { Problem } from "./problems.js";
import { nodeAt, pathText, settableNodes } from "./schema-walk.js";
import { nearest } from "./suggest.js";

/** A value from outside the file. */
export interface Override {
  readonly path: readonly (string | number)[];
  readonly value: unknown;
  /** `METAMASTER_WAL_MAX_DELAY` or `--set wal.maxDelay`. */
  readonly source: string;
}

export interface Overrides {
  readonly overrides: readonly Override[];
  readonly problems: readonly Problem[];
}

const PREFIX = "METAMASTER_";

/** `wal.maxDelay` -> `METAMASTER_WAL_MAX_DELAY`. */
export function environmentName(path: string): string {
  return PREFIX + path.replaceAll(/[A-Z]/g, "_$&").replaceAll(".", "_").toUpperCase();
}

/**
 * Settings from variables of the environment. Other METAMASTER_ variables are none of ours (Kubernetes makes some for each Service), except those that
 * are one letter away from a setting.
 */
export function fromEnvironment(environment: Readonly<Record<string, string | undefined>>): Overrides {
  const known = new Map(settableNodes().map((node) => [environmentName(node.path), node]));
  const overrides: Override[] = [];
  const problems: Problem[] = [];
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith(PREFIX) || text === undefined) continue;
    const node = known.get(name);
    if (node !== undefined) {
      overrides.push({ path: node.path.split("."), value: fromText(text, node.expected), source: name });
      continue;
    }
    const near = nearest(
      name.slice(PREFIX.length),
      [...known.keys()].map((each) => each.slice(PREFIX.length)),
    );
    if (near !== undefined && Math.abs(near.length - name.length + PREFIX.length) <= 1 && !isOurs(name)) {
      problems.push({
        path: "",
        line: undefined,
        source: name,
        message: `sets nothing; did you mean ${PREFIX}${near}?`,
      });
    }
  }
  return { overrides, problems };
}

/** What `run` tells the master, and what the command line reads. */
function isOurs(name: string): boolean {
  return ["METAMASTER_URL", "METAMASTER_EPOCH", "METAMASTER_CONFIG", "METAMASTER_NODE"].includes(name);
}

/** `--set path=value`, each. */
export function fromFlags(assignments: readonly string[]): Overrides {
  const overrides: Override[] = [];
  const problems: Problem[] = [];
  for (const assignment of assignments) {
    const equals = assignment.indexOf("=");
    const name = equals < 0 ? assignment : assignment.slice(0, equals);
    const source = `--set ${name}`;
    const path = parsePath(name);
    if (equals < 0 || path === undefined) {
      problems.push({
        path: "",
        line: undefined,
        source,
        message: "has the wrong form; write --set path=value, like --set wal.maxDelay=200ms",
      });
      continue;
    }
    const node = nodeAt(path);
    if (node === undefined) {
      const near = nearest(
        name,
        settableNodes().map((each) => each.path),
      );
      problems.push({
        path: "",
        line: undefined,
        source,
        message: `${name} is no setting${near === undefined ? "" : `; did you mean ${near}?`}`,
      });
      continue;
    }
    try {
      overrides.push({ path, value: fromText(assignment.slice(equals + 1), node.expected), source });
    } catch (error) {
      problems.push({
        path: pathText(path),
        line: undefined,
        source,
        message: `the value is no YAML: ${messageOf(error)}`,
      });
    }
  }
  return { overrides, problems };
}

/** `databases[0].path` -> ["databases", 0, "path"]. */
function parsePath(text: string): (string | number)[] | undefined {
  if (!/^[A-Za-z]+(\[\d{1,3}\])?(\.[A-Za-z]+(\[\d{1,3}\])?)*$/.test(text)) return undefined;
  return text
    .replaceAll(/\[(\d+)\]/g, ".$1")
    .split(".")
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/** Words stay words: only what isn't text in the schema is read as YAML. */
function fromText(text: string, expected: string | undefined): unknown {
  const isText = expected !== undefined && !/^(true or false|a whole number|a list)/.test(expected);
  return isText ? text : parseYaml(text);
}

/** The value with the overrides in place; the later ones win. */
export function applyOverrides(
  value: Record<string, unknown>,
  overrides: readonly Override[],
): Record<string, unknown> {
  const result = structuredClone(value);
  for (const { path, value: overriding } of overrides) setAt(result, path, overriding);
  return result;
}

function setAt(root: Record<string, unknown>, path: readonly (string | number)[], value: unknown): void {
  let holder: Record<string | number, unknown> | unknown[] = root;
  path.forEach((part, index) => {
    if (index === path.length - 1) {
      Reflect.set(holder, part, value);
      return;
    }
    const inner: unknown = Reflect.get(holder, part);
    const next: Record<string | number, unknown> | unknown[] =
      isPlainObject(inner) || Array.isArray(inner) ? inner : typeof path[index + 1] === "number" ? [] : {};
    if (next !== inner) Reflect.set(holder, part, next);
    holder = next;
  });
}
