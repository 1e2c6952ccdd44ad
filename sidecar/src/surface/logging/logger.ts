import { pino, type Logger as PinoLogger, type DestinationStream } from "pino";
import { MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import { scrub } from "../../bucket/store-errors.js";
import { plainDetails } from "../http/problem.js";

export interface LogSettings {
  readonly level: "Debug" | "Info" | "Warn" | "Error";
  readonly format: "Auto" | "Json" | "Pretty";
  /** In every line. */
  readonly member: string;
}

export interface ProductLogger extends Logger {
  /** Writes out what is buffered; before the process ends. */
  flush(): void;
}

const STDERR = 2;
/** Whoever reads our log and stops must not stop the member: beyond this much unwritten text lines are dropped. */
const BUFFER_BYTES_MAX = 4 * 1024 * 1024;

/** Structured lines to standard error: readable on a terminal, JSON otherwise. Writing never blocks the member. */
export async function createLogger(settings: LogSettings, isTerminal: boolean): Promise<ProductLogger> {
  const output = pino.destination({ fd: STDERR, sync: false, maxLength: BUFFER_BYTES_MAX });
  const readable = settings.format === "Pretty" || (settings.format === "Auto" && isTerminal);
  const logger = pinoLogger(settings, readable ? await prettyStream(output, isTerminal) : output);
  return Object.assign(adapt(logger), {
    flush: (): void => {
      try {
        output.flushSync();
      } catch {
        // Nobody reads any more, or it isn't open yet: there is no place left to say so.
      }
    },
  });
}

/** For tests and for destinations of other kinds. */
export function pinoLogger(settings: LogSettings, output: DestinationStream): PinoLogger {
  return pino(
    {
      level: settings.level.toLowerCase(),
      base: { member: settings.member },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: plainFields },
      // Ours below: pino's own would print every property of an error, whatever it holds.
      serializers: { err: (value: unknown) => value },
    },
    output,
  );
}

/** Loaded here only: in a pod nobody reads it. */
async function prettyStream(destination: DestinationStream, colorize: boolean): Promise<DestinationStream> {
  const { default: pretty } = await import("pino-pretty");
  return pretty({
    destination,
    colorize,
    translateTime: "SYS:HH:MM:ss.l",
    ignore: "pid,hostname,member,version",
    singleLine: true,
  });
}

/** What the product logs to, over pino. */
export function adapt(logger: PinoLogger): Logger {
  return {
    debug: (fields, message) => logger.debug(fields, scrub(message)),
    info: (fields, message) => logger.info(fields, scrub(message)),
    warn: (fields, message) => logger.warn(fields, scrub(message)),
    error: (fields, message) => logger.error(fields, scrub(message)),
  };
}

function plainFields(fields: Record<string, unknown>): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) plain[name] = plainValue(value);
  return plain;
}

function plainValue(value: unknown): unknown {
  if (typeof value === "string") return scrub(value);
  if (typeof value === "bigint") return value.toString();
  return value instanceof Error ? plainError(value) : value;
}

/** What helps, and nothing else: errors of clients carry requests with signatures and tokens. */
function plainError(error: Error): object {
  const stack = error.stack === undefined ? {} : { stack: scrub(error.stack.split("\n").slice(1, 8).join("\n")) };
  const cause = error.cause instanceof Error ? { cause: scrub(error.cause.message) } : {};
  if (!(error instanceof MetaMasterError)) return { message: scrub(error.message), ...stack, ...cause };
  const { code, kind, hint } = error;
  return { code, kind, message: scrub(error.message), hint, details: plainDetails(error), ...cause };
}
