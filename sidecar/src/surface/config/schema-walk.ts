import { z } from "zod";
import { configSchema } from "./schema.js";

/** One place in the configuration, from the schema: `bucket`, `bucket.url`, `databases`, `databases[].name`. */
export interface SchemaNode {
  readonly path: string;
  readonly key: string;
  readonly description: string;
  /** What would be right; undefined for a section. */
  readonly expected: string | undefined;
  readonly standard: unknown;
  readonly required: boolean;
  readonly children: readonly SchemaNode[];
  /** The elements of a list. */
  readonly element: SchemaNode | undefined;
}

/** The part of zod's answer that is used; `expected` is ours. */
interface JsonSchema {
  readonly description?: string | undefined;
  readonly expected?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
}

function toNode(path: string, key: string, schema: JsonSchema, required: boolean): SchemaNode {
  const children = Object.entries(schema.properties ?? {}).map(([name, child]) =>
    toNode(path === "" ? name : `${path}.${name}`, name, child, schema.required?.includes(name) ?? false),
  );
  return {
    path,
    key,
    description: schema.description ?? "",
    expected: schema.expected,
    standard: schema.default,
    required,
    children,
    element: schema.items === undefined ? undefined : toNode(`${path}[]`, "[]", schema.items, true),
  };
}

function readSchema(): SchemaNode {
  // Through text: it is plain data, typed by hand above.
  const schema: JsonSchema = JSON.parse(JSON.stringify(z.toJSONSchema(configSchema, { io: "input" })));
  return toNode("", "", schema, true);
}

/** The whole schema as a tree. */
export const schemaRoot: SchemaNode = readSchema();

/** The node of a path such as `["databases", 1, "name"]`. */
export function nodeAt(path: readonly PropertyKey[]): SchemaNode | undefined {
  let node: SchemaNode | undefined = schemaRoot;
  for (const part of path) {
    node = typeof part === "number" ? node?.element : node?.children.find(({ key }) => key === part);
  }
  return node;
}

/** Settings with a value of their own that can be given by one word: not those inside a list. */
export function settableNodes(node: SchemaNode = schemaRoot): SchemaNode[] {
  if (node.children.length > 0) return node.children.flatMap((child) => settableNodes(child));
  return [node];
}

/** `databases[1].path`. */
export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (all, part) =>
      typeof part === "number" ? `${all}[${part}]` : all === "" ? String(part) : `${all}.${String(part)}`,
    "",
  );
}
