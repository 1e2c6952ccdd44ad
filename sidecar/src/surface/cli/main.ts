import { openSystem } from "../compose/system.js";
import { runCli } from "./cli.js";
import { MetaMasterError } from "../../base/errors.js";
import { SystemClock } from "../../base/system-clock.js";
import { exitCodes } from "./exit-codes.js";
import type { RunSignals } from "./commands/run.js";

/** The process: the only place that touches its signals, streams and exit code. */

/** A command that was told to end and has nothing to save gets so long. */
const INTERRUPT_MS = 10_000;

const STOP_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

const interrupted = new AbortController();
let stopListener: ((name: string) => void) | undefined;
let defectListener: ((error: unknown) => void) | undefined;

for (const name of STOP_SIGNALS) {
  process.on(name, () => {
    if (stopListener !== undefined) stopListener(name);
    else if (interrupted.signal.aborted) exit(exitCodes.interrupted.code);
    else interrupt(name);
  });
}
// Whoever reads us may go away (`metamaster log list | head`): that is no defect.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);

// Started by a launcher that runs an older Node (bin/metamaster.js): its death is ours, and the watchdog ends the master.
if (process.env["METAMASTER_NODE"] === "handed-over") {
  delete process.env["METAMASTER_NODE"];
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
}

function onDefect(error: unknown): void {
  if (defectListener !== undefined) {
    defectListener(error);
    return;
  }
  process.stderr.write(
    `metamaster: a defect: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  exit(70);
}
process.on("uncaughtException", onDefect);
process.on("unhandledRejection", onDefect);

/** Ends the command by its signal; what doesn't end by that (a disk that hangs) must not keep the process. */
function interrupt(name: string): void {
  interrupted.abort(
    new MetaMasterError("Interrupted", "transient", `Interrupted by ${name}.`, {
      hint: "Run the same command again; a restore goes on where it was.",
    }),
  );
  void lateExit(name);
}

async function lateExit(name: string): Promise<void> {
  await new SystemClock().sleep(INTERRUPT_MS);
  process.stderr.write(`metamaster: the command did not end within ${INTERRUPT_MS / 1000} s of ${name}.\n`);
  exit(exitCodes.interrupted.code);
}

function exit(code: number): void {
  // oxlint-disable-next-line no-restricted-properties -- this is main
  process.exit(code);
}

const signals: RunSignals = {
  onStop: (listener) => (stopListener = listener),
  onDefect: (listener) => (defectListener = listener),
  exit,
};

const code = await runCli(
  process.argv.slice(2),
  {
    streams: {
      out: (text) => void process.stdout.write(text),
      err: (text) => void process.stderr.write(text),
      isTerminal: process.stderr.isTTY,
    },
    environment: process.env,
    system: openSystem(),
    signal: interrupted.signal,
  },
  signals,
);
// Not by running out of work: a socket that a dead store left open must not keep the process.
exit(code);
