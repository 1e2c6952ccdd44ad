import { scrub } from "../../bucket/store-errors.js";
import type { LoadedConfig } from "./load.js";
import { valueAt } from "./problems.js";
import { nodeAt, pathText, schemaRoot, type SchemaNode } from "./schema-walk.js";

export interface ExplainedSetting {
  readonly path: string;
  readonly value: unknown;
  /** `default`, `file:line`, the variable's name, or `--set path`. */
  readonly source: string;
}

/** Every setting as it is in effect, and where its value came from. */
export function explainConfig(loaded: LoadedConfig): ExplainedSetting[] {
  return explainNode(loaded, schemaRoot, []);
}

function explainNode(loaded: LoadedConfig, node: SchemaNode, path: readonly (string | number)[]): ExplainedSetting[] {
  if (node.children.length > 0)
    return node.children.flatMap((child) => explainNode(loaded, child, [...path, child.key]));
  const value = valueAt(loaded.input, path);
  if (node.element !== undefined && node.element.children.length > 0 && Array.isArray(value)) {
    const { element } = node;
    return value.flatMap((_, index) => explainNode(loaded, element, [...path, index]));
  }
  return [{ path: pathText(path), value: effective(loaded, node, path, value), source: sourceOf(loaded, path) }];
}

function effective(loaded: LoadedConfig, node: SchemaNode, path: readonly PropertyKey[], value: unknown): unknown {
  if (path[0] === "member") return loaded.config.member;
  // Paths are shown as they are used.
  const isPathSetting = nodeAt(path)?.expected?.startsWith("a path ") ?? false;
  if (isPathSetting) return valueAt(loaded.config, path) ?? null;
  const shown = value ?? node.standard ?? null;
  return typeof shown === "string" ? scrub(shown) : shown;
}

function sourceOf({ overrides, document, file, config }: LoadedConfig, path: readonly PropertyKey[]): string {
  const text = pathText(path);
  const override = overrides.findLast(
    (each) => text === pathText(each.path) || text.startsWith(`${pathText(each.path)}[`),
  );
  if (override !== undefined) return override.source;
  if (document.has(path)) return `${file}:${document.lineOf(path) ?? "?"}`;
  return text === "member" ? `default (the host name, ${config.member})` : "default";
}

export function explainText(settings: readonly ExplainedSetting[]): string {
  const lines = settings.map(({ path, value, source }) => ({
    left: `${path}: ${value === null ? "-" : valueText(value)}`,
    source,
  }));
  const width = Math.min(60, Math.max(...lines.map(({ left }) => left.length)));
  return lines.map(({ left, source }) => `${left.padEnd(width)}  # ${source}`).join("\n");
}

function valueText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
