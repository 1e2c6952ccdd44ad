import { hasCode, messageOf } from "../base/errors.js";
import type { FileSystem } from "../base/file-system.js";
import type { Logger } from "../base/log.js";
import type { FailoverRecord } from "./failover-record.js";
import { isHaltReason, type Halt } from "./halts.js";
import type { MemberRecords } from "./records.js";

const bytesMax = 1024 * 1024;
/** One put of a run that is dead may land late, hardly that of the hundredth before. */
const runsMax = 100;
const failoversMax = 20;

interface History {
  readonly runs: readonly string[];
  readonly failovers: readonly FailoverRecord[];
}

/**
 * The records in the folder `.metamaster`: `halted.json` while the member is halted, and `member.json`. A halt that can't be read is a halt; a history that can't be
 * read is begun anew.
 */
export class FileRecords implements MemberRecords {
  readonly #fs: FileSystem;
  readonly #folder: string;
  readonly #logger: Logger;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(fs: FileSystem, folder: string, logger: Logger) {
    this.#fs = fs;
    this.#folder = folder;
    this.#logger = logger;
  }

  async readHalt(): Promise<Halt | undefined> {
    const path = `${this.#folder}/halted.json`;
    try {
      const value = await this.#read(path);
      return value === undefined ? undefined : haltOf(value, path);
    } catch (error) {
      if (!(error instanceof SyntaxError) && !hasCode(error, "FileTooLarge")) throw error;
      return unreadable(path, messageOf(error));
    }
  }

  async writeHalt(halt: Halt): Promise<void> {
    await this.#write(`${this.#folder}/halted.json`, halt);
  }

  async clearHalt(): Promise<void> {
    await this.#fs.unlink(`${this.#folder}/halted.json`);
    await this.#fs.syncDirectory(this.#folder);
  }

  async beginRun(nonce: string): Promise<readonly string[]> {
    const { runs } = await this.#history();
    await this.#change((history) => ({ ...history, runs: [nonce, ...history.runs].slice(0, runsMax) }));
    return runs;
  }

  async readFailovers(): Promise<readonly FailoverRecord[]> {
    return (await this.#history()).failovers;
  }

  async writeFailovers(failovers: readonly FailoverRecord[]): Promise<void> {
    await this.#change((history) => ({ ...history, failovers: failovers.slice(-failoversMax) }));
  }

  /** One change at a time, each of what the one before left. */
  async #change(change: (history: History) => History): Promise<void> {
    const done = this.#writing.then(async () =>
      this.#write(`${this.#folder}/member.json`, change(await this.#history())),
    );
    this.#writing = done.catch(() => undefined);
    await done;
  }

  async #history(): Promise<History> {
    const path = `${this.#folder}/member.json`;
    try {
      return historyOf(await this.#read(path));
    } catch (error) {
      if (!(error instanceof SyntaxError) && !hasCode(error, "FileTooLarge")) throw error;
      this.#logger.warn({ path }, `${path} can't be read and is begun anew: ${messageOf(error)}`);
      return historyOf(undefined);
    }
  }

  /** Throws SyntaxError for what is no JSON. */
  async #read(path: string): Promise<unknown> {
    try {
      return JSON.parse(new TextDecoder().decode(await this.#fs.readFile(path, bytesMax)));
    } catch (error) {
      if (hasCode(error, "FileNotFound")) return undefined;
      throw error;
    }
  }

  async #write(path: string, value: object): Promise<void> {
    await this.#fs.makeDirectory(this.#folder);
    await this.#fs.writeFileAtomic(path, new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`));
  }
}

function unreadable(path: string, why: string): Halt {
  return {
    reason: "LocalUnusable",
    message: `this member was halted; why can't be read any more from ${path}: ${why}`,
    code: undefined,
    hint: "Look into the member's log for the reason before you resume.",
    details: { path },
    atWallMs: 0,
  };
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : {};
}

function haltOf(value: unknown, path: string): Halt {
  const { reason, message, code, hint, details, atWallMs } = fieldsOf(value);
  if (typeof reason !== "string" || !isHaltReason(reason))
    return unreadable(path, "it names no reason known to this version");
  const facts = Object.entries(fieldsOf(details)).filter((fact): fact is [string, string | number | boolean] =>
    ["string", "number", "boolean"].includes(typeof fact[1]),
  );
  return {
    reason,
    message: textOf(message) ?? "",
    code: textOf(code),
    hint: textOf(hint),
    details: Object.fromEntries(facts),
    atWallMs: numberOf(atWallMs) ?? 0,
  };
}

function historyOf(value: unknown): History {
  const { runs, failovers } = fieldsOf(value);
  return {
    runs: listOf(runs).filter((run) => typeof run === "string"),
    failovers: listOf(failovers)
      .map((each) => failoverOf(fieldsOf(each)))
      .filter((each) => each !== undefined),
  };
}

const kinds = ["Start", "Failover", "Switchover", "Resumed"] as const;
const causes = ["EmptyHistory", "LeaseExpired", "Released", "OwnEpoch", "Evidence"] as const;

/** Undefined for what another version wrote otherwise: it is only history. */
function failoverOf(raw: Fields): FailoverRecord | undefined {
  const kind = kinds.find((each) => each === raw["kind"]);
  const cause = causes.find((each) => each === raw["cause"]);
  const to = textOf(raw["to"]);
  const numbers = ["epoch", "slot", "atWallMs", "detectMs", "leaseMs", "drainMs", "claimMs"].map((name) =>
    numberOf(raw[name]),
  );
  const [epoch, slot, atWallMs, detectMs, leaseMs, drainMs, claimMs] = numbers;
  if (kind === undefined || cause === undefined || to === undefined) return undefined;
  if (epoch === undefined || slot === undefined || atWallMs === undefined) return undefined;
  if (detectMs === undefined || leaseMs === undefined || drainMs === undefined || claimMs === undefined)
    return undefined;
  return {
    kind,
    cause,
    from: textOf(raw["from"]),
    to,
    epoch,
    slot,
    atWallMs,
    detectMs,
    leaseMs,
    drainMs,
    claimMs,
    openMs: numberOf(raw["openMs"]),
    firstWriteMs: numberOf(raw["firstWriteMs"]),
  };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
