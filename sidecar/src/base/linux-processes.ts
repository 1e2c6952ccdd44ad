import { hasCode } from "./errors.js";
import type { FileSystem } from "./file-system.js";
import type { ProcessIdentity, Processes } from "./processes.js";

const PROC_BYTES_MAX = 64 * 1024;
/** Field 22 of /proc/<pid>/stat (proc_pid_stat(5)), counted after the name in parentheses, which may hold anything: the 20th there. */
const START_TIME_FIELD = 19;

/** Processes as /proc shows them: those of this PID namespace. */
export class LinuxProcesses implements Processes {
  readonly self: ProcessIdentity;
  readonly #fs: FileSystem;

  private constructor(fs: FileSystem, self: ProcessIdentity) {
    this.#fs = fs;
    this.self = self;
  }

  static async open(fs: FileSystem, pid: number): Promise<LinuxProcesses> {
    const bootId = Buffer.from(await fs.readFile("/proc/sys/kernel/random/boot_id", PROC_BYTES_MAX))
      .toString()
      .trim();
    const startTime = (await startTimeOf(fs, pid)) ?? "";
    return new LinuxProcesses(fs, { pid, startTime, bootId });
  }

  async isAlive({ pid, startTime }: ProcessIdentity): Promise<boolean> {
    return (await startTimeOf(this.#fs, pid)) === startTime;
  }
}

async function startTimeOf(fs: FileSystem, pid: number): Promise<string | undefined> {
  try {
    const stat = Buffer.from(await fs.readFile(`/proc/${pid}/stat`, PROC_BYTES_MAX)).toString("latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[START_TIME_FIELD];
  } catch (error) {
    // ESRCH: it ended between the opening and the reading.
    if (hasCode(error, "FileNotFound") || hasCode(error, "FileSystemFailure")) return undefined;
    throw error;
  }
}
