import { isMap, isPair, isScalar, LineCounter, parseDocument, type Document } from "yaml";
import type { Problem } from "./problems.js";

const DEPTH_MAX = 20;

/** A YAML file with the line of every value. */
export class ConfigDocument {
  readonly file: string;
  readonly problems: readonly Problem[];
  /** The plain value; an empty object if the file can't be read as one. */
  readonly value: Record<string, unknown>;
  readonly #document: Document;
  readonly #lines = new LineCounter();

  constructor(file: string, text: string) {
    this.file = file;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, stringKeys: true });
    const problems: Problem[] = this.#document.errors.map(({ message, pos: [start] }) => ({
      path: "",
      line: this.#lines.linePos(start).line,
      message: `it is no YAML: ${message.split("\n")[0] ?? message}`,
    }));
    let value: unknown = {};
    if (problems.length === 0) {
      try {
        value = this.#document.toJS({ maxAliasCount: 50 }) ?? {};
      } catch (error) {
        problems.push({
          path: "",
          line: 1,
          message: `it can't be read: ${error instanceof Error ? error.message : String(error)}`,
        });
      }
    }
    if (isPlainObject(value)) this.value = value;
    else {
      this.value = {};
      problems.push({ path: "", line: 1, message: "it must be a mapping of settings, like `cluster: my-cluster`" });
    }
    this.problems = problems;
  }

  has(path: readonly PropertyKey[]): boolean {
    return this.#document.hasIn([...path]);
  }

  /** Line of the value at `path` (of its key, where it has one), or of the nearest thing around it. */
  lineOf(path: readonly PropertyKey[]): number | undefined {
    for (let depth = Math.min(path.length, DEPTH_MAX); depth > 0; depth -= 1) {
      const offset = this.#offsetOf(path.slice(0, depth));
      if (offset !== undefined) return this.#lines.linePos(offset).line;
    }
    return undefined;
  }

  #offsetOf(path: readonly PropertyKey[]): number | undefined {
    const key = path.at(-1);
    const parent: unknown = path.length === 1 ? this.#document.contents : this.#document.getIn(path.slice(0, -1), true);
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === key);
      if (isScalar(pair?.key)) return pair.key.range?.[0];
    }
    const node: unknown = this.#document.getIn([...path], true);
    const range: unknown = typeof node === "object" && node !== null && "range" in node ? node.range : undefined;
    const offset: unknown = Array.isArray(range) ? range[0] : undefined;
    return typeof offset === "number" ? offset : undefined;
  }
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
