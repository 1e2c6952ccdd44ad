import type { Position, WriterId } from "../formats/entry.js";
import type { Appended, Draft, LogWriter } from "./log.js";

/** Hands everything on to another writer; who extends it changes what it cares about. */
export abstract class WrappedLogWriter implements LogWriter {
  protected readonly inner: LogWriter;

  constructor(inner: LogWriter) {
    this.inner = inner;
  }

  get epoch(): number {
    return this.inner.epoch;
  }

  get writer(): WriterId {
    return this.inner.writer;
  }

  get position(): Position {
    return this.inner.position;
  }

  get lastSentMs(): number {
    return this.inner.lastSentMs;
  }

  get fenced(): Error | undefined {
    return this.inner.fenced;
  }

  get trouble(): Error | undefined {
    return this.inner.trouble;
  }

  append(draft: Draft, signal: AbortSignal): Promise<Appended> {
    return this.inner.append(draft, signal);
  }

  checkFence(signal: AbortSignal): Promise<void> {
    return this.inner.checkFence(signal);
  }
}
