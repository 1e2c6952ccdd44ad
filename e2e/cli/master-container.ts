import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { KV_MASTER, until, type MemberProcess } from "./member-process.js";

const RESTART_MS = 100;

/** The example master beside `metamaster sidecar`, as a kubelet runs it: held back by the start-up probe, then started again whenever it ends. */
export class MasterContainer {
  readonly #member: MemberProcess;
  readonly #over = new AbortController();
  readonly #running: Promise<void>;
  #child: ChildProcess | undefined;
  #url = "";
  /** How often it was started. */
  starts = 0;

  constructor(member: MemberProcess) {
    this.#member = member;
    this.#running = this.#run();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** SIGTERM and no more starts, as for a pod that is deleted. */
  async stop(): Promise<void> {
    this.#over.abort();
    this.#child?.kill("SIGTERM");
    await this.#running;
  }

  async end(): Promise<void> {
    this.#over.abort();
    this.#child?.kill("SIGKILL");
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted && !(await this.#probe(signal))) await pause(RESTART_MS);
    while (!signal.aborted) {
      await this.#life();
      if (!signal.aborted) await pause(RESTART_MS);
    }
  }

  async #probe(signal: AbortSignal): Promise<boolean> {
    try {
      const { status } = await fetch(`${this.#sidecar()}/v1/gate`, { signal });
      return status === 200;
    } catch {
      return false;
    }
  }

  /** Where it answered last, if it has ended. */
  #sidecar(): string {
    try {
      this.#url = sidecarUrl(this.#member);
    } catch {
      // No sidecar: a kubelet starts a container all the same.
    }
    return this.#url;
  }

  #life(): Promise<void> {
    const log = openSync(this.#member.log, "a");
    const child = spawn(process.execPath, [KV_MASTER, "--db", this.#member.database, "--port", "0"], {
      stdio: ["ignore", log, log],
      env: { ...process.env, METAMASTER_URL: this.#sidecar() },
    });
    closeSync(log);
    this.#child = child;
    this.starts += 1;
    return new Promise((resolve) => child.once("exit", () => resolve()));
  }
}

/** Where the sidecar says that it answers. */
export function sidecarUrl(member: MemberProcess): string {
  const { url } = JSON.parse(readFileSync(join(member.data, ".metamaster/http.json"), "utf8")) as { url: string };
  return url;
}

export async function gone(pid: number): Promise<void> {
  await until(`process ${pid} has ended`, async () => {
    try {
      process.kill(pid, 0);
      return undefined;
    } catch {
      return true;
    }
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
