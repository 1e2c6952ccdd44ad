import { connect } from "node:net";
import { request as httpRequest } from "node:http";
import { networkInterfaces } from "node:os";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../../base/errors.js";
import { SystemClock } from "../../base/system-clock.js";
import type { Position } from "../../formats/entry.js";
import { Gate } from "../../member/master/gate.js";
import { RoleBoard, type RoleState } from "../../member/roles.js";
import type { SwitchoverRequest, SwitchoverResult } from "../../member/switchover.js";
import type { Barrier } from "../../replica/replica.js";
import { MemberClient } from "./client.js";
import { httpDefaults, MemberHttp, type HttpSettings } from "./server.js";
import type { ServedMember } from "./served-member.js";
import type { StatusDocument } from "./status.js";

const clock = new SystemClock();
const position: Position = { slot: 7, chain: "c0ffee" };

/** A member whose answers the test decides. */
class ScriptedMember implements ServedMember {
  gate: Gate | undefined;
  readonly name = "alpha";
  readonly board = new RoleBoard(clock);
  readonly primary = { member: "alpha", epoch: 3 };
  readonly asked: unknown[] = [];
  barrierWork: (signal: AbortSignal) => Promise<Barrier> = () => Promise.resolve({ position, waitedMs: 1.5 });

  get role(): RoleState {
    return this.board.state;
  }

  roleAfter(version: number, signal: AbortSignal): Promise<RoleState> {
    return this.board.after(version, signal);
  }

  barrier(signal: AbortSignal): Promise<Barrier> {
    return this.barrierWork(signal);
  }

  checkpoint(): Promise<Position> {
    return Promise.resolve(position);
  }

  switchover(request: SwitchoverRequest): Promise<SwitchoverResult> {
    this.asked.push(request);
    return Promise.resolve({ primary: "beta", epoch: 4, prepareMs: 1, stopMs: 2, shipMs: 3, claimMs: 4 });
  }

  resume(reason: string): void {
    if (reason !== "LogGap")
      throw new MetaMasterError("ResumeReasonMismatch", "invalid", "another reason", { hint: "say LogGap" });
    this.asked.push(reason);
  }

  status(): StatusDocument {
    return { cluster: "demo", member: "alpha", role: "Primary" } as StatusDocument;
  }

  metrics(): Promise<{ contentType: string; text: string }> {
    return Promise.resolve({ contentType: "text/plain; version=0.0.4", text: "metamaster_epoch 3\n" });
  }
}

/** Rejects with the signal's reason, and says that it did. */
function untilAborted(signal: AbortSignal, told: (reason: unknown) => void = () => undefined): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => {
      told(signal.reason);
      reject(signal.reason as Error);
    };
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}

let member: ScriptedMember;
let http: MemberHttp;
let url: string;
const logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

async function open(settings: Partial<HttpSettings> = {}): Promise<void> {
  http = new MemberHttp(
    { ...httpDefaults, address: { host: "127.0.0.1", port: 0 }, ...settings },
    { clock, logger, member },
  );
  const { port } = await http.listen();
  url = `http://127.0.0.1:${port}`;
}

beforeEach(async () => {
  member = new ScriptedMember();
  await open();
});

afterEach(() => http.close());

interface Got {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function call(path: string, init: RequestInit = {}): Promise<Got> {
  const answer = await fetch(new URL(path, url), init);
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

/** With headers that fetch doesn't let one set. */
function raw(
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string },
): Promise<Got> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      new URL(path, url),
      { method: options.method ?? "POST", headers: options.headers ?? {} },
      (answer) => {
        let text = "";
        answer.on("data", (chunk: Buffer) => (text += chunk.toString()));
        answer.on("end", () =>
          resolve({ status: answer.statusCode ?? 0, body: JSON.parse(text) as Record<string, unknown> }),
        );
      },
    );
    sent.on("error", reject);
    sent.end(options.body);
  });
}

describe("barrier", () => {
  test("answers with where it is durable", async () => {
    expect(await call("/v1/barrier", { method: "POST" })).toEqual({
      status: 200,
      body: { slot: 7, chain: "c0ffee", waitedMs: 1.5 },
    });
  });

  test("a time has no more digits than it is worth", async () => {
    member.barrierWork = () => Promise.resolve({ position, waitedMs: 3.1022000000230037 });
    expect((await call("/v1/barrier", { method: "POST" })).body["waitedMs"]).toBe(3.102);
  });

  test("a refusal carries its code and what to do", async () => {
    member.barrierWork = () =>
      Promise.reject(
        new MetaMasterError("NotPrimary", "conflict", "this is a standby", {
          hint: "ask beta",
          details: { role: "Standby" },
        }),
      );
    expect(await call("/v1/barrier", { method: "POST" })).toEqual({
      status: 409,
      body: {
        code: "NotPrimary",
        kind: "conflict",
        message: "this is a standby",
        hint: "ask beta",
        details: { role: "Standby" },
      },
    });
  });

  test("one that takes too long is an error, and what waited is told to stop", async () => {
    const ended = Promise.withResolvers<unknown>();
    member.barrierWork = (signal) => untilAborted(signal, ended.resolve);
    expect(await call("/v1/barrier?timeoutSeconds=0.05", { method: "POST" })).toMatchObject({
      status: 504,
      body: { code: "DeadlineExceeded" },
    });
    await ended.promise;
  });

  test("a caller who leaves ends its wait", async () => {
    const ended = Promise.withResolvers<unknown>();
    const begun = Promise.withResolvers<void>();
    member.barrierWork = (signal) => {
      begun.resolve();
      return untilAborted(signal, ended.resolve);
    };
    const gone = new AbortController();
    const calling = call("/v1/barrier", { method: "POST", signal: gone.signal });
    await begun.promise;
    gone.abort();
    await expect(calling).rejects.toThrow();
    expect(await ended.promise).toMatchObject({ message: "the caller has gone" });
  });

  test("what is no error of ours is a 500 without its insides", async () => {
    member.barrierWork = () => Promise.reject(new TypeError("token=abc123 is not a function"));
    const { status, body } = await call("/v1/barrier", { method: "POST" });
    expect(status).toBe(500);
    expect(body).toMatchObject({ code: "Unexpected" });
    expect(JSON.stringify(body)).not.toContain("abc123");
  });

  test.each(["-1", "601", "x", ""])("a time-out of %j is refused", async (text) => {
    expect(await call(`/v1/barrier?timeoutSeconds=${text}`, { method: "POST" })).toMatchObject({
      status: 400,
      body: { code: "HttpRequestInvalid" },
    });
  });
});

describe("role", () => {
  test("says what it is", async () => {
    member.board.enter("Primary", "serving", { epoch: 3, writable: true });
    expect(await call("/v1/role")).toMatchObject({
      status: 200,
      body: {
        member: "alpha",
        role: "Primary",
        version: 2,
        writable: true,
        epoch: 3,
        primary: "alpha",
        reason: "serving",
      },
    });
  });

  test("a long poll is answered by the next change", async () => {
    const polling = call("/v1/role?version=1&waitSeconds=60");
    await clock.sleep(20);
    member.board.enter("Standby", "follows");
    expect(await polling).toMatchObject({ status: 200, body: { role: "Standby", version: 2 } });
  });

  test("a change that came before the poll is answered at once; so is a version of an earlier run", async () => {
    member.board.enter("Standby", "follows");
    expect(await call("/v1/role?version=1&waitSeconds=600")).toMatchObject({ status: 200, body: { version: 2 } });
    expect(await call("/v1/role?version=99&waitSeconds=600")).toMatchObject({ status: 200, body: { version: 2 } });
  });

  test("without a change it answers after its time with what there is", async () => {
    expect(await call("/v1/role?version=1&waitSeconds=0.05")).toMatchObject({
      status: 200,
      body: { role: "Syncing", version: 1 },
    });
  });
});

describe("the rest", () => {
  test("checkpoint, switchover and resume pass on what they are given", async () => {
    expect(await call("/v1/checkpoint", { method: "POST" })).toMatchObject({ status: 200, body: { slot: 7 } });
    const body = JSON.stringify({ to: "beta", maxLagBytes: 10 });
    expect(await call("/v1/switchover", { method: "POST", body })).toMatchObject({
      status: 200,
      body: { primary: "beta", epoch: 4 },
    });
    expect(await call("/v1/resume", { method: "POST", body: '{"reason":"LogGap"}' })).toMatchObject({ status: 200 });
    expect(member.asked).toEqual([{ to: "beta", maxLagBytes: 10 }, "LogGap"]);
    expect(await call("/v1/resume", { method: "POST", body: '{"reason":"x"}' })).toMatchObject({
      status: 400,
      body: { code: "ResumeReasonMismatch", hint: "say LogGap" },
    });
  });

  test.each([
    ["Standby", false, 200],
    ["Primary", true, 200],
    ["Primary", false, 503],
    ["Halted", false, 503],
  ] as const)("%s (writable: %s) is ready: %i; alive in any case", async (role, writable, status) => {
    member.board.enter(role, "so it is", { writable });
    expect((await call("/readyz")).status).toBe(status);
    expect((await call("/healthz")).status).toBe(200);
  });

  test("probes and scrapers may add parameters of their own", async () => {
    for (const path of ["/healthz?verbose", "/readyz?x=1", "/metrics?name=a", "/v1/status?x=1"])
      expect([path, (await fetch(new URL(path, url))).status]).not.toEqual([path, 400]);
  });

  test("metrics are text, and HEAD has no body", async () => {
    const answer = await fetch(new URL("/metrics", url));
    expect(answer.headers.get("content-type")).toContain("version=0.0.4");
    expect(await answer.text()).toBe("metamaster_epoch 3\n");
    const head = await fetch(new URL("/metrics", url), { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
  });
});

describe("what is refused", () => {
  test.each([
    ["an unknown path", "/v2/role", { method: "GET" }, 404, "HttpNotFound"],
    ["a name of every object", "/constructor", { method: "GET" }, 404, "HttpNotFound"],
    ["the wrong method", "/v1/barrier", { method: "GET" }, 405, "HttpRequestInvalid"],
    ["a page's POST", "/v1/barrier", { headers: { origin: "http://127.0.0.1" } }, 403, "HttpForbidden"],
    ["a rebound name", "/v1/switchover", { headers: { host: "evil.example:80" } }, 403, "HttpForbidden"],
    [
      "a rebound name that reads",
      "/v1/status",
      { method: "GET", headers: { host: "evil.example" } },
      403,
      "HttpForbidden",
    ],
    [
      "a name that begins like loopback",
      "/v1/barrier",
      { headers: { host: "127.0.0.1.evil.example" } },
      403,
      "HttpForbidden",
    ],
    ["no JSON", "/v1/switchover", { body: "{" }, 400, "HttpRequestInvalid"],
    ["JSON that is no object", "/v1/resume", { body: "[1]" }, 400, "HttpRequestInvalid"],
    ["a wrong type", "/v1/switchover", { body: '{"to":5}' }, 400, "HttpRequestInvalid"],
    ["a misspelt key", "/v1/switchover", { body: '{"too":"beta"}' }, 400, "HttpRequestInvalid"],
    ["a key too many", "/v1/resume", { body: '{"reason":"LogGap","for":1}' }, 400, "HttpRequestInvalid"],
    ["a misspelt parameter", "/v1/switchover?timeoutSecond=5", {}, 400, "HttpRequestInvalid"],
    ["a parameter of another call", "/v1/barrier?waitSeconds=5", {}, 400, "HttpRequestInvalid"],
    ["a misspelt poll", "/v1/role?versoin=5", { method: "GET" }, 400, "HttpRequestInvalid"],
    ["a huge body", "/v1/switchover", { body: "x".repeat(20_000) }, 413, "HttpBodyTooLarge"],
  ] as const)("%s", async (_what, path, options, status, code) => {
    expect(await raw(path, options)).toMatchObject({ status, body: { code } });
    expect(member.asked).toEqual([]);
  });

  test("localhost and [::1] are this machine", async () => {
    for (const host of ["localhost", "LOCALHOST:99", "[::1]:8401", "127.1.2.3"]) {
      expect(await raw("/v1/barrier", { headers: { host } })).toMatchObject({ status: 200 });
    }
  });

  test("more than so many at a time", async () => {
    await http.close();
    await open({ concurrentMax: 1, waitingMax: 1 });
    const begun = Promise.withResolvers<void>();
    const release = new AbortController();
    member.barrierWork = async () => {
      begun.resolve();
      await untilAborted(release.signal).catch(() => undefined);
      return { position, waitedMs: 0 };
    };
    const first = call("/v1/barrier", { method: "POST" });
    await begun.promise;
    expect(await call("/v1/barrier", { method: "POST" })).toMatchObject({ status: 503, body: { code: "HttpTooBusy" } });
    // Who waits for a role is counted apart.
    expect(await call("/v1/role")).toMatchObject({ status: 200 });
    release.abort();
    expect(await first).toMatchObject({ status: 200 });
    expect(await call("/v1/barrier", { method: "POST" })).toMatchObject({ status: 200 });
  });

  test("more than so many that wait, but for the gate: it says at once how it stands", async () => {
    await http.close();
    await open({ concurrentMax: 2, waitingMax: 1 });
    const gate = new Gate();
    member.gate = gate;
    const version = `/v1/role?version=${member.board.state.version}`;
    const first = call(`${version}&waitSeconds=20`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await call(version)).toMatchObject({ status: 503, body: { code: "HttpTooBusy" } });
    expect(await call("/v1/gate")).toMatchObject({ status: 503, body: { open: false } });
    gate.open();
    expect(await call("/v1/gate")).toMatchObject({ status: 200, body: { open: true } });
    member.board.enter("Standby", "for the first one");
    expect(await first).toMatchObject({ status: 200 });
  });

  test("headers beyond the limit, without harm to others", async () => {
    const { port } = new URL(url);
    const status = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), "127.0.0.1", () =>
        socket.write(`GET /v1/role HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(20_000)}\r\n\r\n`),
      );
      socket.once("data", (chunk) => {
        resolve(chunk.toString().split("\r\n")[0] ?? "");
        socket.destroy();
      });
      socket.once("error", reject);
    });
    expect(status).toContain("431");
    expect((await call("/healthz")).status).toBe(200);
  });
});

test("everywhere: on both families, changes from this machine only", async () => {
  await http.close();
  await open({ address: { host: "*", port: 0 } });
  const { port } = new URL(url);
  const hosts =
    networkInterfaces()["lo"]?.some(({ family }) => family === "IPv6") === true
      ? ["127.0.0.1", "[::1]"]
      : ["127.0.0.1"];
  for (const host of hosts) {
    expect((await fetch(`http://${host}:${port}/livez`)).status).toBe(200);
    expect((await fetch(`http://${host}:${port}/v1/barrier`, { method: "POST" })).status).toBe(200);
  }
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((each) => each !== undefined && !each.internal && each.family === "IPv4");
  if (outside === undefined) return;
  expect((await fetch(`http://${outside.address}:${port}/v1/role`)).status).toBe(200);
  expect((await fetch(`http://${outside.address}:${port}/v1/barrier`, { method: "POST" })).status).toBe(403);
});

test("closing answers those who wait with an error", async () => {
  const begun = Promise.withResolvers<void>();
  member.barrierWork = (signal) => {
    begun.resolve();
    return untilAborted(signal);
  };
  const waiting = call("/v1/barrier", { method: "POST" });
  const polling = call("/v1/role?version=1");
  await begun.promise;
  await http.close();
  expect(await waiting).toMatchObject({ status: 503, body: { code: "MemberStopped" } });
  expect((await polling).status).toBe(503);
});

test("the gate: none beside a child; held until it opens; after the time it says why not", async () => {
  expect(await (await fetch(`${url}/v1/gate`)).json()).toMatchObject({ code: "HttpNotFound" });
  const gate = new Gate();
  member.gate = gate;
  const shut = await fetch(`${url}/v1/gate?waitSeconds=0`);
  expect([shut.status, await shut.json()]).toMatchObject([503, { open: false }]);
  const waiting = fetch(`${url}/v1/gate`);
  gate.open();
  const opened = await waiting;
  expect([opened.status, await opened.json()]).toMatchObject([200, { open: true }]);
  gate.close();
  expect((await fetch(`${url}/v1/gate?waitSeconds=0`)).status).toBe(503);
});

test("a port in use, and an address that isn't ours, are clear errors", async () => {
  const port = Number(new URL(url).port);
  const second = new MemberHttp({ ...httpDefaults, address: { host: "127.0.0.1", port } }, { clock, logger, member });
  await expect(second.listen()).rejects.toMatchObject({
    code: "AddressInUse",
    message: expect.stringContaining(`127.0.0.1:${port}`),
  });
  const foreign = new MemberHttp(
    { ...httpDefaults, address: { host: "192.0.2.1", port: 0 } },
    { clock, logger, member },
  );
  await expect(foreign.listen()).rejects.toMatchObject({ code: "HttpAddressInvalid" });
});

describe("the command line's side", () => {
  test("gets answers and, as thrown here, errors", async () => {
    const client = new MemberClient(url);
    expect(await client.get("/v1/status", 5)).toMatchObject({ member: "alpha" });
    expect(await client.post("/v1/resume", { reason: "LogGap" }, 5)).toEqual({ resumed: "LogGap" });
    await expect(client.post("/v1/resume", { reason: "x" }, 5)).rejects.toMatchObject({
      code: "ResumeReasonMismatch",
      kind: "invalid",
      hint: "say LogGap",
    });
  });

  test("nobody there", async () => {
    await http.close();
    await expect(new MemberClient(url).get("/v1/status", 5)).rejects.toMatchObject({
      code: "MemberUnreachable",
      message: expect.stringContaining("ECONNREFUSED"),
    });
    await open();
  });
});
