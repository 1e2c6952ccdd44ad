/** Structured logging as the product uses it (pino satisfies it). `fields` first, then a sentence for people. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
