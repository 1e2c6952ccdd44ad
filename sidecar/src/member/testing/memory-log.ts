import { createHash } from "node:crypto";
import type { Clock } from "../../base/clock.js";
import { MetaMasterError } from "../../base/errors.js";
import type { EntryKind, Operation, Position, ReadEntry, WriterId } from "../../formats/entry.js";
import type { Appended, Claim, Draft, LogReader, LogWriter } from "../../log/log.js";
import type { RollCall } from "../../log/roll-call.js";

/** A log that all members of a test share, by the rules of log.ts; what goes over the network takes `latencyMs`. */
export class MemoryLog {
  readonly entries: ReadEntry[] = [];
  readonly answers: { readonly slot: number; readonly name: string }[] = [];
  readonly clock: Clock;
  latencyMs = 5;
  /** Members that the bucket can't be reached by. */
  readonly cutOff = new Set<string>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get last(): ReadEntry | undefined {
    return this.entries.at(-1);
  }

  put(slot: number, entry: Omit<ReadEntry, "position" | "size">): ReadEntry | undefined {
    if (slot !== this.entries.length) return undefined;
    const chain = createHash("sha256")
      .update(JSON.stringify([entry, this.last?.position.chain ?? ""]))
      .digest("hex");
    const read = { ...entry, position: { slot, chain }, size: 100 };
    this.entries.push(read);
    return read;
  }

  /** An entry by somebody who is no member of the test. */
  write(kind: EntryKind, writer: WriterId, epoch: number, operations: readonly Operation[] = []): ReadEntry {
    const entry = this.put(this.entries.length, {
      header: this.header(kind, writer, epoch, false),
      operations,
    });
    if (entry === undefined) throw new Error("not the end");
    return entry;
  }

  header(kind: EntryKind, writer: WriterId, epoch: number, more: boolean): ReadEntry["header"] {
    return {
      version: 1,
      cluster: "test",
      slot: this.entries.length,
      epoch,
      kind,
      previous: this.last?.position.chain ?? "",
      writer,
      wallTimeMs: this.clock.wallMs(),
      more,
      sequences: [],
    };
  }

  async travel(member: string, clock: Clock, signal: AbortSignal): Promise<void> {
    await clock.sleep(this.latencyMs, signal);
    while (this.cutOff.has(member)) await clock.sleep(50, signal);
  }
}

export function memoryRollCall(log: MemoryLog, member: string, clock: Clock): RollCall {
  return {
    answer: async (slot, name, signal) => {
      await log.travel(member, clock, signal);
      log.answers.push({ slot, name });
    },
    present: async (slot, signal) => {
      await log.travel(member, clock, signal);
      return log.answers.filter((answer) => answer.slot === slot).map(({ name }) => name);
    },
    clearBefore: (_slot, signal) => log.travel(member, clock, signal),
  };
}

export function memoryReader(log: MemoryLog, member: string, clock: Clock): LogReader {
  return {
    cluster: { formatVersion: 1, uid: "test", createdAt: "" },
    next: async (position: Position, signal: AbortSignal) => {
      await log.travel(member, clock, signal);
      const entry = log.entries[position.slot + 1];
      if (entry !== undefined && entry.header.previous !== position.chain) {
        throw new MetaMasterError("ChainBroken", "corrupt", `slot ${position.slot + 1} follows another history`);
      }
      return entry;
    },
    read: async (slot: number, signal: AbortSignal) => {
      await log.travel(member, clock, signal);
      return log.entries[slot];
    },
    findGap: async (_slot: number, signal: AbortSignal) => {
      await log.travel(member, clock, signal);
      return undefined;
    },
  };
}

export function memoryClaim(log: MemoryLog, self: WriterId, clock: Clock): Claim {
  return async (end, epoch, signal) => {
    const sentMs = clock.monotonicMs();
    await log.travel(self.member, clock, signal);
    if (end.slot + 1 !== log.entries.length) return { outcome: "lost" };
    const entry = log.put(end.slot + 1, { header: log.header("claim", self, epoch, false), operations: [] });
    if (entry === undefined) return { outcome: "lost" };
    const writer = new MemoryWriter(log, self, clock, { epoch, position: entry.position, sentMs });
    return { outcome: "won", writer, chain: entry.position.chain };
  };
}

export class MemoryWriter implements LogWriter {
  readonly epoch: number;
  readonly writer: WriterId;
  position: Position;
  lastSentMs: number;
  fenced: Error | undefined;
  readonly trouble = undefined;
  readonly #log: MemoryLog;
  readonly #clock: Clock;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    log: MemoryLog,
    writer: WriterId,
    clock: Clock,
    start: { readonly epoch: number; readonly position: Position; readonly sentMs: number },
  ) {
    this.#log = log;
    this.#clock = clock;
    this.writer = writer;
    this.epoch = start.epoch;
    this.position = start.position;
    this.lastSentMs = start.sentMs;
  }

  append(draft: Draft, signal: AbortSignal): Promise<Appended> {
    const done = this.#queue.then(() => this.#put(draft, signal));
    this.#queue = done.catch(() => undefined);
    return done;
  }

  async checkFence(signal: AbortSignal): Promise<void> {
    await this.#log.travel(this.writer.member, this.#clock, signal);
    if (this.#log.entries.length > this.position.slot + 1) throw this.#fence();
  }

  async #put(draft: Draft, signal: AbortSignal): Promise<Appended> {
    if (this.fenced !== undefined) throw this.fenced;
    const sentMs = this.#clock.monotonicMs();
    await this.#log.travel(this.writer.member, this.#clock, signal);
    const { kind, operations, more } = draft;
    const entry = this.#log.put(this.position.slot + 1, {
      header: this.#log.header(kind, this.writer, this.epoch, more),
      operations,
    });
    if (entry === undefined) throw this.#fence();
    this.position = entry.position;
    this.lastSentMs = sentMs;
    return { position: entry.position, sentMs, size: entry.size };
  }

  #fence(): Error {
    this.fenced ??= new MetaMasterError("Fenced", "fenced", `epoch ${this.epoch} is over`);
    return this.fenced;
  }
}
