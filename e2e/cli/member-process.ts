import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const METAMASTER = new URL("../../sidecar/bin/metamaster.js", import.meta.url).pathname;
/** As `make build` makes it. */
export const KV_MASTER = new URL("../../dist/examples/kv-master/src/main.js", import.meta.url).pathname;

export interface CommandResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface MemberOptions {
  readonly name: string;
  /** Folder of the test; the bucket's folder is `bucket` in it. */
  readonly root: string;
  /** Appended to the configuration. */
  readonly more?: string;
  /** A folder. */
  readonly bucket?: string;
  /** Instead of a folder. */
  readonly store?: { readonly url: string; readonly endpoint: string; readonly caFile?: string } | undefined;
  /** Of its processes, besides the test's; undefined takes away. */
  readonly environment?: NodeJS.ProcessEnv;
  readonly onBucketLoss?: "Fence" | "Hold";
  readonly lease?: string;
  readonly address?: string;
  /** Names, each that of its folder below the data directory too; in the order in which the master writes them. */
  readonly databases?: readonly string[];
  /** Of every database, below the data directory. */
  readonly walPath?: string | undefined;
}

/** One member as a user runs it, and the command line on its configuration. */
export class MemberProcess {
  readonly name: string;
  readonly directory: string;
  readonly config: string;
  readonly log: string;
  environment: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;
  #heedFrom = 0;
  ended: Promise<{ readonly code: number | null; readonly signal: string | null }> | undefined;

  constructor(options: MemberOptions) {
    const {
      name,
      root,
      more = "",
      bucket = join(root, "bucket"),
      address = "127.0.0.1:0",
      databases = ["meta"],
      walPath,
      store,
      onBucketLoss = "Fence",
      lease = "2s",
    } = options;
    this.name = name;
    this.environment = options.environment ?? {};
    this.directory = join(root, name);
    this.config = join(this.directory, "metamaster.yaml");
    this.log = join(this.directory, "log");
    mkdirSync(this.directory, { recursive: true });
    if (store === undefined) mkdirSync(bucket, { recursive: true });
    const lines = [
      "cluster: test",
      `member: ${name}`,
      "dataDirectory: data",
      "bucket:",
      ...(store === undefined ? [`  url: file://${bucket}`] : storeLines(store)),
      "databases:",
      ...databases.flatMap((database) => [
        `  - name: ${database}`,
        `    path: ${database}`,
        ...(walPath === undefined ? [] : [`    walPath: ${walPath}`]),
      ]),
      "election:",
      `  lease: ${lease}`,
      `  onBucketLoss: ${onBucketLoss}`,
      "http:",
      `  address: ${address}`,
      more,
    ];
    writeFileSync(this.config, lines.join("\n"));
  }

  get data(): string {
    return join(this.directory, "data");
  }

  get database(): string {
    return join(this.data, "meta");
  }

  get said(): string {
    return readFileSync(this.log, "utf8");
  }

  /** The process that was started. */
  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.name} was not started`);
    return this.#child.pid;
  }

  start(...command: string[]): void {
    // A master of a run before listens nowhere any more.
    this.#heedFrom = existsSync(this.log) ? this.said.length : 0;
    this.#launch("run", "--config", this.config, "--", ...command);
  }

  /** Where the watchdog of its pod listens. */
  get watchdogSocket(): string {
    return join(this.directory, "watchdog.sock");
  }

  /** Beside a master that somebody else starts. */
  startSidecar(): void {
    this.#launch("sidecar", "--config", this.config);
  }

  /** The same in a process namespace of its own, as in another pod: processes of the test are not seen by it. Only `end` ends it. */
  startSidecarApart(): void {
    const apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    this.#launchBy(apart, ["sidecar", "--config", this.config]);
  }

  #launch(...args: string[]): void {
    this.#launchBy([], args);
  }

  #launchBy(wrapper: readonly string[], args: readonly string[]): void {
    const log = openSync(this.log, "a");
    const [program = process.execPath, ...rest] = [...wrapper, process.execPath, METAMASTER, ...args];
    const child = spawn(program, rest, {
      stdio: ["ignore", log, log],
      cwd: this.directory,
      // Not left out: what a test sets is in this object only.
      env: { ...process.env, ...this.environment },
    });
    closeSync(log);
    this.#child = child;
    this.ended = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
  }

  startKeyValueMaster(): void {
    this.start(process.execPath, KV_MASTER, "--db", this.database, "--port", "0");
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  async stop(): Promise<{ readonly code: number | null; readonly signal: string | null } | undefined> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    return await this.ended;
  }

  /** Ends it whatever happened; the watchdog ends the master. */
  async end(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.ended;
  }

  /** `metamaster <args>` with this member's configuration. */
  cli(...args: string[]): Promise<CommandResult> {
    return runCommand([METAMASTER, ...args], { ...this.environment, METAMASTER_CONFIG: this.config });
  }

  async status(): Promise<Record<string, unknown> | undefined> {
    const { out } = await this.cli("status", "--output", "json");
    return out === "" ? undefined : (JSON.parse(out) as Record<string, unknown>);
  }

  async untilRole(role: string): Promise<Record<string, unknown>> {
    return await until(
      `${this.name} is ${role}`,
      async () => {
        const status = await this.status();
        return status?.["role"] === role ? status : undefined;
      },
      () => this.said,
    );
  }

  /** Where the example master of this member listens. */
  async masterUrl(): Promise<string> {
    return await until(
      "the master listens",
      async () => /kv-master listens on (\S+),(?![^]*kv-master listens)/.exec(this.said.slice(this.#heedFrom))?.[1],
      () => this.said,
    );
  }
}

function storeLines({ url, endpoint, caFile }: NonNullable<MemberOptions["store"]>): readonly string[] {
  const ca = caFile === undefined ? [] : [`  caFile: ${caFile}`];
  return [`  url: ${url}`, `  endpoint: ${endpoint}`, ...ca];
}

function runCommand(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    });
    let [out, err] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    child.once("close", (code) => resolve({ code, out, err }));
  });
}

const WAIT_MS_MAX = 40_000;

/** The first answer that isn't undefined; says in vain with what `context` gives. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined>,
  context: () => string = () => "",
): Promise<T> {
  const endMs = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > endMs) throw new Error(`waited in vain until ${what}\n${context()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
