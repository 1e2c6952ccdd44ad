import { spawn } from "node:child_process";
import { request as requestHttps } from "node:https";
import { connect } from "node:net";
import { messageOf } from "../../base/errors.js";
import { http } from "../../base/node-http.js";
import type { Health, HealthCheck, HealthProbe } from "./health.js";

const reasonCharsMax = 300;

export interface ProbeEnvironment {
  /** For commands. */
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string | undefined;
}

/** The real probes; each answers once and leaves no process, socket or listener behind. */
export function healthProbe(check: HealthCheck, environment: ProbeEnvironment): HealthProbe {
  switch (check.type) {
    case "None":
      return () => Promise.resolve({ ok: true, reason: "its process lives" });
    case "Exec":
      return (signal) => answer(signal, (tell) => runCommand(check.command, environment, tell));
    case "Http":
      return (signal) => answer(signal, (tell) => askHttp(check.url, tell));
    case "Tcp":
      break;
  }
  return (signal) => answer(signal, (tell) => askTcp(check.host, check.port, tell));
}

function nothing(): void {
  // Not asked yet: there is nothing to end.
}

type Tell = (health: Health) => void;

/** `ask` returns what ends it; what it tells after the first word, or after the abort, is dropped. */
function answer(signal: AbortSignal, ask: (tell: Tell) => () => void): Promise<Health> {
  return new Promise((resolve) => {
    let end = nothing;
    const tell = (health: Health): void => {
      signal.removeEventListener("abort", onAbort);
      resolve({ ok: health.ok, reason: health.reason.slice(0, reasonCharsMax) });
      end();
    };
    const onAbort = (): void => tell({ ok: false, reason: `no answer: ${messageOf(signal.reason)}` });
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      end = ask(tell);
    } catch (error) {
      tell({ ok: false, reason: messageOf(error) });
    }
  });
}

/** In a process group of its own, so that what the command started ends with it. */
function runCommand(command: readonly [string, ...string[]], environment: ProbeEnvironment, tell: Tell): () => void {
  const [file, ...args] = command;
  const { env, cwd } = environment;
  const child = spawn(file, args, { env, cwd, detached: true, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    said = (said + text).slice(-reasonCharsMax);
  });
  child.on("error", (error) => tell({ ok: false, reason: `${file}: ${error.message}` }));
  child.on("exit", (code, killedBy) => {
    const how = code === null ? `ended by ${killedBy ?? "a signal"}` : `exited with code ${code}`;
    tell({ ok: code === 0, reason: said === "" ? `${file} ${how}` : `${file} ${how}: ${said.trim()}` });
  });
  return () => {
    child.stderr.destroy();
    if (child.pid !== undefined) killGroup(child.pid);
  };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
}

function askHttp(url: string, tell: Tell): () => void {
  const request = (url.startsWith("https:") ? requestHttps : http.request)(url, { method: "GET", agent: false });
  request.on("response", ({ statusCode = 0 }) => {
    tell({ ok: statusCode >= 200 && statusCode < 400, reason: `${url} answered ${statusCode}` });
  });
  request.on("error", (error) => tell({ ok: false, reason: `${url}: ${error.message}` }));
  request.end();
  return () => request.destroy();
}

function askTcp(host: string, port: number, tell: Tell): () => void {
  const socket = connect({ host, port });
  socket.on("connect", () => tell({ ok: true, reason: `${host}:${port} accepts connections` }));
  socket.on("error", (error) => tell({ ok: false, reason: `${host}:${port}: ${error.message}` }));
  return () => socket.destroy();
}
