import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StatusDocument } from "../../sidecar/src/surface/http/status.js";
import { freePort, killTree } from "../../examples/demo/processes.js";

const METAMASTER = new URL("../../../sidecar/bin/metamaster.js", import.meta.url).pathname;
const KV_MASTER = new URL("../../examples/kv-master/src/main.js", import.meta.url).pathname;

export interface BenchBucket {
  readonly url: string;
  readonly endpoint?: string | undefined;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls `look` every `everyMs` (a look costs the member processor time, too) until it gives something; throws after `withinMs`. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  withinMs = 120_000,
  everyMs = 5,
): Promise<T> {
  for (const end = performance.now() + withinMs; ;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`waited in vain for: ${what}`);
    await sleep(everyMs);
  }
}

/** One member as a user runs it, over any bucket, with a master of the bench's choice. */
export class BenchMember {
  readonly name: string;
  readonly directory: string;
  readonly database: string;
  readonly config: string;
  readonly masterUrl: string;
  readonly sidecarUrl: string;
  readonly #masterPort: number;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  private constructor(name: string, directory: string, masterPort: number, sidecarPort: number) {
    this.name = name;
    this.directory = directory;
    this.database = join(directory, "data", "meta");
    this.config = join(directory, "metamaster.yaml");
    this.#masterPort = masterPort;
    this.masterUrl = `http://127.0.0.1:${masterPort}`;
    this.sidecarUrl = `http://127.0.0.1:${sidecarPort}`;
  }

  static async create(
    name: string,
    root: string,
    bucket: BenchBucket,
    more: readonly string[] = [],
  ): Promise<BenchMember> {
    const member = new BenchMember(name, join(root, name), await freePort(), await freePort());
    mkdirSync(member.directory, { recursive: true });
    const endpoint =
      bucket.endpoint === undefined
        ? []
        : [`  endpoint: ${bucket.endpoint}`, "  region: us-east-1", "  forcePathStyle: true"];
    const lines = [
      "cluster: bench",
      `member: ${name}`,
      "dataDirectory: data",
      "bucket:",
      `  url: ${bucket.url}`,
      ...endpoint,
    ];
    lines.push(
      "databases:",
      "  - name: meta",
      "    path: meta",
      "http:",
      `  address: ${new URL(member.sidecarUrl).host}`,
      ...more,
      "",
    );
    writeFileSync(member.config, lines.join("\n"));
    return member;
  }

  start(...command: string[]): void {
    const log = openSync(join(this.directory, "log"), "a");
    const args = [METAMASTER, "run", "--config", this.config, "--", ...command];
    const child = spawn(process.execPath, args, { stdio: ["ignore", log, log], cwd: this.directory });
    closeSync(log);
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once("close", () => resolve()));
  }

  startKeyValueMaster(): void {
    this.start(process.execPath, KV_MASTER, "--db", this.database, "--port", String(this.#masterPort));
  }

  async status(): Promise<StatusDocument | undefined> {
    try {
      const answer = await fetch(`${this.sidecarUrl}/v1/status`, { signal: AbortSignal.timeout(5000) });
      return (await answer.json()) as StatusDocument;
    } catch {
      return undefined;
    }
  }

  async role(wanted: string): Promise<StatusDocument> {
    return until(`${this.name} is ${wanted}`, async () => {
      const status = await this.status();
      return status?.role === wanted ? status : undefined;
    });
  }

  async checkpoint(): Promise<void> {
    const signal = AbortSignal.timeout(1_200_000);
    const answer = await fetch(`${this.sidecarUrl}/v1/checkpoint`, { method: "POST", signal });
    if (!answer.ok) throw new Error(`the checkpoint failed: ${answer.status} ${await answer.text()}`);
  }

  async kill(): Promise<void> {
    if (this.#child?.pid !== undefined) killTree(this.#child.pid);
    await this.#ended;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const late = setTimeout(() => void this.kill(), 60_000);
    await this.#ended;
    clearTimeout(late);
  }
}

/** Resident memory of a process, bytes; 0 if it is gone. */
export function residentBytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

export function metamaster(args: readonly string[], cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [METAMASTER, ...args], { stdio: ["ignore", "pipe", "pipe"], cwd });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4000)));
    child.once("close", (code) =>
      code === 0 ? resolve() : reject(new Error(`metamaster ${args.join(" ")} ended with ${code}:\n${output}`)),
    );
  });
}
