#!/usr/bin/env node
/**
 * Starts the built command line. zstd is in Node from 22.15 on: an older one hands over to the Node of the project's own dependencies, as a child to which
 * signals are passed on and whose exit code is kept. The child ends at once (by the channel between them) when this process is killed: whoever kills the
 * one that he started must not leave a member behind that he doesn't see.
 */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";

// V8 lets its young generation grow to 128 MiB, and a sidecar shares the pod's memory with the master: it stays at 1 MiB, at the price of
// more and shorter collections. Here, because it has grown once the modules are loaded.
setFlagsFromString("--semi-space-growth-factor=1");

const NEEDED = [22, 15];
const main = new URL("../../dist/sidecar/src/surface/cli/main.js", import.meta.url);
/** By itself: the command line would be twice as large in memory. */
const watchdog = new URL("../../dist/sidecar/src/member/master/container-guard-main.js", import.meta.url);

function newEnough(version) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
}

/** The Node that the npm package `node` brought along; undefined if there is none. */
function ownNode() {
  try {
    const path = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));
    return existsSync(path) ? path : createRequire(import.meta.url).resolve("node/bin/node");
  } catch {
    return undefined;
  }
}

function fail(message) {
  process.stderr.write(`metamaster: ${message}\n`);
  process.exitCode = 2;
}

function startWith(node) {
  const child = spawn(node, [fileURLToPath(main), ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, METAMASTER_NODE: "handed-over" },
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`${node} can't be started: ${error.message}`));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exitCode = code ?? 1;
    else {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    }
  });
}

/** As process 1 of a container we would adopt every orphan, and Node reaps none: a shell takes that place (init.sh), and starts this again as its child. */
function leavePlaceToInit() {
  const { env, execPath, execArgv, argv } = process;
  if (typeof process.execve !== "function") {
    process.stderr.write(
      "metamaster: as process 1 this Node reaps no orphans of the master: let an init be process 1, or use Node 22.15 or newer.\n",
    );
    return;
  }
  const init = fileURLToPath(new URL("init.sh", import.meta.url));
  const self = fileURLToPath(import.meta.url);
  process.execve("/bin/sh", ["/bin/sh", init, execPath, ...execArgv, self, ...argv.slice(2)], env);
}

if (process.pid === 1 && process.argv[2] === "run") leavePlaceToInit();

if (!existsSync(main)) fail("it is not built yet: run `make build` in the project's directory.");
else if (process.argv[2] === "watchdog" && !process.argv.includes("--help")) await import(watchdog.href);
else if (newEnough(process.versions.node)) await import(main.href);
else {
  const node = ownNode();
  if (node === undefined)
    fail(
      `Node ${NEEDED.join(".")} or newer is needed, this is ${process.versions.node}: run \`make build\`, or install one.`,
    );
  else startWith(node);
}
