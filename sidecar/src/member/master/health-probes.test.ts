import { readdirSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "@jest/globals";
import type { HealthProbe } from "./health.js";
import { healthProbe } from "./health-probes.js";
import { livingMembers, parseStat } from "./process-group.js";

const environment = { env: process.env, cwd: undefined };
const signal = new AbortController().signal;
let server: Server | undefined;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

function exec(script: string): HealthProbe {
  return healthProbe({ type: "Exec", command: ["sh", "-c", script] }, environment);
}

describe("exec", () => {
  test("exit code 0 is healthy, anything else is not and says why", async () => {
    expect(await exec("exit 0")(signal)).toMatchObject({ ok: true });
    expect(await exec("echo no quorum >&2; exit 3")(signal)).toEqual({
      ok: false,
      reason: "sh exited with code 3: no quorum",
    });
    expect(await exec("kill -9 $$")(signal)).toEqual({ ok: false, reason: "sh ended by SIGKILL" });
    const missing = healthProbe({ type: "Exec", command: ["/no/such/probe"] }, environment);
    expect(await missing(signal)).toMatchObject({ ok: false, reason: expect.stringContaining("ENOENT") });
  });

  test("one that hangs is ended with all it started", async () => {
    const late = new AbortController();
    const asked = exec("echo $$ >&2; sleep 1007 & wait");
    let group = 0;
    const answer = asked(late.signal);
    while (group === 0) {
      await new Promise(setImmediate);
      group = groupOf("sleep\x001007");
    }
    late.abort(new Error("too late"));
    expect(await answer).toMatchObject({ ok: false, reason: expect.stringContaining("too late") });
    while (livingMembers(group).length > 0) await new Promise(setImmediate);
  });
});

test("http: 200 to 399 is healthy; a silent server is not", async () => {
  let status = 200;
  server = createServer((request, response) => {
    if (request.url !== "/silent") response.writeHead(status, { location: "/silent" }).end();
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const ask = (path: string, until = signal) =>
    healthProbe({ type: "Http", url: `http://127.0.0.1:${port}${path}` }, environment)(until);
  expect((await ask("/")).ok).toBe(true);
  status = 302;
  expect((await ask("/")).ok).toBe(true);
  status = 503;
  expect(await ask("/")).toMatchObject({ ok: false, reason: expect.stringContaining("503") });
  const late = new AbortController();
  const silent = ask("/silent", late.signal);
  late.abort(new Error("too late"));
  expect((await silent).ok).toBe(false);
  server.close();
  server.closeAllConnections();
  expect(await ask("/")).toMatchObject({ ok: false, reason: expect.stringContaining("ECONNREFUSED") });
});

test("tcp: a connection is enough", async () => {
  const listener = createTcpServer();
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;
  const ask = healthProbe({ type: "Tcp", host: "127.0.0.1", port }, environment);
  expect((await ask(signal)).ok).toBe(true);
  await new Promise((resolve) => listener.close(resolve));
  expect((await ask(signal)).ok).toBe(false);
});

test("none: always; and an abort before the question is an answer", async () => {
  expect((await healthProbe({ type: "None" }, environment)(signal)).ok).toBe(true);
  const tcp = healthProbe({ type: "Tcp", host: "127.0.0.1", port: 1 }, environment);
  expect((await tcp(AbortSignal.abort(new Error("gone")))).ok).toBe(false);
});

/** 0 if there is no such process. */
function groupOf(commandLine: string): number {
  for (const name of readdirSync("/proc")) {
    try {
      if (readFileSync(`/proc/${name}/cmdline`, "latin1").startsWith(commandLine)) {
        return parseStat(readFileSync(`/proc/${name}/stat`, "latin1"))?.group ?? 0;
      }
    } catch {
      // No process, or not any more.
    }
  }
  return 0;
}
