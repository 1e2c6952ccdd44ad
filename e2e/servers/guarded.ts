import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";

/**
 * Runs the command, tells its pid on fd 3, and when its stdin ends (it was asked to, or whoever started it is dead, even by SIGKILL) kills
 * the command and removes the folder if it is to. So nothing is left behind by a test run that was killed.
 */
const guard = `
folder=$1; shift
"$@" </dev/null 3>&- &
pid=$!
echo "$pid" >&3
exec 3>&- >/dev/null 2>&1
while read -r line; do folder=; done
kill -9 "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
if [ -n "$folder" ]; then rm -rf "$folder"; fi
`;

const outputMax = 20_000;

/** A server process that can't outlive the test run. */
export class Guarded {
  readonly #guard: ChildProcess;
  #pid = 0;
  #output = "";
  #ended = false;

  /** Listens from the first moment: an end that comes before that is told to nobody. */
  private constructor(guardProcess: ChildProcess) {
    this.#guard = guardProcess;
    // The guard has let go of its output, so its end is the command's: a signal to the pid would also reach its zombie.
    guardProcess.stdout?.once("end", () => (this.#ended = true));
    for (const stream of [guardProcess.stdout, guardProcess.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-outputMax);
      });
    }
  }

  /** `folder` is removed when the server ends, unless it ends by `stop("keep")`. */
  static async start(command: readonly string[], env: Record<string, string>, folder: string): Promise<Guarded> {
    const child = spawn("/bin/sh", ["-c", guard, "guard", folder, ...command], {
      stdio: ["pipe", "pipe", "pipe", "pipe"],
      env: { ...process.env, ...env },
      // A Ctrl-C in the terminal goes to the test run, which ends us in order.
      detached: true,
    });
    const guarded = new Guarded(child);
    const pidPipe = child.stdio[3] as Readable;
    const [line] = (await once(pidPipe, "data")) as [Buffer];
    guarded.#pid = Number(line.toString().trim());
    return guarded;
  }

  get pid(): number {
    return this.#pid;
  }

  /** The end of what it printed. */
  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return !this.#ended;
  }

  /** SIGKILL, and its folder kept or removed. */
  async stop(folder: "keep" | "remove"): Promise<void> {
    if (this.#guard.exitCode !== null || this.#guard.signalCode !== null) return;
    const closed = once(this.#guard, "close");
    this.#guard.stdin?.on("error", () => undefined);
    this.#guard.stdin?.end(folder === "keep" ? "keep\n" : "");
    await closed;
  }
}
