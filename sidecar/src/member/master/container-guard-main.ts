import { rmSync } from "node:fs";
import { createServer, Socket } from "node:net";
import { parseArgs } from "node:util";
import { LinuxProcessTable } from "./container-processes.js";
import { CHILD_FD } from "./guard-link.js";
import { LockBar } from "./lock-bar.js";
import { Watchdog } from "./watchdog.js";

/** The watchdog's process: `metamaster watchdog` in a container of its own, or a child of the sidecar. It loads as little as can be: what it has in memory comes on top of the sidecar's. */

const sayEveryMs = 5000;
let saidMs = -Infinity;

function say(message: string, error: unknown): void {
  const nowMs = performance.now();
  if (nowMs - saidMs < sayEveryMs) return;
  saidMs = nowMs;
  const why = error instanceof Error ? { error: error.message } : {};
  process.stderr.write(
    `${JSON.stringify({ level: "error", time: new Date().toISOString(), ...why, msg: `watchdog: ${message}` })}\n`,
  );
}

function exit(code: number): never {
  // oxlint-disable-next-line no-restricted-properties -- a process of its own
  process.exit(code);
}

function refuse(what: string, toDo: string): never {
  process.stderr.write(`error: ${what}\n  what to do: ${toDo}\n`);
  exit(2);
}

function optionsOf(args: readonly string[]): {
  readonly socket?: string;
  readonly child?: boolean;
  readonly shelf?: string;
  readonly database?: readonly string[];
} {
  try {
    const { values } = parseArgs({
      args: args[0] === "watchdog" ? args.slice(1) : [...args],
      options: {
        socket: { type: "string" },
        child: { type: "boolean" },
        shelf: { type: "string" },
        database: { type: "string", multiple: true },
      },
    });
    return values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), usage);
  }
}

const usage =
  "metamaster watchdog --socket PATH --shelf DATA_DIRECTORY/.metamaster/locks --database NAME=PATH ... (metamaster watchdog --help)";
const { socket, child = false, shelf, database = [] } = optionsOf(process.argv.slice(2));
if (shelf === undefined || database.length === 0 || (socket === undefined) !== child) {
  refuse("the watchdog needs a socket, a shelf and the databases.", usage);
}
const databases = database.map((each) => {
  const [, name, path] = /^([^=]+)=(\/.+)$/.exec(each) ?? [];
  if (name === undefined || path === undefined)
    return refuse(`--database ${each} is no name with an absolute path.`, usage);
  return { name, path };
});

// As the sidecar's: what is made for the bar the master must be able to take away.
if (process.getuid?.() === 0) process.umask(0o002);
const watchdog = new Watchdog({
  bar: new LockBar(databases, shelf),
  table: new LinuxProcessTable(),
  say,
  done: () => exit(0),
});

// A signal to all processes of a container, or of a pod that ends, is for the sidecar to heed first.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => watchdog.leave());

if (socket === undefined) {
  watchdog.meet(new Socket({ fd: CHILD_FD }));
  watchdog.leave();
} else {
  const server = createServer((stream) => watchdog.meet(stream));
  server.once("error", (error) =>
    refuse(
      `the watchdog can't listen at ${socket}: ${error.message}`,
      "Mount a volume there that this container and the sidecar's share and that can be written; a path has at most 107 bytes.",
    ),
  );
  // Of a run before.
  rmSync(socket, { force: true });
  server.listen(socket);
}
