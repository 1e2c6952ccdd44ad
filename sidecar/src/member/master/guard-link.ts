import { spawn } from "node:child_process";
import { connect } from "node:net";
import { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { messageOf, MetaMasterError } from "../../base/errors.js";
import type { BarredDatabase } from "./lock-bar.js";

/** A new connection to the watchdog, whose end is heard of. */
export type GuardLink = () => Promise<Duplex>;

export interface GuardSettings {
  readonly databases: readonly BarredDatabase[];
  readonly shelf: string;
}

const main = fileURLToPath(new URL("container-guard-main.js", import.meta.url));
/** It does next to nothing: the smallest heap that V8 takes. */
const flags = ["--max-old-space-size=16", "--max-semi-space-size=1", "--no-warnings"];
/** Its end of the connection in a child: a pair of sockets, which Node makes for every pipe beyond the first three. */
export const CHILD_FD = 3;

/** To a watchdog in a container of its own. */
export function socketLink(path: string): GuardLink {
  return () =>
    new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once("connect", () => resolve(socket));
      socket.once("error", (error) => reject(unreachable(`nobody answers at ${path} (${messageOf(error)})`)));
    });
}

/** To one that is started for it, as a child. It is less: a container that is killed for its memory takes it along. `program`: as `make build` makes it. */
export function childLink({ databases, shelf }: GuardSettings, program: string = main): GuardLink {
  const named = databases.flatMap(({ name, path }) => ["--database", `${name}=${path}`]);
  return () =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [...flags, program, "--child", "--shelf", shelf, ...named], {
        stdio: ["ignore", "ignore", "inherit", "pipe"],
        cwd: "/",
        env: {},
      });
      const stream = child.stdio[CHILD_FD];
      if (!(stream instanceof Duplex)) throw new Error("Node made no pair of sockets for the watchdog");
      child.once("spawn", () => resolve(stream));
      child.once("error", (error) => reject(unreachable(`it could not be started (${messageOf(error)})`)));
    });
}

function unreachable(why: string): MetaMasterError {
  return new MetaMasterError("MasterStartFailed", "transient", `there is no watchdog: ${why}`);
}
