import { constants } from "node:fs";
import { open, readdir, rename, rm, type FileHandle } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { errnoOf, fileError } from "./node-file-errors.js";

/** File systems that hold no sockets say one of these. */
const noSockets: ReadonlySet<string> = new Set(["EOPNOTSUPP", "ENOTSUP", "EPERM", "EINVAL", "ENOSYS"]);
/** What a connection fails with where nobody listens, or just stopped to. */
const nobody: ReadonlySet<string> = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "ENOTSOCK"]);
/** A socket that does not listen yet refuses like a dead one: it is not looked at under this ending. */
const beginning = ".new";

/**
 * A socket in a folder that takes connections as long as its process lives, stopped or not. Unlike a number of a process it is seen from every PID and network namespace of the
 * machine: by another container with the same volume, say. Each process has a name of its own there, and looks for others once it can be seen itself: of two at least one finds the other.
 */
export class Presence {
  readonly #folder: FileHandle;
  readonly #name: string;
  readonly #server: Server;
  /** Of those who wait for our end. */
  readonly #watchers = new Set<Socket>();

  private constructor(folder: FileHandle, name: string, server: Server) {
    this.#folder = folder;
    this.#name = name;
    this.#server = server;
    server.on("connection", (socket) => {
      this.#watchers.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => this.#watchers.delete(socket));
      socket.resume();
    });
  }

  /**
   * Makes this process the only one that is present in the folder. `taken`: there is another one, which may have come at the same moment and be refused, too. `unsupported`: the file system
   * holds no sockets. `name`: no process ever had it.
   */
  static async claim(directory: string, name: string): Promise<Presence | "taken" | "unsupported"> {
    const folder = await openFolder(directory);
    let server: Server;
    try {
      server = await listen(pathIn(folder, `${name}${beginning}`));
    } catch (error) {
      await folder.close();
      if (noSockets.has(errnoOf(error) ?? "")) return "unsupported";
      throw fileError(error, "make a socket in", directory);
    }
    const presence = new Presence(folder, name, server);
    try {
      await rename(pathIn(folder, `${name}${beginning}`), pathIn(folder, name));
      const others = await knockAll(folder, name);
      for (const other of others) other.destroy();
      if (others.length === 0) return presence;
    } catch (error) {
      await presence.leave();
      throw fileError(error, "look for other processes in", directory);
    }
    await presence.leave();
    return "taken";
  }

  async leave(): Promise<void> {
    await rm(pathIn(this.#folder, this.#name), { force: true });
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#watchers) socket.destroy();
    await closed;
    await this.#folder.close();
  }
}

/** Whether anybody is present. */
export async function isPresent(directory: string): Promise<boolean> {
  const folder = await openFolder(directory);
  try {
    const sockets = await knockAll(folder);
    for (const socket of sockets) socket.destroy();
    return sockets.length > 0;
  } finally {
    await folder.close();
  }
}

/** Resolves once nobody is present any more; rejects with the signal's reason. */
export async function untilAbsent(directory: string, signal: AbortSignal): Promise<void> {
  const folder = await openFolder(directory);
  try {
    for (;;) {
      signal.throwIfAborted();
      const sockets = await knockAll(folder);
      if (sockets.length === 0) return;
      await Promise.all(sockets.map(async (socket) => await ended(socket, signal)));
    }
  } finally {
    await folder.close();
  }
}

/** Connections to all who are there. What a dead one left is removed: its name never comes back. */
async function knockAll(folder: FileHandle, self?: string): Promise<Socket[]> {
  const names = (await readdir(pathIn(folder, "."))).filter((name) => name !== self && !name.endsWith(beginning));
  const sockets: Socket[] = [];
  for (const name of names) {
    const socket = await knock(pathIn(folder, name));
    if (socket === undefined) await rm(pathIn(folder, name), { force: true });
    else sockets.push(socket);
  }
  return sockets;
}

/** A connection; undefined: nobody is there. Made and refused at once, also by a process that is stopped. */
function knock(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", (error) => {
      const errno = errnoOf(error);
      if (errno !== undefined && nobody.has(errno)) resolve(undefined);
      // Its queue is full: a process that is stopped, with many who ask.
      else if (errno === "EAGAIN") resolve(socket);
      else reject(error);
    });
  });
}

function ended(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      socket.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", () => undefined);
    socket.once("close", () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    socket.resume();
    if (socket.destroyed) socket.emit("close");
  });
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      server.on("error", () => undefined);
      // It keeps no process alive.
      server.unref();
      resolve(server);
    });
  });
}

async function openFolder(directory: string): Promise<FileHandle> {
  try {
    return await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw fileError(error, "open", directory);
  }
}

/** Short, however long the directory's name is: a socket's has at most 107 bytes. */
function pathIn(folder: FileHandle, name: string): string {
  return `/proc/self/fd/${folder.fd}/${name}`;
}
