import { openApiSchema } from "./crd.js";
import { GROUP, KIND, SHORT_NAME, VERSION } from "./resource.js";
import { conditionReasons } from "./status.js";
import type { Structural } from "./structural.js";

type Line = readonly string[];

function table(head: Line, rows: readonly Line[]): string {
  const line = (cells: Line): string => `| ${cells.map((cell) => cell.replaceAll("|", String.raw`\|`)).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function typeOf(node: Structural): string {
  if (node["x-kubernetes-int-or-string"] === true) return "quantity";
  if (node.enum !== undefined) return node.enum.map(String).join(" or ");
  if (node.items !== undefined) return `list of ${typeOf(node.items)}`;
  if (node.additionalProperties !== undefined) return `map of ${typeOf(node.additionalProperties)}`;
  return node.format ?? node.type ?? "any";
}

function rulesOf(node: Structural): readonly string[] {
  const list = node["x-kubernetes-validations"];
  if (!Array.isArray(list)) return [];
  return list.map((each: unknown) => String(Reflect.get(Object(each), "message")));
}

function limitsOf(node: Structural): readonly string[] {
  return [...range(node, "minimum", "maximum", ""), ...range(node, "minItems", "maxItems", " items")];
}

function range(node: Structural, least: string, most: string, unit: string): readonly string[] {
  const [low, high] = [node[least], node[most]];
  if (typeof low !== "number" && typeof high !== "number") return [];
  return [`${typeof low === "number" ? low : 0} to ${typeof high === "number" ? high : "any"}${unit}`];
}

function defaultOf(node: Structural, isRequired: boolean): string {
  if (node.default !== undefined && node.type !== "object") return `\`${JSON.stringify(node.default)}\``;
  return isRequired ? "required" : "-";
}

/** The fields below `node`, each by its whole path. */
function fields(node: Structural, path: string): Line[] {
  const inner = node.items ?? node;
  return Object.entries(inner.properties ?? {}).flatMap(([name, child]) => {
    const at = `${path}${node.items === undefined ? "" : "[]"}.${name}`;
    const isRequired = inner.required?.includes(name) === true && child.default === undefined;
    const rules = [...limitsOf(child), ...rulesOf(child)].join("; ");
    const own: Line = [`\`${at}\``, typeOf(child), defaultOf(child, isRequired), child.description ?? "", rules];
    return [own, ...fields(child, at)];
  });
}

/** docs/reference/api.md */
export function apiPage(): string {
  const schema = openApiSchema();
  const head = ["field", "type", "default", "meaning", "rules"];
  const parts = ["spec", "status"].map((name) => {
    const node = schema.properties?.[name] ?? {};
    const rules = rulesOf(node).map((rule) => `- ${rule}`);
    return [`## ${name}`, ...(rules.length > 0 ? [rules.join("\n")] : []), table(head, fields(node, name))].join(
      "\n\n",
    );
  });
  const conditions = Object.entries(conditionReasons).flatMap(([type, reasons]) =>
    Object.entries(reasons).map(([reason, meaning]) => [`\`${type}\``, `\`${reason}\``, meaning]),
  );
  return (
    [
      "# API",
      "<!-- Made by `make docs`; edit the sources instead. -->",
      `\`${KIND}\` (\`${GROUP}/${VERSION}\`, short name \`${SHORT_NAME}\`). What is wrong is refused by the API server when it is applied.`,
      rulesOf(schema)
        .map((rule) => `- ${rule}`)
        .join("\n"),
      ...parts,
      "## Conditions",
      table(["type", "reason", "meaning"], conditions),
      "",
    ]
      .join("\n\n")
      .trimEnd() + "\n"
  );
}
