import type { Logger } from "../src/base/log.js";

/** What happened, line by line, as a running hash and, if wanted, as text. Two runs of a seed give the same hash or something isn't deterministic. */
export class Trace {
  readonly #print: ((line: string) => void) | undefined;
  readonly #nowMs: () => number;
  readonly #recent: string[] = [];
  #hash = 0x811c9dc5;
  #other = 0x9e3779b9;
  #lines = 0;

  constructor(nowMs: () => number, print?: (line: string) => void) {
    this.#nowMs = nowMs;
    this.#print = print;
  }

  get hash(): string {
    return `${hex(this.#hash)}${hex(this.#other)}-${this.#lines}`;
  }

  /** The last lines, for a failure's report. */
  get recent(): readonly string[] {
    return this.#recent;
  }

  line(who: string, what: string): void {
    const line = `${this.#nowMs().toFixed(3).padStart(11)} ${who.padEnd(10)} ${what}`;
    for (let index = 0; index < line.length; index++) {
      const code = line.charCodeAt(index);
      this.#hash = Math.imul(this.#hash ^ code, 0x01000193);
      this.#other = Math.imul(this.#other, 31) + code;
    }
    this.#lines++;
    this.#print?.(line);
    this.#recent.push(line);
    if (this.#recent.length > 60) this.#recent.splice(0, 30);
  }

  /** A member's structured log as lines of the trace. */
  logger(who: string): Logger {
    const at =
      (level: string) =>
      (fields: object, message: string): void =>
        this.line(who, `${level} ${message} ${JSON.stringify(fields, plain)}`);
    return { debug: this.#debug(who), info: at("info"), warn: at("warn"), error: at("error") };
  }

  /** Printed, but no part of the hash: with no reader it costs nothing. */
  #debug(who: string): Logger["debug"] {
    const print = this.#print;
    if (print === undefined) return () => {};
    return (fields, message) =>
      print(
        `${this.#nowMs().toFixed(3).padStart(11)} ${who.padEnd(10)} debug ${message} ${JSON.stringify(fields, plain)}`,
      );
  }
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, "0");
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) {
    return {
      message: value.message,
      ...("code" in value ? { code: value.code } : {}),
      ...(value.cause === undefined ? {} : { cause: plain("", value.cause) }),
    };
  }
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return value;
}
