import type { LoadedConfig } from "../config/load.js";
import { DEFAULT_CONFIG_FILE, loadConfig } from "../config/load.js";
import type { Logger } from "../../base/log.js";
import type { System } from "../compose/system.js";
import { Console, type OutputFormat, type Streams } from "./console.js";
import { ProgressView } from "./progress.js";

/** Options that every command takes. */
export interface CommonOptions {
  readonly config?: string;
  readonly set?: readonly string[];
  readonly output: OutputFormat;
  readonly verbose?: boolean;
}

/** What the command line is given by the process. */
export interface CliEnvironment {
  readonly streams: Streams;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly system: System;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** What a command works with. */
export class CommandContext {
  readonly console: Console;
  readonly system: System;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly #options: CommonOptions;
  readonly #environment: CliEnvironment["environment"];

  constructor(environment: CliEnvironment, options: CommonOptions) {
    this.console = new Console(environment.streams, { format: options.output, verbose: options.verbose ?? false });
    this.system = environment.system;
    this.signal = environment.signal;
    this.#options = options;
    this.#environment = environment.environment;
    this.logger = consoleLogger(this.console, options.verbose ?? false);
  }

  async config(): Promise<LoadedConfig> {
    return await loadConfig({
      file: this.#options.config ?? this.#environment["METAMASTER_CONFIG"] ?? DEFAULT_CONFIG_FILE,
      assignments: this.#options.set ?? [],
      environment: this.#environment,
    });
  }

  /** Bars on a terminal, lines elsewhere. */
  progress(): ProgressView {
    const line = (text: string): void => this.console.note(text);
    const draw = (text: string): void => this.console.raw(text);
    return new ProgressView(this.system.clock, this.console.isTerminal ? { line, draw } : { line });
  }
}

/** For commands that a person waits for: what matters, in plain words. */
function consoleLogger(console: Console, verbose: boolean): Logger {
  return {
    debug: (_fields, message) => {
      if (verbose) console.note(`debug: ${message}`);
    },
    info: (_fields, message) => {
      if (verbose) console.note(message);
    },
    warn: (_fields, message) => console.note(`warning: ${message}`),
    error: (_fields, message) => console.note(`error: ${message}`),
  };
}
