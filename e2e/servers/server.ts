import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binaryPath, type ServerName } from "./catalog.js";
import { freePort } from "./free-port.js";
import { Guarded } from "./guarded.js";
import { completeHalfPuts } from "./half-put.js";

export const accessKey = "metamastertest";
export const secretKey = "metamaster-test-secret";

interface Launch {
  readonly command: readonly string[];
  readonly env: Record<string, string>;
}

/** Answer 2xx when the server is ready. */
const healthPaths: Readonly<Record<ServerName, string>> = {
  minio: "/minio/health/ready",
  versitygw: "/health",
  "fake-gcs-server": "/_internal/healthcheck",
};

/** A real object store on a free loopback port, with a folder of its own. */
export class StoreServer {
  readonly name: ServerName;
  readonly host: string;
  readonly port: number;
  readonly folder: string;
  #process: Guarded;

  private constructor(name: ServerName, host: string, port: number, folder: string, running: Guarded) {
    this.name = name;
    this.host = host;
    this.port = port;
    this.folder = folder;
    this.#process = running;
  }

  /** `host`: an address of this machine; other than loopback only for clients in a cluster of the tests. */
  static async start(name: ServerName, host = "127.0.0.1"): Promise<StoreServer> {
    const folder = await mkdtemp(join(tmpdir(), `metamaster-${name}-`));
    // Another process may take a port between our look and the server's bind: then the server ends, and another port is tried.
    for (let attempt = 1; ; attempt++) {
      const port = await freePort(host);
      const running = await launch(name, host, port, folder);
      try {
        await ready(name, host, port, running);
        return new StoreServer(name, host, port, folder, running);
      } catch (error) {
        await running.stop(attempt < 3 ? "keep" : "remove");
        if (attempt === 3) throw error;
      }
    }
  }

  get endpoint(): string {
    return `http://${this.host}:${this.port}`;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** SIGKILL, as a power failure of the process would: its folder stays. */
  async kill(): Promise<void> {
    await this.#process.stop("keep");
  }

  /** After `kill`: the same port and folder. */
  async restart(): Promise<void> {
    this.#process = await launch(this.name, this.host, this.port, this.folder);
    await ready(this.name, this.host, this.port, this.#process);
    if (this.name === "fake-gcs-server") await completeHalfPuts(this.endpoint, join(this.folder, "root"));
  }

  async stop(): Promise<void> {
    await this.#process.stop("remove");
  }
}

async function launch(name: ServerName, host: string, port: number, folder: string): Promise<Guarded> {
  const { command, env } = await launchOf(name, host, port, folder);
  return Guarded.start(command, env, folder);
}

async function launchOf(name: ServerName, host: string, port: number, folder: string): Promise<Launch> {
  const address = `${host}:${port}`;
  await mkdir(join(folder, "root"), { recursive: true });
  await mkdir(join(folder, "iam"), { recursive: true });
  // What a killed server leaves half-put goes with its folder.
  const scratch = join(folder, "tmp");
  await mkdir(scratch, { recursive: true });
  const { args, env = {} } = await launches[name](address, String(port), folder);
  return { command: [binaryPath(name), ...args], env: { TMPDIR: scratch, ...env } };
}

type Arguments = Promise<{ readonly args: readonly string[]; readonly env?: Record<string, string> }>;

const launches: Readonly<Record<ServerName, (address: string, port: string, folder: string) => Arguments>> = {
  minio: async (address, _port, folder) => {
    const consoleAddress = `127.0.0.1:${await freePort()}`;
    return {
      args: ["server", "--address", address, "--console-address", consoleAddress, join(folder, "root")],
      env: {
        MINIO_ROOT_USER: accessKey,
        MINIO_ROOT_PASSWORD: secretKey,
        MINIO_BROWSER: "off",
        MINIO_UPDATE: "off",
        MINIO_CI_CD: "1",
      },
    };
  },
  versitygw: async (address, _port, folder) => {
    const options = ["--keep-alive", "--quiet", "--health", "/health", "--port", address];
    const keys = ["--access", accessKey, "--secret", secretKey, "--iam-dir", join(folder, "iam")];
    return { args: [...options, ...keys, "posix", join(folder, "root")] };
  },
  "fake-gcs-server": async (address, port, folder) => {
    // Its memory backend lists objects that are gone.
    const storage = ["-backend", "filesystem", "-filesystem-root", join(folder, "root")];
    const where = ["-scheme", "http", "-host", address.split(":")[0] ?? "", "-port", port];
    return { args: [...storage, ...where, "-external-url", `http://${address}`, "-public-host", address] };
  },
};

async function ready(name: ServerName, host: string, port: number, running: Guarded): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (running.running && performance.now() < deadline) {
    const answer = await fetch(`http://${host}:${port}${healthPaths[name]}`, {
      signal: AbortSignal.timeout(2_000),
    }).catch(() => undefined);
    await answer?.body?.cancel();
    // Still running: it is not another's server that answers on the port which ours failed to get.
    if (answer?.ok === true && (await staysUp(running))) return;
    await sleep(30);
  }
  throw new Error(`${name} did not get ready on ${host}:${port}. Its last output:\n${running.output}`);
}

/** A server that can't bind its port ends within a moment. */
async function staysUp(running: Guarded): Promise<boolean> {
  await sleep(50);
  return running.running;
}
