import { z } from "zod";

/** A node of a structural schema: OpenAPI v3 as the API server takes it in a CustomResourceDefinition. */
export interface Structural {
  type?: string;
  description?: string;
  format?: string;
  default?: unknown;
  enum?: unknown[];
  pattern?: string;
  properties?: Record<string, Structural>;
  required?: string[];
  items?: Structural;
  additionalProperties?: Structural;
  [more: string]: unknown;
}

/** What JSON Schema says and a structural schema may not, or need not. */
const DROPPED: ReadonlySet<string> = new Set(["$schema", "propertyNames", "id", "nullable"]);

/** The schema of a zod object, for the API server. Throws on what it would refuse. */
export function structural(schema: z.ZodType): Structural {
  return convert(z.toJSONSchema(schema, { target: "openapi-3.0", io: "input", unrepresentable: "any" }), "");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function convert(node: unknown, path: string): Structural {
  if (!isObject(node)) throw new TypeError(`${path}: no schema`);
  const kept = Object.fromEntries(Object.entries(node).filter(([key]) => !DROPPED.has(key)));
  if (kept["x-kubernetes-int-or-string"] === true) {
    for (const key of ["type", "anyOf", "oneOf"]) delete kept[key];
    return kept;
  }
  for (const key of ["$ref", "allOf", "anyOf", "oneOf", "not"]) {
    if (key in kept) throw new TypeError(`${path}: ${key} is not structural`);
  }
  const result: Structural = { ...kept, ...children(kept, path) };
  if (!isObject(kept["additionalProperties"]) || isObject(kept["properties"])) delete result.additionalProperties;
  if (result.type === undefined) throw new TypeError(`${path}: no type`);
  if (result.type === "integer") clampInteger(result);
  if (isObject(result.default) && result.properties !== undefined) result.default = filled(result.properties);
  return result;
}

function children(node: Record<string, unknown>, path: string): Partial<Structural> {
  const { properties, items, additionalProperties } = node;
  const found: Partial<Structural> = {};
  if (isObject(properties)) {
    found.properties = Object.fromEntries(
      Object.entries(properties).map(([name, child]) => [name, convert(child, `${path}.${name}`)]),
    );
  }
  if (items !== undefined) found.items = convert(items, `${path}[]`);
  if (isObject(additionalProperties) && !isObject(properties) && Object.keys(additionalProperties).length > 0) {
    found.additionalProperties = convert(additionalProperties, `${path}{}`);
  }
  return found;
}

/** The API server checks a default by the rules before it fills in what is below: all of it must be there. */
function filled(properties: Readonly<Record<string, Structural>>): Record<string, unknown> {
  const defaults = Object.entries(properties).filter(([, child]) => child.default !== undefined);
  return Object.fromEntries(defaults.map(([name, child]) => [name, child.default]));
}

/** zod's own limits of what a double can hold say nothing to a reader. */
function clampInteger(node: Structural): void {
  if (node["minimum"] === Number.MIN_SAFE_INTEGER) delete node["minimum"];
  if (node["maximum"] === Number.MAX_SAFE_INTEGER) delete node["maximum"];
}
