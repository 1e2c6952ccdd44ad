import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { sourceFolder } from "../programs.js";
import { Addresses } from "./settings.js";

const run = promisify(execFile);
const SLOTS = 16;
const VERB_MS_MAX = 120_000;

/** What `machine.sh` does to this machine for one cluster: a slot of it, held until `release` or until this process is dead. */
export class Machine {
  readonly slot: number;
  /** Of the cluster: in the system's folder for temporary files, removed at the end. */
  readonly folder: string;
  readonly addresses: Addresses;
  readonly #kube: string;
  readonly #guard: ChildProcess;

  private constructor(slot: number, folder: string, kube: string, guard: ChildProcess) {
    this.slot = slot;
    this.folder = folder;
    this.addresses = new Addresses(slot);
    this.#kube = kube;
    this.#guard = guard;
  }

  /** Takes down what killed runs left behind, then takes the first free slot. */
  static async take(kube: string): Promise<Machine> {
    // What can't be taken down keeps its slot, and no more than that.
    await run(script(), ["sweep"], { timeout: VERB_MS_MAX }).catch((error: unknown) => {
      console.warn(`What a killed run left behind could not all be taken down: ${String(error)}`);
    });
    const folder = await mkdtemp(join(tmpdir(), "metamaster-cluster-"));
    for (const below of ["pids", "log", "pki"]) await mkdir(join(folder, below));
    const refusals: string[] = [];
    for (let slot = 0; slot < SLOTS; slot++) {
      const { guard, answer } = await startGuard(slot, folder);
      if (answer === "ready") return new Machine(slot, folder, kube, guard);
      refusals.push(`${slot}: ${answer}`);
    }
    await rm(folder, { recursive: true, force: true });
    throw new Error(`No slot of ${SLOTS} for a local cluster is free on this machine:\n${refusals.join("\n")}`);
  }

  /** The prefix of the nodes' names of cgroups and network namespaces. */
  get prefix(): string {
    return `mm${this.slot}-node`;
  }

  /** Of what takes all down when this process is dead. */
  get guardPid(): number {
    return this.#guard.pid ?? 0;
  }

  logFile(name: string): string {
    return join(this.folder, "log", `${name}.log`);
  }

  /** A verb of `machine.sh`. */
  async do(verb: string, ...args: readonly (string | number)[]): Promise<void> {
    await run(script(), [verb, ...args.map(String)], { env: this.#env(), timeout: VERB_MS_MAX, maxBuffer: 1 << 24 });
  }

  /** Runs a program until `do("stop", name)` or the end; what it prints goes to its log file. */
  async start(name: string, command: readonly string[]): Promise<void> {
    await this.#spawn(name, ["start", name, ...command]);
  }

  async boot(node: number): Promise<void> {
    await this.#spawn(`node${node}`, ["boot", String(node)]);
  }

  /** The last lines of each program's log file. */
  async lastWords(names: readonly string[]): Promise<string> {
    const tails = names.map(async (name) => {
      const log = await readFile(this.logFile(name), "utf8").catch(() => "(no log)");
      return `--- ${name}\n${log.split("\n").slice(-8).join("\n")}`;
    });
    return (await Promise.all(tails)).join("\n");
  }

  /** Ends every process of the cluster, and takes back all that was done to the machine. */
  async release(): Promise<void> {
    const guard = this.#guard;
    if (guard.exitCode === null && guard.signalCode === null) {
      guard.ref();
      const ended = once(guard, "exit");
      guard.stdin?.end();
      await ended;
    }
    if (guard.exitCode === 0) return;
    const log = await readFile(`/run/metamaster-cluster/${this.slot}.log`, "utf8").catch(() => "");
    throw new Error(`The local cluster in slot ${this.slot} is not wholly down; the next start tries again.\n${log}`);
  }

  async #spawn(name: string, args: readonly string[]): Promise<void> {
    const log = await open(this.logFile(name), "a");
    try {
      const stdio = ["ignore", log.fd, log.fd] as const;
      // In sessions of their own: a Ctrl-C in the terminal goes to the test run, and the guard ends them in order.
      const child = spawn(script(), [...args], { env: this.#env(), stdio: [...stdio], detached: true });
      await once(child, "spawn");
      child.unref();
    } finally {
      await log.close();
    }
  }

  #env(): NodeJS.ProcessEnv {
    return environment(this.slot, this.folder, this.#kube);
  }
}

async function startGuard(slot: number, folder: string): Promise<{ guard: ChildProcess; answer: string }> {
  const guard = spawn(script(), ["guard"], {
    env: environment(slot, folder, ""),
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  guard.stdin?.on("error", () => undefined);
  guard.unref();
  const lines = createInterface({ input: guard.stdout ?? process.stdin });
  const [answer] = (await Promise.race([once(lines, "line"), once(lines, "close")])) as [string | undefined];
  lines.close();
  return { guard, answer: answer ?? "its guard ended without a word" };
}

function environment(slot: number, folder: string, kube: string): NodeJS.ProcessEnv {
  return { ...process.env, SLOT: String(slot), STATE: folder, KUBE: kube };
}

function script(): string {
  return join(sourceFolder(), "local/machine.sh");
}
