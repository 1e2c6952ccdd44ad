import type { Clock } from "../../base/clock.js";
import type { Progress } from "../../replica/progress.js";
import { approximateDuration, approximateSize } from "../config/units.js";

/** Phases that count entries or files instead of bytes. */
const counted: ReadonlySet<string> = new Set(["log", "compare"]);
const DRAW_MS = 100;
const LINE_MS = 5000;
const BAR_WIDTH = 24;

interface Phase {
  readonly name: string;
  readonly startMs: number;
  /** What was there when it began to be reported. */
  readonly startBytes: number;
  doneBytes: number;
  totalBytes: number;
  shownMs: number;
  shown: boolean;
  ended: boolean;
}

export interface ProgressOutput {
  /** A terminal: what is drawn is drawn over again. */
  readonly draw?: (text: string) => void;
  /** Anything else: now and then a line. */
  readonly line: (text: string, fields: object) => void;
}

/** Shows transfers: a bar with rate and time left on a terminal, a line every few seconds elsewhere. */
export class ProgressView implements Progress {
  readonly #clock: Clock;
  readonly #output: ProgressOutput;
  #phase: Phase | undefined;

  constructor(clock: Clock, output: ProgressOutput) {
    this.#clock = clock;
    this.#output = output;
  }

  report(name: string, doneBytes: number, totalBytes: number): void {
    const nowMs = this.#clock.monotonicMs();
    const phase = this.#enter(name, doneBytes, nowMs);
    phase.doneBytes = doneBytes;
    phase.totalBytes = Math.max(totalBytes, doneBytes);
    const wasEnded = phase.ended;
    phase.ended = totalBytes > 0 && doneBytes >= totalBytes;
    // What is over before it would have been shown is not worth a line.
    const due = nowMs - phase.shownMs >= (this.#output.draw === undefined ? LINE_MS : DRAW_MS);
    if (!due && !(phase.ended && !wasEnded && phase.shown)) return;
    phase.shownMs = nowMs;
    phase.shown = true;
    this.#show(phase, nowMs);
  }

  /** Leaves the terminal's line to what comes next. */
  end(): void {
    if (this.#phase !== undefined && this.#phase.shown && !this.#phase.ended) this.#output.draw?.("\n");
    this.#phase = undefined;
  }

  #enter(name: string, doneBytes: number, nowMs: number): Phase {
    if (this.#phase?.name === name) return this.#phase;
    this.end();
    // The first line comes after a while: short transfers are not worth one.
    this.#phase = {
      name,
      startMs: nowMs,
      startBytes: doneBytes,
      doneBytes,
      totalBytes: 0,
      shownMs: nowMs,
      shown: false,
      ended: false,
    };
    return this.#phase;
  }

  #show(phase: Phase, nowMs: number): void {
    const { name, startBytes, startMs, doneBytes, totalBytes, ended } = phase;
    const seconds = (nowMs - startMs) / 1000;
    const rate = seconds > 0 ? (doneBytes - startBytes) / seconds : 0;
    const left = rate > 0 ? (totalBytes - doneBytes) / rate : undefined;
    const amount = counted.has(name) ? (value: number): string => String(Math.round(value)) : approximateSize;
    const amounts = `${amount(doneBytes)} of ${amount(totalBytes)}`;
    const speed = rate > 0 ? `, ${amount(rate)}/s` : "";
    const time = ended
      ? `, took ${approximateDuration(seconds)}`
      : left === undefined
        ? ""
        : `, ${approximateDuration(left)} left`;
    const { draw, line } = this.#output;
    if (draw === undefined) {
      line(`${name}: ${amounts}${speed}${time}`, {
        phase: name,
        doneBytes,
        totalBytes,
        bytesPerSecond: Math.round(rate),
      });
      return;
    }
    // The cursor goes back to the line's start: a log line that comes between erases the bar and takes its place.
    draw(
      `\u001b[2K${name} ${bar(doneBytes / Math.max(1, totalBytes))} ${amounts}${speed}${time}${ended ? "\n" : "\r"}`,
    );
  }
}

function bar(part: number): string {
  const full = Math.round(Math.min(1, part) * BAR_WIDTH);
  return `[${"=".repeat(full)}${" ".repeat(BAR_WIDTH - full)}] ${String(Math.floor(Math.min(1, part) * 100)).padStart(3)}%`;
}
