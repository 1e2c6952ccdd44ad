import type { Duplex } from "node:stream";
import type { Clock } from "../../base/clock.js";
import { messageOf, MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import { Changes } from "../../base/changes.js";
import type { GuardLink } from "./guard-link.js";
import { heedLines } from "./heed-lines.js";
import { pause, pauseOrChange } from "../../base/scope.js";
import { uptimeHundredths } from "./uptime.js";

/** Between attempts to reach a watchdog that is gone: it grants a new one's sidecar a second. */
const againMs = 100;
/** A watchdog answers within a moment; one that was killed is started again by its kubelet within some seconds. */
const answerMsMax = 10_000;
/** One that leaves a word unanswered for so long is stopped, or hangs; a busy machine alone must not cost a member its candidacy. */
const silentMsMax = 3000;
/** A sidecar that starts waits for it no longer. */
const acquaintMsMax = 1000;

interface Said {
  /** Monotonic ms. */
  deadlineMs: number;
  readonly saidMs: number;
}

/**
 * The sidecar's side of the watchdog: a process of its own that puts the bar on the LOCKs and kills who holds them unless it is told in time that leadership goes on. So a sidecar that hangs, is
 * stopped or dies leaves no master running past its lease. What it has not acknowledged does not count: the master may live until `untilMs`, and both see to its end there.
 */
export class ContainerGuard {
  readonly #link: GuardLink;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #met: (pid: number | undefined) => void;
  readonly #over = new AbortController();
  readonly #changes = new Changes();
  #stream: Duplex | undefined;
  #joined = false;
  /** The last thing that is to be known; undefined: nobody runs. Before it is known, nothing is said: a master may have been left. */
  #wantedMs: number | undefined;
  #spoke = false;
  /** Whoever is at the other end has said something. */
  #isHeard = false;
  #untilMs = -Infinity;
  /** Not answered yet, the first one first. */
  #said: Said[] = [];
  /** It is not there. */
  #why = "";
  #wasThere = false;

  /** `met`: told of the watchdog's process, and of its end. */
  constructor(link: GuardLink, clock: Clock, logger: Logger, met: (pid: number | undefined) => void = () => undefined) {
    this.#link = link;
    this.#clock = clock;
    this.#logger = logger;
    this.#met = met;
  }

  /** Monotonic ms: until then the watchdog lets the master live, as it said itself. */
  get untilMs(): number {
    return this.#untilMs;
  }

  /** Why no master could be started now; undefined: the watchdog is there, as far as is known without asking. */
  get absence(): MetaMasterError | undefined {
    const [first] = this.#said;
    const isSilent = first !== undefined && this.#clock.monotonicMs() - first.saidMs > silentMsMax;
    return this.#isHeard && !isSilent ? undefined : this.#unanswered();
  }

  /** Keeps a connection from now on. */
  join(): void {
    if (this.#joined) return;
    this.#joined = true;
    void this.#keep(this.#over.signal);
  }

  /** Resolves once both know each other, or there is nobody to be known: before, each may take the other one, which looks at LOCK files too, for the master. */
  async acquainted(): Promise<void> {
    this.join();
    const untilMs = this.#clock.monotonicMs() + acquaintMsMax;
    for (;;) {
      const since = this.#changes.count;
      const leftMs = untilMs - this.#clock.monotonicMs();
      if (this.#isHeard || this.#why !== "" || leftMs <= 0 || this.#over.signal.aborted) return;
      await pauseOrChange(this.#clock, leftMs, { changes: this.#changes, since }, this.#over.signal);
    }
  }

  /** Monotonic ms. Of effect once it is acknowledged. */
  extend(deadlineMs: number): void {
    this.join();
    this.#spoke = true;
    this.#wantedMs = deadlineMs;
    try {
      this.#tell();
    } catch (error) {
      // Not told, not acknowledged: the master ends where it was to end before.
      this.#logger.error({ err: error }, `the watchdog can't be told that leadership goes on: ${messageOf(error)}`);
    }
  }

  /** Resolves once a deadline that is as late was acknowledged, or nobody is to run any more; rejects with `MasterStartFailed` where no answer comes. */
  async acknowledged(deadlineMs: number): Promise<void> {
    const timer = new AbortController();
    let isLate = false;
    const late = pause(this.#clock, answerMsMax, timer.signal).then((isOver) => {
      isLate = isOver;
      this.#changes.notify();
      return undefined;
    });
    try {
      while (this.#wantedMs !== undefined && this.#untilMs < deadlineMs) {
        // Told by the timer, not by the clock: a timer may be early by a moment.
        if (isLate) throw this.#unanswered();
        await this.#changes.wait(this.#over.signal);
      }
    } finally {
      timer.abort();
      await late;
    }
  }

  /** Nobody runs, and the bar is up. */
  rest(): void {
    this.join();
    this.#spoke = true;
    this.#wantedMs = undefined;
    this.#untilMs = -Infinity;
    for (const each of this.#said) each.deadlineMs = -Infinity;
    this.#tell();
    this.#changes.notify();
  }

  /** No more is to be watched. Its end without `rest` before is as good as this process's death. */
  leave(): void {
    this.#over.abort(new Error("the watchdog is left"));
    this.#stream?.end();
  }

  async #keep(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      try {
        const stream = await this.#link();
        if (this.#why !== "") this.#logger.info({}, `the watchdog is there${this.#wasThere ? " again" : ""}`);
        this.#why = "";
        this.#wasThere = true;
        await this.#serve(stream);
        this.#miss("its connection ended");
      } catch (error) {
        this.#miss(messageOf(error));
      }
      await pause(this.#clock, againMs, over);
    }
  }

  /** Said once, until it is there again. */
  #miss(why: string): void {
    if (this.#why === "" && !this.#over.signal.aborted) {
      const rest = this.#wantedMs === undefined ? "" : "; the master is ended unless it is back before the lease's end";
      if (this.#wasThere) this.#logger.error({}, `the watchdog is gone, waiting for it${rest}: ${why}`);
      else this.#logger.info({}, `the watchdog is not there yet, waiting for it: ${why}`);
    }
    this.#why = why;
    this.#changes.notify();
  }

  /** Until the connection ends. */
  async #serve(stream: Duplex): Promise<void> {
    if (this.#over.signal.aborted) {
      stream.destroy();
      return;
    }
    this.#stream = stream;
    this.#said = [];
    heedLines(stream, (line) => this.#hear(line));
    stream.write(`i am ${process.pid}\n`);
    this.#tell();
    await new Promise<void>((resolve) => {
      stream.once("close", () => {
        this.#stream = undefined;
        this.#isHeard = false;
        this.#said = [];
        this.#met(undefined);
        resolve();
      });
    });
  }

  #hear(line: string): void {
    this.#isHeard = true;
    const [, pid] = /^i am (\d{1,10})$/.exec(line) ?? [];
    if (pid !== undefined) {
      this.#met(Number(pid));
      this.#changes.notify();
    }
    const said = line === "ok" ? this.#said.shift() : undefined;
    if (said === undefined) return;
    this.#untilMs = said.deadlineMs;
    this.#changes.notify();
  }

  /** `until N at M`: once /proc/uptime reads N hundredths of a second, said at M; `ever`: as long as this process lives; `rest`: nobody runs. Each is answered with `ok`. */
  #tell(): void {
    if (!this.#spoke || this.#stream?.writable !== true) return;
    const deadlineMs = this.#wantedMs ?? -Infinity;
    this.#said.push({ deadlineMs, saidMs: this.#clock.monotonicMs() });
    if (!Number.isFinite(deadlineMs)) {
      this.#stream.write(deadlineMs > 0 ? "ever\n" : "rest\n");
      return;
    }
    // In this order: if this process is frozen between the two, the deadline comes out too early, never too late.
    const uptime = uptimeHundredths();
    const leftMs = deadlineMs - this.#clock.monotonicMs();
    this.#stream.write(`until ${Math.max(0, uptime + Math.floor(leftMs / 10))} at ${uptime}\n`);
  }

  #unanswered(): MetaMasterError {
    const away = this.#why === "" ? "it is not there yet" : this.#why;
    const why = this.#stream === undefined ? away : "it does not answer";
    return new MetaMasterError("MasterStartFailed", "transient", `the master can't run without a watchdog: ${why}.`, {
      hint: "Does the container metamaster-watchdog of this pod run, and what does its log say? It is tried again.",
    });
  }
}
