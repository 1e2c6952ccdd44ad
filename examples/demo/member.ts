import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, killTree } from "./processes.js";

const METAMASTER = new URL("../../../sidecar/bin/metamaster.js", import.meta.url).pathname;
const KV_MASTER = new URL("../kv-master/src/main.js", import.meta.url).pathname;
const LEASE = "3s";

/** The part of `GET /v1/status` that the demo shows; `undefined` fields of a member that doesn't answer. */
export interface Seen {
  readonly role: string;
  readonly epoch: number;
  readonly slot: number;
  readonly lagBytes: number;
  readonly lagSeconds: number;
  readonly lastFailover: Readonly<Record<string, number | string>> | undefined;
}

/** One member: a sidecar that runs the example master, with a directory, a configuration and a log file of its own. */
export class DemoMember {
  readonly name: string;
  readonly masterUrl: string;
  readonly configFile: string;
  readonly #sidecarUrl: string;
  readonly #directory: string;
  readonly #masterPort: number;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  private constructor(name: string, directory: string, masterPort: number, sidecarPort: number) {
    this.name = name;
    this.#directory = directory;
    this.#masterPort = masterPort;
    this.masterUrl = `http://127.0.0.1:${masterPort}`;
    this.#sidecarUrl = `http://127.0.0.1:${sidecarPort}`;
    this.configFile = join(directory, "metamaster.yaml");
  }

  static async create(name: string, root: string): Promise<DemoMember> {
    const directory = join(root, name);
    mkdirSync(directory, { recursive: true });
    const [masterPort, sidecarPort] = [await freePort(), await freePort()];
    const member = new DemoMember(name, directory, masterPort, sidecarPort);
    writeFileSync(
      member.configFile,
      [
        "cluster: demo",
        `member: ${name}`,
        `dataDirectory: ${join(directory, "data")}`,
        "bucket:",
        `  url: file://${join(root, "bucket")}`,
        "databases:",
        "  - name: meta",
        "    path: meta",
        "election:",
        `  lease: ${LEASE}`,
        "health:",
        `  http: ${member.masterUrl}/healthz`,
        "http:",
        `  address: 127.0.0.1:${sidecarPort}`,
        "log:",
        "  format: json",
        "",
      ].join("\n"),
    );
    return member;
  }

  get logFile(): string {
    return join(this.#directory, "member.log");
  }

  start(): void {
    const log = openSync(this.logFile, "a");
    const master = [
      process.execPath,
      KV_MASTER,
      "--db",
      join(this.#directory, "data", "meta"),
      "--port",
      String(this.#masterPort),
    ];
    const child = spawn(process.execPath, [METAMASTER, "run", "--config", this.configFile, "--", ...master], {
      stdio: ["ignore", log, log],
    });
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once("close", () => resolve()));
  }

  /** The machine is gone: sidecar, watchdog and master, at once. */
  async kill(): Promise<void> {
    if (this.#child?.pid !== undefined) killTree(this.#child.pid);
    await this.#ended;
  }

  /** SIGTERM, as an init system would; SIGKILL after `withinMs`. */
  async stop(withinMs: number): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const late = setTimeout(() => void this.kill(), withinMs);
    await this.#ended;
    clearTimeout(late);
  }

  async seen(): Promise<Seen | undefined> {
    try {
      const answer = await fetch(new URL("/v1/status", this.#sidecarUrl), { signal: AbortSignal.timeout(1000) });
      return parseStatus((await answer.json()) as RawStatus);
    } catch {
      return undefined;
    }
  }
}

interface RawStatus {
  readonly role?: string;
  readonly epoch?: number;
  readonly position?: { readonly slot?: number };
  readonly ship?: { readonly durableLagBytes?: number; readonly durableLagSeconds?: number };
  readonly lastFailover?: Readonly<Record<string, number | string>>;
}

function parseStatus(raw: RawStatus): Seen {
  return {
    role: raw.role ?? "?",
    epoch: raw.epoch ?? 0,
    slot: raw.position?.slot ?? -1,
    lagBytes: raw.ship?.durableLagBytes ?? 0,
    lagSeconds: raw.ship?.durableLagSeconds ?? 0,
    lastFailover: raw.lastFailover,
  };
}

/** Runs the command line as a user would; its output if it succeeded. */
export function metamaster(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [METAMASTER, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`metamaster ${args.join(" ")} ended with ${code}:\n${output}`));
    });
  });
}
