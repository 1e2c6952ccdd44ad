import { messageOf, MetaMasterError } from "../../base/errors.js";
import { scrub } from "../../bucket/store-errors.js";
import { toProblem } from "../http/problem.js";
import { shortTime } from "../http/times.js";

export type OutputFormat = "text" | "json";

/** Where a command's words go; tests pass their own. */
export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly isTerminal: boolean;
}

/** Results to standard output, in the form that was asked for; everything else to standard error. */
export class Console {
  readonly format: OutputFormat;
  readonly isTerminal: boolean;
  readonly #streams: Streams;
  readonly #verbose: boolean;

  constructor(streams: Streams, options: { readonly format: OutputFormat; readonly verbose: boolean }) {
    this.#streams = streams;
    this.format = options.format;
    this.isTerminal = streams.isTerminal;
    this.#verbose = options.verbose;
  }

  /** `text` is made only if it is wanted. */
  result(value: unknown, text: () => string): void {
    this.#streams.out(`${this.format === "json" ? JSON.stringify(value, jsonValue, 2) : text()}\n`);
  }

  note(text: string): void {
    this.#streams.err(`${text}\n`);
  }

  /** Straight to the terminal, for progress bars. */
  raw(text: string): void {
    this.#streams.err(text);
  }

  error(error: unknown): void {
    if (this.format === "json") {
      this.#streams.err(`${JSON.stringify({ error: toProblem(error).body }, jsonValue, 2)}\n`);
      return;
    }
    this.#streams.err(`${errorText(error, this.#verbose)}\n`);
  }
}

/** JSON has no numbers as long as ours, and readers no use for all digits of a time. */
function jsonValue(key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  return value instanceof Map ? Object.fromEntries(value) : shortTime(key, value);
}

/** What happened, what to do, and the code to look up; a stack only for those who ask. */
function errorText(error: unknown, verbose: boolean): string {
  const lines = [`error: ${scrubLines(messageOf(error))}`];
  if (error instanceof MetaMasterError) {
    if (error.hint !== undefined) lines.push(`  what to do: ${error.hint}`);
    lines.push(`  code: ${error.code} (docs/reference/errors.md)`);
  } else {
    lines.push("  This is a defect of MetaMaster: report it with what --verbose shows.");
  }
  if (verbose && error instanceof Error) {
    lines.push(scrubLines(error.stack ?? ""));
    if (error.cause instanceof Error) lines.push(`caused by: ${scrubLines(error.cause.stack ?? error.cause.message)}`);
  }
  return lines.join("\n");
}

/** Line by line: `scrub` bounds the length of what it is given. */
function scrubLines(text: string): string {
  return text.split("\n").map(scrub).join("\n");
}

/** Columns, the first row being the head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
